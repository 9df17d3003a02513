"""A person's registry credentials: ``~/.docker/config.json`` and the programs it names.

The client reads them and sends what a request needs as ``X-Registry-Auth``; the engine reads no home folder. The file
is Docker's own, shared with its command line: what is not known here stays as it is.
"""

from __future__ import annotations

import posix
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64

from tui.cli.errors import CliError
from tui.cli.jsonlite import decode, encode, show_indented
from tui.cli.reference import HUB_KEY, key_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LONGEST = 4 << 20
#: What a helper answers for a server that it does not know (docker-credential-helpers).
_UNKNOWN = "credentials not found in native keychain"
#: In the place of a name: what is kept is an identity token.
_TOKEN = "<token>"


def path() -> str:
    """The file: in DOCKER_CONFIG, else in ``~/.docker``. "" without a home."""
    folder = _variable("DOCKER_CONFIG")
    home = _variable("HOME")
    return f"{folder}/config.json" if folder else f"{home}/.docker/config.json" if home else ""


def _variable(name: str) -> str:
    return posix.environ.get(name.encode(), b"").decode("utf-8", "surrogateescape")


def load() -> dict[str, Any]:
    """The file's content; empty without a file. CliError when it cannot be used."""
    where = path()
    try:
        fd = posix.open(where, posix.O_RDONLY | posix.O_CLOEXEC) if where else -1
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise CliError(f"{where} cannot be read: {(error.strerror or '').lower()}") from None
    if fd < 0:
        return {}
    try:
        data = b""
        while block := posix.read(fd, 1 << 16):
            data += block
            if len(data) > _LONGEST:
                raise CliError(f"{where} is larger than {_LONGEST} bytes: that is no configuration")
    except OSError as error:
        raise CliError(f"{where} cannot be read: {(error.strerror or '').lower()}") from None
    finally:
        posix.close(fd)
    return _checked(data, where)


def _checked(data: bytes, where: str) -> dict[str, Any]:
    try:
        document = decode(data) if data.strip() else {}
    except (ValueError, RecursionError) as error:
        raise CliError(f"{where} is damaged: {error}\nMend it, or move it away and log in again") from None
    if not isinstance(document, dict):
        raise CliError(f"{where} is no JSON object\nMend it, or move it away and log in again")
    for name, kind in (("auths", dict), ("credHelpers", dict), ("credsStore", str)):
        if name in document and not isinstance(document[name], kind):
            raise CliError(f"{where}: {name} is not {'text' if kind is str else 'an object'}\nMend the file")
    return document


def headers(domain: str) -> list[str]:
    """``X-Registry-Auth`` for a registry, as lines of a request; none when nothing is known of it."""
    found = find(domain)
    if not found:
        return []
    data = b2a_base64(encode({**found, "serveraddress": key_of(domain)}), newline=False)
    return ["X-Registry-Auth: " + data.decode().replace("+", "-").replace("/", "_")]


def find(domain: str) -> dict[str, str]:
    """What is known of a registry: username and password, or an identitytoken. Empty for nothing."""
    document = load()
    key = key_of(domain)
    helper = _helper(document, key)
    if helper:
        return _from_helper(helper, key)
    auths = document.get("auths") or {}
    entry = auths.get(key)
    if entry is None:
        entry = next((value for name, value in auths.items() if key_of(name) == key), None)
    return _from_entry(entry, key) if isinstance(entry, dict) else {}


def _helper(document: dict[str, Any], key: str) -> str:
    helpers = document.get("credHelpers") or {}
    host = "docker.io" if key == HUB_KEY else key
    name = helpers.get(key) or helpers.get(host) or document.get("credsStore") or ""
    return name if isinstance(name, str) else ""


def _from_entry(entry: dict[str, Any], key: str) -> dict[str, str]:
    texts = {name: value for name, value in entry.items() if isinstance(value, str)}
    if texts.get("identitytoken"):
        return {"username": texts.get("username", ""), "identitytoken": texts["identitytoken"]}
    if not texts.get("auth"):
        return {name: texts[name] for name in ("username", "password") if name in texts}
    try:
        name, colon, password = a2b_base64(texts["auth"]).decode().partition(":")
    except (Base64Error, ValueError):
        colon = name = password = ""
    if not colon:
        raise CliError(f"{path()}: the credentials of {key} are damaged\nLog in again: dockyard login {key}")
    return {"username": name, "password": password.rstrip("\0")}


def _from_helper(helper: str, key: str) -> dict[str, str]:
    code, answer = run_helper(helper, "get", key.encode())
    text = answer.decode("utf-8", "replace").strip()
    if code:
        if _UNKNOWN in text:
            return {}
        raise CliError(f"docker-credential-{helper} cannot give the credentials of {key}: {text or f'exit {code}'}")
    try:
        found = decode(text)
        name, secret = found["Username"], found["Secret"]
    except (ValueError, KeyError, TypeError):
        raise CliError(f"docker-credential-{helper} answers something that is no credentials") from None
    return {"identitytoken": secret} if name == _TOKEN else {"username": name, "password": secret}


def run_helper(helper: str, action: str, text: bytes) -> tuple[int, bytes]:
    """A credential program's exit code and answer. CliError when it cannot be run."""
    import subprocess

    program = f"docker-credential-{helper}"
    if "/" in helper:
        raise CliError(f"{path()}: {helper} is no name of a credential helper")
    try:
        done = subprocess.run([program, action], input=text, stdout=subprocess.PIPE, check=False)
    except FileNotFoundError:
        raise CliError(
            f"{program}, which {path()} names, is not on the PATH\n"
            "Install it, or take credsStore or credHelpers out of that file"
        ) from None
    except OSError as error:
        raise CliError(f"{program} cannot be run: {error.strerror}") from None
    return done.returncode, done.stdout


def store(domain: str, username: str, password: str, token: str = "") -> str:
    """Keep credentials; the path of the file when they lie there unencrypted, "" when a helper has them."""
    document = load()
    key = key_of(domain)
    helper = _helper(document, key)
    auths = document.setdefault("auths", {})
    if helper:
        name, secret = (_TOKEN, token) if token else (username, password)
        code, answer = run_helper(helper, "store", encode({"ServerURL": key, "Username": name, "Secret": secret}))
        if code:
            raise CliError(f"docker-credential-{helper} did not keep them: {answer.decode('utf-8', 'replace').strip()}")
        auths[key] = {}
    else:
        auth = b2a_base64(f"{username}:{password}".encode(), newline=False).decode()
        auths[key] = {"auth": auth, **({"identitytoken": token} if token else {})}
    _write(document)
    return "" if helper else path()


def forget(domain: str) -> bool:
    """Remove what is kept of a registry; whether there was something."""
    document = load()
    key = key_of(domain)
    helper = _helper(document, key)
    if helper:
        run_helper(helper, "erase", key.encode())
    auths = document.get("auths") or {}
    names = [name for name in auths if key_of(name) == key]
    for name in names:
        del auths[name]
    if names:
        _write(document)
    return bool(names or helper)


def _write(document: dict[str, Any]) -> None:
    """All or nothing, for the owner's eyes; through a link, as people keep such files elsewhere."""
    where = path()
    if not where:
        raise CliError("nowhere to keep credentials: neither DOCKER_CONFIG nor HOME is set")
    try:
        where = _target(where)
        folder = where.rpartition("/")[0]
        _make_folder(folder)
        temporary = f"{folder}/.config.json.{posix.getpid()}"
        fd = posix.open(temporary, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o600)
        try:
            data = show_indented(document, "\t").encode("utf-8", "surrogateescape") + b"\n"
            while data:
                data = data[posix.write(fd, data) :]
            posix.fsync(fd)
            posix.rename(temporary, where)
        except BaseException:
            posix.unlink(temporary)
            raise
        finally:
            posix.close(fd)
    except OSError as error:
        raise CliError(f"{where} cannot be written: {(error.strerror or '').lower()}") from None


def _target(where: str) -> str:
    for _ in range(8):
        try:
            link = posix.readlink(where)
        except OSError:
            return where
        where = link if link.startswith("/") else f"{where.rpartition('/')[0]}/{link}"
    return where


def _make_folder(folder: str) -> None:
    try:
        posix.mkdir(folder, 0o700)
    except FileExistsError:
        return
    except FileNotFoundError:
        _make_folder(folder.rpartition("/")[0])
        posix.mkdir(folder, 0o700)
