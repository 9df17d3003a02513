"""``events``."""

from __future__ import annotations

from tui.cli import output
from tui.cli.engine import connect
from tui.cli.errors import CliError
from tui.cli.images import lines
from tui.cli.jsonlite import decode, encode
from tui.cli.logs import moment
from tui.cli.ps import filters
from tui.cli.transport import target
from tui.cli.units import parse_moment, rfc3339_nano

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tui.cli.flags import Options

_BAD_TEMPLATE = 64


def run(options: Options) -> int:
    """Print events as they happen, the past first with ``--since``, until ``--until``."""
    form = options["format"]
    template = None
    if form and form != "json":
        from tui.cli.formatting import parse

        try:
            template = parse(form, "Error parsing format")
        except CliError as error:
            error.code = _BAD_TEMPLATE
            raise
    query = {
        "since": moment("since", options["since"]),
        "until": moment("until", options["until"]),
        "filters": filters(options["filter"]),
    }
    response = connect().request("GET", target("/events", query))
    for line in lines(response):
        if template is not None:
            output.out(_rendered(template, decode(line)) + "\n")
        else:
            output.out(line.decode() + "\n" if form == "json" else sentence(decode(line)))
    return 0


def past(wanted: dict[str, dict[str, bool]]) -> list[dict[str, Any]]:
    """The events up to now that the engine remembers and the filters let through."""
    query = {"since": "0", "until": parse_moment("0s"), "filters": encode(wanted).decode()}
    return [decode(line) for line in lines(connect().request("GET", target("/events", query)))]


def _rendered(template: Any, event: dict[str, Any]) -> str:
    from tui.cli.gotemplate import ExecError

    # Docker's own names for members that newer engines leave out.
    whole = {"status": "", "id": "", "from": "", **event}
    try:
        return str(template.execute(whole, strict=True))
    except ExecError as error:
        raise CliError(f"Error parsing format: {error}", _BAD_TEMPLATE) from None


def sentence(event: dict[str, Any]) -> str:
    """One event on a line: when, what kind, what happened, to whom, and its attributes sorted."""
    nano = event.get("timeNano") or event.get("time", 0) * 1_000_000_000
    actor = event.get("Actor") or {}
    attributes = actor.get("Attributes") or {}
    details = ", ".join([f"{key}={value}" for key, value in sorted(attributes.items())])
    words = [rfc3339_nano(nano), event.get("Type", ""), event.get("Action", ""), actor.get("ID", "")]
    # Labels come from images: on one line, and as text.
    return output.plain(" ".join(words) + (f" ({details})" if details else "")).replace("\n", "\\n") + "\n"
