"""``volume create ls inspect rm prune``."""

from __future__ import annotations

from tui.cli import output
from tui.cli.engine import call
from tui.cli.errors import ApiError
from tui.cli.rows import Noun, labels
from tui.cli.transport import quote, target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tui.cli.flags import Options


def create(options: Options) -> int:
    """Make a volume and print its name."""
    body = {
        "Name": options.args[0] if options.args else options["name"],
        "Driver": options["driver"],
        "DriverOpts": _pairs(options["opt"]),
        "Labels": _pairs(options["label"]),
    }
    output.out(call("POST", "/volumes/create", body)["Name"] + "\n")
    return 0


def _pairs(texts: list[str]) -> dict[str, str]:
    return {key: value for key, _, value in (text.partition("=") for text in texts)}


def _list(options: Options) -> list[dict[str, Any]]:
    from tui.cli.ps import filters

    found = call("GET", target("/volumes", {"filters": filters(options["filter"])}))["Volumes"] or []
    return sorted(found, key=lambda volume: volume["Name"])


def ls(options: Options) -> int:
    """List volumes."""
    rows = _list(options)
    if options["quiet"] and options["format"] in ("", "table"):
        output.out("".join([row["Name"] + "\n" for row in rows]))
        return 0
    from tui.cli.formatting import print_rows

    print_rows(noun(), rows, options["format"] or "table", truncate=False)
    return 0


def noun() -> Noun:
    """The fields of ``volume ls``."""
    return Noun(
        "*formatter.volumeContext",
        "table {{.Driver}}\t{{.Name}}",
        {
            "Availability": ("AVAILABILITY", lambda item, truncate: "N/A"),
            "Driver": ("DRIVER", lambda item, truncate: item["Driver"]),
            "Group": ("GROUP", lambda item, truncate: "N/A"),
            "Labels": ("LABELS", labels),
            "Label": ("", lambda item, truncate, name: (item.get("Labels") or {}).get(name, "")),
            "Links": ("LINKS", lambda item, truncate: "N/A"),
            "Mountpoint": ("MOUNTPOINT", lambda item, truncate: item["Mountpoint"]),
            "Name": ("VOLUME NAME", lambda item, truncate: item["Name"]),
            "Scope": ("SCOPE", lambda item, truncate: item["Scope"]),
            "Size": ("SIZE", lambda item, truncate: "N/A"),
            "Status": ("STATUS", lambda item, truncate: "N/A"),
        },
        hidden=("Label",),
    )


def inspect(options: Options) -> int:
    """Print every volume named; the missing ones are told after."""
    from tui.cli.jsonlite import show_indented

    found, missing = [], []
    for name in options.args:
        try:
            found.append(call("GET", f"/volumes/{quote(name)}"))
        except ApiError as error:
            missing.append(error.message)
    if options["format"] in ("", "json"):
        output.out(show_indented(found) + "\n")
    else:
        from tui.cli.formatting import render

        output.out("".join([render(volume, options["format"]) + "\n" for volume in found]))
    output.err("".join([message + "\n" for message in missing]))
    return 1 if missing else 0


def rm(options: Options) -> int:
    """Remove volumes; with ``-f`` one that does not exist is no failure."""
    code = 0
    for name in options.args:
        try:
            call("DELETE", target(f"/volumes/{quote(name)}", {"force": options["force"]}))
            output.out(name + "\n")
        except ApiError as error:
            output.err(error.message + "\n")
            code = 1
    return code


def prune(options: Options) -> int:
    """Remove the anonymous volumes nobody uses, with ``-a`` the named ones too; asks unless ``-f``."""
    from tui.cli.prune import agree, reclaimed
    from tui.cli.ps import filters

    kind = "all" if options["all"] else "anonymous"
    if not options["force"]:
        agree(f"This will remove {kind} local volumes not used by at least one container.")
    given = [*options["filter"], *(["all=true"] if options["all"] else [])]
    found = call("POST", target("/volumes/prune", {"filters": filters(given)}))
    if found["VolumesDeleted"]:
        output.out("Deleted Volumes:\n" + "".join([name + "\n" for name in found["VolumesDeleted"]]) + "\n")
    output.out(reclaimed(found["SpaceReclaimed"]))
    return 0
