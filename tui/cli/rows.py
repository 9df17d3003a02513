"""The cells of Docker's lists, from the items of its API.

The functions on an item are what ``ps`` prints; the nouns at the end give them Docker's field names for templates.
"""

from __future__ import annotations

import time

from tui.cli.units import go_time, human_duration, human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Item = dict[str, Any]

_COMMAND_WIDTH = 20
_MOUNT_WIDTH = 15
_HEX = frozenset("0123456789abcdef")


class Noun:
    """One kind of list: its template fields, their headers, and the default table.

    A field is a function of (item, truncate), or of (item, truncate, argument) where Docker's is a method. ``wrong``:
    what Docker says before the reason when a template cannot be parsed, or executed.
    """

    __slots__ = ("default", "fields", "headers", "hidden", "type_name", "wrong")

    def __init__(
        self,
        type_name: str,
        default: str,
        fields: dict[str, tuple[str, Callable[..., Any]]],
        hidden: tuple[str, ...] = (),
        wrong: tuple[str, str] = ("template parsing error", "template parsing error"),
    ) -> None:
        self.type_name = type_name
        self.default = default
        self.headers = {name: header for name, (header, _) in fields.items()}
        self.fields = {name: function for name, (_, function) in fields.items()}
        self.hidden = frozenset(hidden)
        self.wrong = wrong


def ellipsis(text: str, width: int) -> str:
    """``text`` in at most ``width`` columns, the last one … when it was longer."""
    return text if len(text) <= width else text[: width - 1] + "…"


def go_quote(text: str) -> str:
    """Go's strconv.Quote."""
    short = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
    short.update({"\\": "\\\\", '"': '\\"'})
    if text.isprintable() and "\\" not in text and '"' not in text:
        return f'"{text}"'
    parts = []
    for c in text:
        code = ord(c)
        if c in short:
            parts.append(short[c])
        elif c == " " or c.isprintable():
            parts.append(c)
        elif 0xDC80 <= code <= 0xDCFF:
            parts.append(f"\\x{code - 0xDC00:02x}")
        elif code < 0x80:
            parts.append(f"\\x{code:02x}")
        else:
            parts.append(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return '"' + "".join(parts) + '"'


def natural(text: str) -> list[tuple[int, int]]:
    """A key that sorts as Docker sorts names and ports: numbers by their value, all else by its code."""
    key: list[tuple[int, int]] = []
    number = ""
    for c in text + "\0":
        if "0" <= c <= "9":
            number += c
            continue
        if number:
            key.append((ord("0"), int(number)))
            number = ""
        key.append((ord(c), 0))
    return key


def image(item: Item, truncate: bool) -> str:
    """The image as it was named; an id is cut short."""
    name: str = item.get("Image") or "<no image>"
    if not truncate:
        return name
    bare = name.removeprefix("sha256:")
    if len(bare) == 64 and _HEX.issuperset(bare):
        return bare[:12]
    return name.partition("@")[0] if "@" in name else name


def command(item: Item, truncate: bool) -> str:
    """The command in quotes."""
    text = item.get("Command", "")
    return go_quote(ellipsis(text, _COMMAND_WIDTH) if truncate else text)


def ago(created: int, now: float) -> str:
    """How long ago, in words."""
    return human_duration(max(0.0, int(now) - created)) + " ago"


def names(item: Item, truncate: bool = True) -> str:
    """Names without their slash; those a link made are left out of the short form."""
    found = [name.removeprefix("/") for name in item.get("Names") or ()]
    return ",".join([name for name in found if not (truncate and "/" in name)])


def ports(item: Item) -> str:
    """Neighbours with one number inside and outside are joined; then each of the others (docker/cli, DisplayablePorts).

    Exposed ports, which have no address, count as the same inside and outside.
    """
    found = item.get("Ports") or ()
    if len(found) > 1:
        found = sorted(found, key=lambda p: (p["PrivatePort"], p.get("IP") or "", p.get("PublicPort") or 0, p["Type"]))
    runs: dict[tuple[str, str], tuple[int, int]] = {}
    shown, mapped = [], []
    for port in found:
        address, kind, number = port.get("IP") or "", port["Type"], port["PrivatePort"]
        public = port.get("PublicPort") or 0
        if address and public != number:
            mapped.append(f"{joined(address, public)}->{number}/{kind}")
            continue
        run = runs.get((address, kind))
        if run is not None and run[1] == number - 1:
            runs[address, kind] = (run[0], number)
            continue
        if run is not None:
            shown.append(_run(address, kind, run))
        runs[address, kind] = (number, number)
    shown += [_run(address, kind, run) for (address, kind), run in runs.items()]
    return ", ".join(shown + mapped)


def _run(address: str, kind: str, run: tuple[int, int]) -> str:
    numbers = f"{run[0]}" if run[0] == run[1] else f"{run[0]}-{run[1]}"
    return f"{joined(address, numbers)}->{numbers}/{kind}" if address else f"{numbers}/{kind}"


def joined(address: str, port: object) -> str:
    """``address:port``, an IPv6 address in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def labels(item: Item, truncate: bool = True) -> str:
    """``k=v`` joined by commas, sorted."""
    return ",".join([f"{key}={value}" for key, value in sorted((item.get("Labels") or {}).items())])


def _label(item: Item, truncate: bool, name: str) -> str:
    return str((item.get("Labels") or {}).get(name, ""))


def _mounts(item: Item, truncate: bool) -> str:
    found = [mount.get("Name") or mount.get("Source", "") for mount in item.get("Mounts") or ()]
    return ",".join([ellipsis(name, _MOUNT_WIDTH) if truncate else name for name in found])


def _volumes(item: Item, truncate: bool) -> str:
    return str(sum(mount.get("Driver") == "local" for mount in item.get("Mounts") or ()))


def _networks(item: Item, truncate: bool) -> str:
    return ",".join((item.get("NetworkSettings") or {}).get("Networks") or {})


def size(item: Item, truncate: bool = True) -> str:
    """What it wrote, and with its image."""
    written = human_size(item.get("SizeRw") or 0)
    root = item.get("SizeRootFs") or 0
    return f"{written} (virtual {human_size(root)})" if root > 0 else written


def container_noun() -> Noun:
    """The fields of ``ps``. ``Reason`` is ours: why a container ended."""
    return Noun(
        "*formatter.ContainerContext",
        "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}",
        {
            "Command": ("COMMAND", command),
            "CreatedAt": ("CREATED AT", lambda item, truncate: go_time(item["Created"])),
            "ID": ("CONTAINER ID", lambda item, truncate: item["Id"][:12] if truncate else item["Id"]),
            "Image": ("IMAGE", image),
            "Labels": ("LABELS", labels),
            "Label": ("", _label),
            "LocalVolumes": ("LOCAL VOLUMES", _volumes),
            "Mounts": ("MOUNTS", _mounts),
            "Names": ("NAMES", names),
            "Networks": ("NETWORKS", _networks),
            "Platform": ("PLATFORM", lambda item, truncate: None),
            "Ports": ("PORTS", lambda item, truncate: ports(item)),
            "Reason": ("REASON", lambda item, truncate: item.get("DockyardExplain") or ""),
            "RunningFor": ("CREATED", lambda item, truncate: ago(item["Created"], time.time())),
            "Size": ("SIZE", size),
            "State": ("STATE", lambda item, truncate: item.get("State", "")),
            "Status": ("STATUS", lambda item, truncate: item.get("Status", "")),
        },
        hidden=("Label", "Reason"),
        wrong=("failed to parse template", "failed to execute template"),
    )
