"""``images rmi import load``."""

from __future__ import annotations

import posix
import time

from tui.cli import output
from tui.cli.engine import call, connect
from tui.cli.errors import ApiError, CliError
from tui.cli.jsonlite import decode
from tui.cli.rows import Noun, ago
from tui.cli.transport import Response, quote, target
from tui.cli.units import go_time, human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from tui.cli.flags import Options

    Item = dict[str, Any]

_NONE = "<none>"
_BLOCK = 1 << 20
_SHORT = 12


def images(options: Options) -> int:
    """List images, one line for each name."""
    from tui.cli.ps import filters

    wanted = filters([*options["filter"], *(f"reference={name}" for name in options.args)])
    items = call("GET", target("/images/json", {"all": options["all"], "filters": wanted}))
    truncate = not options["no-trunc"]
    rows = [row for item in items for row in named(item, options["digests"])]
    form = options["format"]
    if options["quiet"] and form in ("", "table"):
        output.out("".join([_id(row, truncate) + "\n" for row in rows]))
        return 0
    from tui.cli.formatting import print_rows

    print_rows(noun(options["digests"]), rows, form or "table", truncate=truncate)
    return 0


def named(item: Item, digests: bool) -> list[Item]:
    """An image as one row for each of its names; without any, one row of ``<none>``."""
    by_repository: dict[str, str] = {}
    for reference in item.get("RepoDigests") or ():
        repository, _, digest = reference.partition("@")
        by_repository.setdefault(repository, digest)
    rows = []
    for tag in item.get("RepoTags") or ():
        repository, _, name = tag.rpartition(":")
        if repository != _NONE:
            digest = by_repository.get(repository, _NONE)
            rows.append({**item, "Repository": repository, "Tag": name, "Digest": digest})
    if rows:
        return rows
    repository, digest = next(iter(by_repository.items()), (_NONE, _NONE))
    return [{**item, "Repository": repository, "Tag": _NONE, "Digest": digest if digests else _NONE}]


def _id(item: Item, truncate: bool) -> str:
    identifier: str = item["Id"]
    return identifier.removeprefix("sha256:")[:_SHORT] if truncate else identifier


def _text(member: str) -> Callable[[Item, bool], Any]:
    return lambda item, truncate: item[member]


def _count(member: str) -> Callable[[Item, bool], str]:
    def shown(item: Item, truncate: bool) -> str:
        value = item.get(member, -1)
        return "N/A" if value < 0 else str(value) if member == "Containers" else human_size(value)

    return shown


def _created(item: Item, truncate: bool) -> str:
    """How long ago; the built-in image was never made."""
    return ago(item["Created"], time.time()) if item["Created"] > 0 else "N/A"


def noun(digests: bool = False) -> Noun:
    """The fields of ``images``."""
    digest = "{{.Digest}}\t" if digests else ""
    return Noun(
        "*formatter.imageContext",
        f"table {{{{.Repository}}}}\t{{{{.Tag}}}}\t{digest}{{{{.ID}}}}\t{{{{.CreatedSince}}}}\t{{{{.Size}}}}",
        {
            "Containers": ("CONTAINERS", _count("Containers")),
            "CreatedAt": ("CREATED AT", lambda item, truncate: go_time(item["Created"])),
            "CreatedSince": ("CREATED", _created),
            "Digest": ("DIGEST", _text("Digest")),
            "ID": ("IMAGE ID", _id),
            "Repository": ("REPOSITORY", _text("Repository")),
            "SharedSize": ("SHARED SIZE", lambda item, truncate: "N/A"),
            "Size": ("SIZE", lambda item, truncate: human_size(item["Size"])),
            "Tag": ("TAG", _text("Tag")),
            "UniqueSize": ("UNIQUE SIZE", lambda item, truncate: "N/A"),
            "VirtualSize": ("SIZE", lambda item, truncate: human_size(item["Size"], 4)),
        },
    )


def rmi(options: Options) -> int:
    """Remove images: names first, the image with its last name."""
    query = {"force": options["force"], "noprune": options["no-prune"]}
    code = 0
    for name in options.args:
        try:
            for entry in call("DELETE", target(f"/images/{quote(name)}", query)):
                for what in ("Untagged", "Deleted"):
                    if what in entry:
                        output.out(f"{what}: {entry[what]}\n")
        except ApiError as error:
            if not (options["force"] and error.status == 404):
                code = 1
            output.err(error.message + "\n")
    return code


def import_rootfs(options: Options) -> int:
    """Make an image of a root file system's tar; prints its id."""
    source = options.args[0]
    if "://" in source:
        raise CliError(f"dockyard does not support importing from {source} yet: download it and name the file")
    query = {
        "fromSrc": "-",
        "repo": options.args[1] if len(options.args) > 1 else "",
        "message": options["message"],
        "changes": options["change"],
        "platform": options["platform"],
    }
    fd = 0 if source == "-" else _open(source)
    if fd == 0 and output.is_terminal(0):
        raise CliError("nothing to import: stdin is a terminal\nGive a file, or pipe a tar in")
    response = connect().send_stream(target("/images/create", query), _blocks(fd), "application/x-tar")
    _print_progress(response.check(), lambda message: message.get("status", "") + "\n")
    return 0


def load(options: Options) -> int:
    """Load an archive made by ``save``."""
    fd = _open(options["input"]) if options["input"] else 0
    if fd == 0 and output.is_terminal(0):
        raise CliError("requested load from stdin, but stdin is empty\nUse -i FILE, or pipe an archive in")
    response = connect().send_stream("/images/load?quiet=1", _blocks(fd), "application/x-tar")
    _print_progress(response.check(), lambda message: message.get("stream", ""))
    return 0


def _open(path: str) -> int:
    try:
        return posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError as error:
        raise CliError(f"open {path}: {(error.strerror or '').lower()}") from None


def _blocks(fd: int) -> Iterator[bytes]:
    while block := posix.read(fd, _BLOCK):
        yield block


def _print_progress(response: Response, shown: Callable[[Item], str]) -> None:
    """Print a stream of JSON messages; one that tells of an error ends with it."""
    for line in lines(response):
        try:
            message = decode(line)
        except ValueError:
            raise CliError(f"the engine's answer cannot be read: {line[:80]!r}") from None
        if "error" in message:
            raise CliError(str(message["error"]))
        output.out(shown(message))


def lines(response: Response) -> Iterator[bytes]:
    """The lines of a body, each as soon as it is whole; empty ones are left out."""
    rest = b""
    for piece in response.pieces():
        *whole, rest = (rest + piece).split(b"\n")
        yield from (line for line in whole if line.strip())
    if rest.strip():
        yield rest
