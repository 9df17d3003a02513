"""``/dockyard/v1/images/{name}/tree``: an image layer by layer."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp.web_response import StreamResponse

from core.api.call import Call, reply
from core.api.images import step, steps
from core.errors import InvalidArgument
from core.image import tree


async def layers(call: Call) -> StreamResponse:
    """The steps of an image, base first, each with what it adds, changes and removes; ``layer`` lists one's files."""
    store = call.engine.images
    image = store.get(call.parameters["name"])
    sizes = store.layers.sizes()
    diff_ids = iter(image.layers)
    shown: list[dict[str, Any]] = []
    history = steps(image) or [{} for _ in image.layers]
    for one in history:
        diff_id = "" if one.get("empty_layer") else next(diff_ids, "")
        shown.append({**step(one, image, sizes.get(diff_id, 0)), "DiffId": diff_id, "Empty": not diff_id})
    shown += [{**step({}, image, sizes.get(d, 0)), "DiffId": d, "Empty": False} for d in diff_ids]
    number = call.integer("layer")
    if number is not None and not 0 <= number < len(shown):
        raise InvalidArgument(f"image {call.parameters['name']} has no layer {number}", hint=f"0 to {len(shown) - 1}")
    places = [place for place, one in enumerate(shown) if not one["Empty"]]
    wanted = places.index(number) if number in places else -1
    with store.layers.keeping(image.layers):
        folders = [store.layers.paths(diff_id)[0] for diff_id in image.layers]
        found = await asyncio.to_thread(tree.compare, folders, wanted)
    for place, layer in zip(places, found.layers, strict=True):
        shown[place] |= _counts(layer)
        if place == number:
            shown[place]["Files"] = [_file(file) for file in layer.files]
    wasted = sum(layer.wasted for layer in found.layers)
    total = sum(sizes.get(diff_id, 0) for diff_id in image.layers)
    return reply(
        {
            "Id": image.id,
            "Tags": list(image.tags),
            "Size": image.size,
            "Wasted": wasted,
            "Efficiency": 1 - wasted / total if total else 1.0,
            "Layers": [_layer(one) for one in shown],
            "WastedFiles": [
                {"Path": _text("/" + one.path), "Size": one.size, "Count": one.times} for one in found.wasted
            ],
        }
    )


def _layer(shown: dict[str, Any]) -> dict[str, Any]:
    names = ("DiffId", "Size", "CreatedBy", "Created", "Comment", "Empty")
    counts = {name: shown.get(name, 0) for name in ("Added", "Changed", "Removed", "Wasted")}
    files = {"Files": shown["Files"]} if "Files" in shown else {}
    return {name: shown[name] for name in names} | counts | files


def _counts(layer: tree.Layer) -> dict[str, int]:
    return {"Added": layer.added, "Changed": layer.changed, "Removed": layer.removed, "Wasted": layer.wasted}


def _file(file: tree.File) -> dict[str, Any]:
    return {"Path": _text(file.path), "Kind": file.kind, "Type": file.type, "Mode": file.mode, "Size": file.size}


def _text(path: str) -> str:
    """A path in JSON: what is no UTF-8 in it is replaced."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
