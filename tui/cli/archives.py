"""``save tag history`` and ``image prune``."""

from __future__ import annotations

import time

from tui.cli import output
from tui.cli.engine import call, connect
from tui.cli.errors import CliError
from tui.cli.rows import Noun, ago, ellipsis
from tui.cli.transport import quote, target
from tui.cli.units import go_time, human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tui.cli.flags import Options

    Item = dict[str, Any]

_WIDTH = 45
_DANGLING = "This will remove all dangling images."
_UNUSED = "This will remove all images without at least one container associated to them."


def save(options: Options) -> int:
    """Write images as one archive, to a file or to standard output that is no terminal."""
    where = options["output"]
    if not where and output.is_terminal(1):
        raise CliError("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    connection = connect()
    connection.send("GET", target("/images/get", {"names": options.args}))
    response = connection.answer().check()
    if not where:
        for piece in response.pieces():
            output.write(1, piece)
        return 0
    from tui.cli.saving import save_to

    save_to(where, response.pieces())
    return 0


def tag(options: Options) -> int:
    """Give an image one more name."""
    source, name = options.args
    repository, colon, label = name.rpartition(":")
    if not colon or "/" in label:
        repository, label = name, ""
    call("POST", target(f"/images/{quote(source)}/tag", {"repo": repository, "tag": label}))
    return 0


def history(options: Options) -> int:
    """The steps that made an image, newest first."""
    items = call("GET", f"/images/{quote(options.args[0])}/history")
    truncate, human = not options["no-trunc"], options["human"]
    if options["quiet"] and options["format"] in ("", "table"):
        output.out("".join([_id(item, truncate) + "\n" for item in items]))
        return 0
    from tui.cli.formatting import print_rows

    print_rows(_history_noun(human), items, options["format"] or "table", truncate=truncate)
    return 0


def _id(item: Item, truncate: bool) -> str:
    return str(item["Id"]).removeprefix("sha256:")[:12] if truncate else str(item["Id"])


def _created_by(item: Item, truncate: bool) -> str:
    text = str(item["CreatedBy"]).replace("\t", " ")
    return ellipsis(text, _WIDTH) if truncate else text


def _history_noun(human: bool) -> Noun:
    since = "{{.CreatedSince}}" if human else "{{.CreatedAt}}"
    return Noun(
        "*formatter.historyContext",
        f"table {{{{.ID}}}}\t{since}\t{{{{.CreatedBy}}}}\t{{{{.Size}}}}\t{{{{.Comment}}}}",
        {
            "Comment": ("COMMENT", lambda item, truncate: item["Comment"]),
            "CreatedAt": ("CREATED AT", lambda item, truncate: _stamp(item["Created"])),
            "CreatedBy": ("CREATED BY", _created_by),
            "CreatedSince": ("CREATED", lambda item, truncate: ago(item["Created"], time.time())),
            "ID": ("IMAGE", _id),
            "Size": ("SIZE", lambda item, truncate: human_size(item["Size"]) if human else str(item["Size"])),
        },
    )


def _stamp(seconds: int) -> str:
    """RFC 3339 in local time, as Go's ``time.RFC3339``."""
    date, clock, zone, *_ = go_time(seconds).split(" ")
    return f"{date}T{clock}{'Z' if zone == '+0000' else f'{zone[:3]}:{zone[3:]}'}"


def prune(options: Options) -> int:
    """Remove images without a name, with ``-a`` all that no container uses; asks unless ``-f``."""
    from tui.cli.prune import agree, reclaimed
    from tui.cli.ps import filters

    if not options["force"]:
        agree(_UNUSED if options["all"] else _DANGLING)
    given = [*options["filter"], f"dangling={'false' if options['all'] else 'true'}"]
    found = call("POST", target("/images/prune", {"filters": filters(given)}))
    if found["ImagesDeleted"]:
        lines = [
            f"{word.lower()}: {entry[word]}\n"
            for entry in found["ImagesDeleted"]
            for word in ("Untagged", "Deleted")
            if word in entry
        ]
        output.out("Deleted Images:\n" + "".join(lines) + "\n")
    output.out(reclaimed(found["SpaceReclaimed"]))
    return 0
