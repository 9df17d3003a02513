"""``image tree``: an image layer by layer, and what lies hidden in it."""

from __future__ import annotations

from tui.cli import output
from tui.cli.engine import call
from tui.cli.tables import columns
from tui.cli.transport import quote, target
from tui.cli.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tui.cli.flags import Options

    Item = dict[str, Any]

_SHORT = 12
_INSTRUCTION = 45
_MARKS = {"added": "+", "changed": "~", "removed": "-"}
_FEW = 10
_NARROW = 3


def run(options: Options) -> int:
    """Show the layers of an image; with ``--layer`` the files of one."""
    name, number = options.args[0], options["layer"]
    found = call("GET", target(f"/dockyard/v1/images/{quote(name)}/tree", {"layer": _shown(number)}))
    if options["format"]:
        from tui.cli.formatting import render

        output.out(render(found, options["format"]) + "\n")
        return 0
    text = _layers(found, not options["no-trunc"]) if number is None else _files(found, number)
    output.out(output.plain(text))
    return 0


def _shown(number: int | None) -> str | None:
    return None if number is None else str(number)


def summary(found: Item) -> str:
    """The image in one line."""
    name = ", ".join(found["Tags"]) or found["Id"][7 : 7 + _SHORT]
    hidden = f", {human_size(found['Wasted'])} of it hidden below later layers" if found["Wasted"] else ""
    return f"{name}: {human_size(found['Size'])}{hidden}, efficiency {found['Efficiency'] * 100:.1f}%"


def instruction(layer: Item) -> str:
    """What made a layer, in one line."""
    text = " ".join((layer["CreatedBy"] or layer["Comment"] or "").split())
    return text.removeprefix("/bin/sh -c #(nop) ").removeprefix("/bin/sh -c ")


def _layers(found: Item, truncate: bool) -> str:
    rows = [("#", "LAYER", "SIZE", "ADDED", "CHANGED", "REMOVED", "HIDES", "INSTRUCTION")]
    for number, layer in enumerate(found["Layers"]):
        text = instruction(layer)
        if truncate and len(text) > _INSTRUCTION:
            text = text[: _INSTRUCTION - 1] + "…"
        name = layer["DiffId"].removeprefix("sha256:")
        counts = ["" if layer["Empty"] else str(layer[key]) for key in ("Added", "Changed", "Removed")]
        hides = human_size(layer["Wasted"]) if layer["Wasted"] else ""
        size = "" if layer["Empty"] else human_size(layer["Size"])
        rows.append((str(number), name[:_SHORT] if truncate else name, size, *counts, hides, text))
    text = f"{summary(found)}\n\n{columns(rows, _NARROW)}"
    if found["WastedFiles"]:
        hidden = [("HIDDEN", "TIMES", "PATH")]
        hidden += [(human_size(one["Size"]), str(one["Count"]), one["Path"]) for one in found["WastedFiles"][:_FEW]]
        text += "\n" + columns(hidden, _NARROW)
    return text


def _files(found: Item, number: int) -> str:
    layer = found["Layers"][number]
    lines = [f"layer {number}: {instruction(layer)}"]
    lines += [
        f"{_MARKS[file['Kind']]} {human_size(file['Size']) if file['Type'] == 'file' else file['Type']:>9}  "
        f"{_one_line(file['Path'])}"
        for file in layer.get("Files") or ()
    ]
    return "\n".join(lines) + "\n"


def _one_line(path: str) -> str:
    return path.replace("\n", "\\n")
