"""An image layer by layer: what each adds, changes, removes and hides. A layer's files come when it is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tui.cli.tree import instruction, summary
from tui.cli.units import human_size
from tui.client import ConnectionLost, EngineError
from tui.frame import Line, narrow
from tui.screens.view import Entry, ViewScreen

if TYPE_CHECKING:
    from tui.workstation import Workstation

_MARKS = {"added": ("+", "ok"), "changed": ("~", "warn"), "removed": ("-", "bad")}
#: Files of one layer that are shown; the command line lists all.
MOST_FILES = 5000


async def open_layers(app: Workstation, container: str) -> None:
    """Show the layers of a container's image. Raises EngineError."""
    inspected = await app.client.inspect(container)
    image = str(inspected.get("Image") or "")
    name = str((inspected.get("Config") or {}).get("Image") or image)
    app.push_screen(LayersScreen(app, image, name, await app.client.tree(image)))


class LayersScreen(ViewScreen):
    """The lines, and the files that were asked for so far."""

    def __init__(self, app: Workstation, image: str, name: str, found: dict[str, Any]) -> None:
        self._client = app.client
        self._image = image
        self._found = found
        self._files: dict[int, list[dict[str, Any]]] = {}
        super().__init__(app.painter, f"Layers of {name}", entries(found, self._files)[0], app.config.keys)

    def fold(self) -> None:
        """Open a layer: its files are asked for the first time, folded after that."""
        lines = self.lines
        place = lines.shown[lines.cursor] if lines.shown else 0
        number = entries(self._found, self._files)[1].get(place)
        if number is None or number in self._files:
            super().fold()
        else:
            self.run_worker(self._load(number, place), group="layer", exclusive=True)

    async def _load(self, number: int, place: int) -> None:
        try:
            found = await self._client.tree(self._image, number)
        except (EngineError, ConnectionLost, TimeoutError) as error:
            self.app.notify(str(error) or "the engine does not answer", severity="error", markup=False)
            return
        self._files[number] = found["Layers"][number].get("Files") or []
        self.lines.load(entries(self._found, self._files)[0])
        self.lines.go(min(place, len(self.lines.shown) - 1))
        self.lines.refresh()


def entries(found: dict[str, Any], files: dict[int, list[dict[str, Any]]]) -> tuple[list[Entry], dict[int, int]]:
    """The image, its layers with the files of those in ``files``, what is hidden; and which line is which layer."""
    out = [Entry(0, False, [(narrow(summary(found)), "text+")]), Entry(0, False, [])]
    places: dict[int, int] = {}
    for number, layer in enumerate(found["Layers"]):
        if layer["Empty"]:
            out.append(Entry(0, False, [(f"{number:>3} {'':>8}  ", "dim"), (narrow(instruction(layer)), "dim")]))
            continue
        places[len(out)] = number
        out.append(Entry(0, True, _layer(number, layer)))
        listed = files.get(number, [])
        out += [Entry(1, False, _file(file)) for file in listed[:MOST_FILES]]
        if len(listed) > MOST_FILES:
            text = f"      and {len(listed) - MOST_FILES} more: dockyard image tree --layer {number}"
            out.append(Entry(1, False, [(text, "dim")]))
    if found["WastedFiles"]:
        out += [Entry(0, False, []), Entry(0, True, [("Hidden below later layers", "accent+")])]
        out += [
            Entry(1, False, [(f"{human_size(one['Size']):>10}  ", "warn"), (narrow(one["Path"]), "text")])
            for one in found["WastedFiles"]
        ]
    return out, places


def _layer(number: int, layer: dict[str, Any]) -> Line:
    line: Line = [(f"{number:>3} ", "dim"), (f"{human_size(layer['Size']):>8}  ", "accent")]
    for key, mark, role in (("Added", "+", "ok"), ("Changed", "~", "warn"), ("Removed", "-", "bad")):
        if layer[key]:
            line.append((f"{mark}{layer[key]} ", role))
    if layer["Wasted"]:
        line.append((f"hides {human_size(layer['Wasted'])} ", "bad"))
    return [*line, (" " + narrow(instruction(layer)), "text")]


def _file(file: dict[str, Any]) -> Line:
    mark, role = _MARKS.get(file["Kind"], ("?", "dim"))
    size = human_size(file["Size"]) if file["Type"] == "file" else file["Type"]
    return [(f"      {mark} ", role), (f"{size:>9}  ", "dim"), (narrow(file["Path"]), "text")]
