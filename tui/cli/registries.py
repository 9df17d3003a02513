"""``pull push login logout search``, and what ``run`` does for an image that is not here."""

from __future__ import annotations

import posix

from tui.cli import credentials, output, reference
from tui.cli.engine import call, connect
from tui.cli.errors import ApiError, CliError
from tui.cli.images import lines
from tui.cli.jsonlite import decode
from tui.cli.transport import quote, target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tui.cli.flags import Options

_DESCRIPTION = 45


def pull(options: Options) -> int:
    """Download an image, or all of a repository's."""
    name = options.args[0]
    if options["all-tags"] and reference.has_tag(name):
        raise CliError("tag can't be used with --all-tags/-a")
    if not (options["all-tags"] or reference.has_tag(name)):
        if not options["quiet"]:
            output.out("Using default tag: latest\n")
        name += ":latest"
    fetch(name, options["platform"], quiet=options["quiet"])
    output.out(reference.canonical(name) if not options["all-tags"] else "/".join(reference.split(name)))
    output.out("\n")
    return 0


def fetch(name: str, platform: str = "", *, quiet: bool = False, fd: int = 1) -> None:
    """Pull ``name`` (with its tag or digest; without, all tags), showing progress on ``fd``. Raises CliError."""
    repository, tag = _split_tag(name)
    query = {"fromImage": repository, "tag": tag, "platform": platform}
    try:
        _follow("POST", target("/images/create", query), reference.split(name)[0], quiet=quiet, fd=fd)
    except KeyboardInterrupt:
        output.err("\nWhat has come is kept: the next pull goes on from there\n")
        raise


def _split_tag(name: str) -> tuple[str, str]:
    """What is no name stays whole: the engine says what is wrong with it."""
    rest, at, digest = name.partition("@")
    head, colon, tag = rest.rpartition(":")
    if at:
        return (rest, digest) if digest else (name, "")
    return (head, tag) if colon and tag and "/" not in tag else (name, "")


def push(options: Options) -> int:
    """Upload an image, or all tags of a repository."""
    name = options.args[0]
    if options["all-tags"] and reference.has_tag(name):
        raise CliError("tag can't be used with --all-tags/-a")
    if not (options["all-tags"] or reference.has_tag(name)):
        if not options["quiet"]:
            output.out("Using default tag: latest\n")
        name += ":latest"
    if "@" in name:
        raise CliError("cannot push a digest reference")
    repository, tag = _split_tag(name)
    domain, rest = reference.split(repository)
    where = target(f"/images/{quote(repository)}/push", {"tag": tag})
    _follow("POST", where, domain, quiet=options["quiet"])
    if options["quiet"]:
        output.out(f"{domain}/{rest}{':' + tag if tag else ''}\n")
    return 0


def _follow(method: str, where: str, domain: str, *, quiet: bool, fd: int = 1) -> None:
    """Send the request and show its messages until they end; one that tells of an error is raised."""
    connection = connect()
    connection.send(method, where, None, credentials.headers(domain))
    response = connection.answer().check()
    with _display(quiet, fd) as shown:
        for line in lines(response):
            try:
                message = decode(line)
            except ValueError:
                raise CliError(f"the engine's answer cannot be read: {line[:80]!r}") from None
            if "error" in message:
                raise CliError(str(message["error"]))
            shown.show(message)


class Plain:
    """A line for each state of a layer, none for its bytes: for files, pipes and terminals that know no more."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __enter__(self) -> Plain:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def show(self, message: dict[str, Any]) -> None:
        """One message of the engine."""
        if message.get("progressDetail") or "status" not in message:
            return
        prefix = f"{message['id']}: " if message.get("id") else ""
        output.write(self._fd, output.plain(f"{prefix}{message['status']}\n").encode("utf-8", "surrogateescape"))


class Silent(Plain):
    """Nothing."""

    def show(self, message: dict[str, Any]) -> None:
        """Nothing."""


def _display(quiet: bool, fd: int) -> Any:
    if quiet:
        return Silent(fd)
    if not output.is_terminal(fd) or posix.environ.get(b"TERM", b"") in (b"", b"dumb"):
        return Plain(fd)
    try:
        from tui.cli.bars import Bars
    except ImportError:  # a checkout without its dependencies
        return Plain(fd)
    return Bars(fd)


# --- run and create ----------------------------------------------------------------------------------


def fetch_for_run(image: str, platform: str, quiet: bool) -> None:
    """Bring in the image of ``run`` and ``create``; what is told goes to stderr."""
    name = image if reference.has_tag(image) else f"{image}:latest"
    fetch(name, platform, quiet=quiet, fd=2)


# --- credentials -------------------------------------------------------------------------------------


def login(options: Options) -> int:
    """Check credentials with the registry, then keep them."""
    server = options.args[0] if options.args else reference.HUB
    if options["password"] and options["password-stdin"]:
        raise CliError("--password and --password-stdin are mutually exclusive")
    if options["password-stdin"] and not options["username"]:
        raise CliError("Must provide --username with --password-stdin")
    if options["password"]:
        output.err("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n")
    username, password = _ask(options)
    key = reference.key_of(server)
    found = call("POST", "/auth", {"username": username, "password": password, "serveraddress": key})
    token = (found or {}).get("IdentityToken") or ""
    where = credentials.store(key, username, password, token)
    if where:
        output.err(
            f"\nWARNING! Your credentials are stored unencrypted in '{where}'.\n"
            "Configure a credential helper to remove this warning. See\n"
            "https://docs.docker.com/go/credential-store/\n\n"
        )
    output.out(f"{(found or {}).get('Status') or 'Login Succeeded'}\n")
    return 0


def _ask(options: Options) -> tuple[str, str]:
    username, password = options["username"], options["password"]
    if options["password-stdin"]:
        data = b""
        while block := posix.read(0, 1 << 16):
            data += block
        password = data.decode("utf-8", "surrogateescape").removesuffix("\n").removesuffix("\r")
        if not password:
            raise CliError("the password on stdin is empty")
        return username, password
    if not (username and password) and not (output.is_terminal(0) and output.is_terminal(1)):
        raise CliError(
            "Error: Cannot perform an interactive login from a non TTY device\n"
            "Give --username and pipe the password in with --password-stdin"
        )
    from tui.cli.prompting import prompt, prompt_secret

    username = username or prompt("Username: ").strip()
    if not username:
        raise CliError("Error: Username Required")
    password = password or prompt_secret("Password: ")
    if not password:
        raise CliError("Error: Password Required")
    return username, password


def logout(options: Options) -> int:
    """Forget a registry's credentials."""
    key = reference.key_of(options.args[0] if options.args else reference.HUB)
    if credentials.forget(key):
        output.out(f"Removing login credentials for {key}\n")
    else:
        output.out(f"Not logged in to {key}\n")
    return 0


# --- looking -----------------------------------------------------------------------------------------


def search(options: Options) -> int:
    """Find repositories: on Docker Hub, or with ``HOST/word`` in another registry."""
    from tui.cli.formatting import print_rows
    from tui.cli.ps import filters
    from tui.cli.rows import Noun

    term = options.args[0]
    limit = options["limit"]
    query = {"term": term, "limit": limit, "filters": filters(options["filter"])}
    domain = reference.split(term)[0] if "/" in term else reference.HUB
    connection = connect()
    connection.send("GET", target("/images/search", query), None, credentials.headers(domain))
    items = connection.answer().check().json()
    noun = Noun(
        "*search.searchContext",
        "table {{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}",
        {
            "Name": ("NAME", lambda item, truncate: item["name"]),
            "Description": ("DESCRIPTION", lambda item, truncate: _description(item["description"], truncate)),
            "StarCount": ("STARS", lambda item, truncate: item["star_count"]),
            "IsOfficial": ("OFFICIAL", lambda item, truncate: "[OK]" if item["is_official"] else ""),
            "IsAutomated": ("AUTOMATED", lambda item, truncate: "[OK]" if item["is_automated"] else ""),
        },
    )
    print_rows(noun, items, options["format"] or "table", truncate=not options["no-trunc"])
    return 0


def _description(text: str, truncate: bool) -> str:
    line = text.replace("\n", " ").replace("\r", " ")
    return line[: _DESCRIPTION - 1] + "…" if truncate and len(line) > _DESCRIPTION else line


def manifest_inspect(options: Options) -> int:
    """Show the manifest or index that a registry has for a name."""
    from tui.cli.jsonlite import show_indented

    name = options.args[-1]
    domain, _ = reference.split(name)
    connection = connect()
    where = target(f"/dockyard/v1/manifests/{quote(name)}", {"verbose": options["verbose"]})
    connection.send("GET", where, None, credentials.headers(domain))
    try:
        found = connection.answer().check().json()
    except ApiError as error:
        if error.status == 404 and "manifest" in error.reason:
            raise CliError(f"no such manifest: {reference.canonical(name)}\n{error.message}") from None
        raise
    raw = decode(found["Raw"])
    if not options["verbose"]:
        output.out(output.plain(show_indented(raw, "\t")) + "\n")
        return 0
    listed = [_described(found["Ref"], item["Descriptor"], item["Raw"]) for item in found.get("Manifests") or ()]
    shown = listed or _described(found["Ref"], found["Descriptor"], found["Raw"])
    output.out(output.plain(show_indented(shown, "\t")) + "\n")
    return 0


def _described(name: str, descriptor: dict[str, Any], raw: str) -> dict[str, Any]:
    return {"Ref": name, "Descriptor": descriptor, "Manifest": decode(raw)}


def protect(options: Options) -> int:
    """Keep names from prune."""
    return _protection("PUT", options)


def unprotect(options: Options) -> int:
    """Let prune take them again."""
    return _protection("DELETE", options)


def _protection(method: str, options: Options) -> int:
    code = 0
    for name in options.args:
        try:
            call(method, f"/dockyard/v1/images/{quote(name)}/protection")
            output.out(name + "\n")
        except ApiError as error:
            output.err(error.message + "\n")
            code = 1
    return code
