"""``cp``, ``export``, ``diff`` and ``commit``: the files of containers."""

from __future__ import annotations

import os

from tui.cli import output, paths
from tui.cli.engine import call, connect
from tui.cli.errors import ApiError, CliError
from tui.cli.transport import container_path, target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from tui.cli.flags import Options
    from tui.cli.paths import Place
    from tui.cli.transport import Response

_GO_FOLDER, _GO_LINK = 1 << 31, 1 << 27
_KINDS = {0: "C", 1: "A", 2: "D"}


def cp(options: Options) -> int:
    """Copy between a container and here, or between a container and a tar stream."""
    source, source_path = paths.split_argument(options.args[0])
    goal, goal_path = paths.split_argument(options.args[1])
    if source and goal:
        raise CliError("copying between containers is not supported")
    if not source and not goal:
        raise CliError("must specify at least one container source")
    if not (source_path and goal_path):
        raise CliError("invalid argument: source and destination need a path")
    if source:
        return _out(options, source, source_path, goal_path)
    return _into(options, goal, source_path, goal_path)


# --- out of a container ----------------------------------------------------------------------------


def _out(options: Options, container: str, path: str, goal: str) -> int:
    rebase = ""
    if options["follow-link"]:
        found = _stat(container, path)
        if found["mode"] & _GO_LINK:
            rebase = paths.split(path)[1]
            path = found["linkTarget"]
    place = None if goal == "-" else paths.local_target(_absolute(goal))
    if place is None and output.is_terminal(1):
        raise CliError("refusing to write an archive to a terminal: redirect it")
    connection = connect()
    connection.send("GET", target(f"{container_path(container)}/archive", {"path": path}))
    response = connection.answer().check()
    if place is None:
        for piece in response.pieces():
            output.write(1, piece)
        return 0
    from tui.cli import tarring

    is_folder = bool(_decoded(response)["mode"] & _GO_FOLDER)
    source = paths.Place(path, True, is_folder, rebase)
    folder, old, new = paths.arrange(source, place)
    size = tarring.extract(response.pieces(), folder, lambda name: paths.renamed(name, old, new))
    _say(options, size, goal)
    return 0


def _absolute(path: str) -> str:
    """From the root, a slash or ``/.`` at the end kept."""
    end = "/." if path.endswith("/.") or path == "." else "/" if path.endswith("/") else ""
    whole = os.path.abspath(path)
    return whole if whole == "/" else whole + end


# --- into a container ------------------------------------------------------------------------------


def _into(options: Options, container: str, path: str, goal: str) -> int:
    place = _target(container, goal)
    if path == "-":
        if not place.is_folder:
            raise CliError(f'destination "{container}:{goal}" must be a directory')
        _put(options, container, place.path, _standard_input())
        return 0
    from tui.cli import tarring

    source = paths.local_source(_absolute(path), options["follow-link"])
    folder, old, new = paths.arrange(source, place)
    base = paths.split(source.path)[1]
    counted = tarring.Counted()
    pieces = tarring.pack(source.path, base, lambda name: paths.renamed(name, old, new), counted)
    _put(options, container, folder, pieces)
    _say(options, counted.size, f"{container}:{goal}")
    return 0


def _target(container: str, path: str) -> Place:
    try:
        found = _stat(container, path)
        if found["mode"] & _GO_LINK:
            path = found["linkTarget"]
            found = _stat(container, path)
    except ApiError as error:
        if error.status != 404 or "No such container" in error.message:
            raise
        return paths.Place(path, False, False)
    return paths.Place(path, True, bool(found["mode"] & _GO_FOLDER))


def _put(options: Options, container: str, folder: str, pieces: Iterator[bytes]) -> None:
    query = {"path": folder, "noOverwriteDirNonDir": True, "copyUIDGID": options["archive"]}
    connection = connect()
    where = target(f"{container_path(container)}/archive", query)
    connection.send_stream(where, pieces, "application/x-tar", method="PUT").check()


def _standard_input() -> Iterator[bytes]:
    while block := os.read(0, 1 << 20):
        yield block


# --- both ------------------------------------------------------------------------------------------


def _stat(container: str, path: str) -> dict[str, Any]:
    connection = connect()
    connection.send("HEAD", target(f"{container_path(container)}/archive", {"path": path}))
    response = connection.answer(head=True)
    if response.status == 404:
        # The head of an answer has no message: a container that is not there must be told from a file.
        call("GET", f"{container_path(container)}/json")
        raise ApiError(404, f"Could not find the file {path} in container {container}")
    if response.status >= 400:
        call("GET", target(f"{container_path(container)}/archive", {"path": path}))
    return _decoded(response)


def _decoded(response: Response) -> dict[str, Any]:
    import binascii

    from tui.cli.jsonlite import decode

    text = response.headers.get("x-docker-container-path-stat", "")
    found: dict[str, Any] = decode(binascii.a2b_base64(text))
    return found


def _say(options: Options, size: int, where: str) -> None:
    from tui.cli.units import human_size

    if not options["quiet"] and output.is_terminal(2):
        output.err(f"Successfully copied {human_size(size)} to {where}\n")


# --- export, diff, commit --------------------------------------------------------------------------


def export(options: Options) -> int:
    """The container's files as a tar, to a file or to standard output that is no terminal."""
    where = options["output"]
    if not where and output.is_terminal(1):
        raise CliError("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    connection = connect()
    connection.send("GET", f"{container_path(options.args[0])}/export")
    response = connection.answer().check()
    if not where:
        for piece in response.pieces():
            output.write(1, piece)
        return 0
    from tui.cli.saving import save_to

    save_to(where, response.pieces())
    return 0


def diff(options: Options) -> int:
    """What changed in its files since it was created."""
    found = call("GET", f"{container_path(options.args[0])}/changes") or []
    output.out("".join([f"{_KINDS.get(item['Kind'], '?')} {output.plain(item['Path'])}\n" for item in found]))
    return 0


def commit(options: Options) -> int:
    """Make an image of a container's changes."""
    name = options.args[1] if len(options.args) > 1 else ""
    repository, _, tag = name.rpartition(":") if ":" in name.rpartition("/")[2] else (name, "", "")
    query = {
        "container": options.args[0],
        "repo": repository,
        "tag": tag,
        "author": options["author"],
        "comment": options["message"],
        "changes": options["change"],
        "pause": "1" if options["pause"] else "0",
    }
    output.out(call("POST", target("/commit", query))["Id"] + "\n")
    return 0
