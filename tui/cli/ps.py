"""``ps``: the default table without templates, since it is asked for most."""

from __future__ import annotations

import time

from tui.cli import output, rows
from tui.cli.engine import call
from tui.cli.errors import UsageError
from tui.cli.jsonlite import encode
from tui.cli.tables import columns
from tui.cli.transport import target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tui.cli.flags import Options

_HEADER = ("CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES")


def run(options: Options) -> int:
    """List containers: newest first, as the engine gives them."""
    wanted = 1 if options["latest"] else options["last"]
    query: dict[str, Any] = {
        "all": options["all"] or wanted > 0,
        "limit": wanted if wanted > 0 else None,
        "filters": filters(options["filter"]),
        # A template that asks for the size asks for it to be counted.
        "size": options["size"] or ".Size" in options["format"],
    }
    items = call("GET", target("/containers/json", query))
    if options["format"] and not (options["quiet"] and options["format"] == "table"):
        from tui.cli.formatting import print_rows

        print_rows(rows.container_noun(), items, options["format"], truncate=not options["no-trunc"])
        return 0
    if options["quiet"]:
        output.out("".join([(i["Id"] if options["no-trunc"] else i["Id"][:12]) + "\n" for i in items]))
        return 0
    truncate, reasons = not options["no-trunc"], output.is_terminal(1)
    output.out(table(items, truncate=truncate, reasons=reasons, sizes=options["size"]))
    return 0


def table(items: list[dict[str, Any]], *, truncate: bool, reasons: bool, sizes: bool = False) -> str:
    """Docker's table. ``reasons``: why a container ended stands behind its status; ``sizes``: one more column."""
    now = time.time()
    lines: list[tuple[str, ...]] = [(*_HEADER, "SIZE") if sizes else _HEADER]
    for item in items:
        status = item.get("Status", "")
        reason = item.get("DockyardExplain") if reasons else None
        if reason and item.get("State") != "running":
            status = f"{status} ({reason})"
        lines.append(
            (
                item["Id"][:12] if truncate else item["Id"],
                rows.image(item, truncate),
                rows.command(item, truncate),
                rows.ago(item["Created"], now),
                status,
                rows.ports(item),
                rows.names(item, truncate),
                *([rows.size(item, truncate)] if sizes else []),
            )
        )
    return columns(lines)


def filters(texts: list[str]) -> str:
    """``--filter name=value``, repeated, as the API's JSON. Raises UsageError."""
    found: dict[str, dict[str, bool]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(
                f'invalid argument "{text}" for "-f, --filter" flag: bad format of filter (expected name=value)'
            )
        found.setdefault(name.strip().lower(), {})[value.strip()] = True
    return encode(found).decode() if found else ""
