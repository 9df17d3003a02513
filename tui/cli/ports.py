"""Published and exposed ports in Docker's syntax.

A published one is ``[[IP:][HOST[-LAST]]:]PORT[-LAST][/PROTOCOL]``, or ``target=PORT,published=HOST,protocol=…``.
Two ranges are of one length; a range of the host's for a single port leaves the choice to the engine. Without a
host's port the engine takes a free one. An exposed port is ``PORT[-LAST][/PROTOCOL]``.
"""

from __future__ import annotations

from tui.cli.addresses import bare, version
from tui.cli.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tui.cli.flags import Options

_PROTOCOLS = ("tcp", "udp", "sctp")
_FIELDS = ("app_protocol", "mode", "name", "protocol", "published", "target")
_LAST = 65535


class Binding:
    """One port of a container on the host. ``container``: "80/tcp"; ``host``: "8080", "8080-8090" or "" (any)."""

    __slots__ = ("address", "container", "host")

    def __init__(self, container: str, address: str, host: str) -> None:
        self.container, self.address, self.host = container, address, host


def add(options: Options, config: dict[str, Any], host: dict[str, Any]) -> None:
    """``--publish`` and ``--expose`` as members of the create request. Raises UsageError naming the flag."""
    found = [binding for text in options["publish"] for binding in published(text, "-p, --publish")]
    bindings: dict[str, list[dict[str, str]]] = {}
    for binding in found:
        bindings.setdefault(binding.container, []).append({"HostIp": binding.address, "HostPort": binding.host})
    if bindings:
        host["PortBindings"] = bindings
    exposed = [port for text in options["expose"] for port in _exposed(text)]
    config["ExposedPorts"] = {port: {} for port in [*bindings, *exposed]}


def published(text: str, flag: str) -> list[Binding]:
    """What ``text`` publishes. Raises UsageError with Docker's words, ``flag`` named where it is one."""
    try:
        return parse(_short(text) if "=" in text else text)
    except ValueError as error:
        where = f' for "{flag}" flag' if flag else ""
        raise UsageError(f'invalid argument "{text}"{where}: {error}') from None


def parse(text: str) -> list[Binding]:
    """The short form. Raises ValueError in Docker's words."""
    front, _, inside = text.rpartition(":")
    address, _, outside = front.rpartition(":")
    numbers, _, protocol = inside.partition("/")
    protocol = protocol.lower() or "tcp"
    if not numbers:
        raise ValueError(f"no port specified: {text}<empty>")
    if protocol not in _PROTOCOLS:
        raise ValueError(f"invalid proto: {protocol}")
    address = bare(address)
    if address and not version(address):
        raise ValueError(f"invalid IP address: {address}")
    first, last = _range(numbers, "containerPort")
    if not outside:
        return [Binding(f"{port}/{protocol}", address, "") for port in range(first, last + 1)]
    start, end = _range(outside, "hostPort", least=0)
    if end - start == last - first:
        return [Binding(f"{first + i}/{protocol}", address, str(start + i)) for i in range(last - first + 1)]
    if first != last:
        raise ValueError(f"invalid ranges specified for container and host Ports: {numbers} and {outside}")
    return [Binding(f"{first}/{protocol}", address, f"{start}-{end}")]


def _range(text: str, what: str, least: int = 1) -> tuple[int, int]:
    """``80`` or ``80-90``. A host's port may be 0 (any), a container's may not, nor the start of a range."""
    first, dash, last = text.partition("-")
    numbers = [_number(number) for number in ((first, last) if dash else (first, first))]
    if not (least if not dash else 1) <= numbers[0] <= numbers[1] <= _LAST:
        raise ValueError(f"invalid {what}: {text}")
    return numbers[0], numbers[1]


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else -1


def _short(text: str) -> str:
    """The long form as a short one. Docker leaves out the fields it does not know: here they are refused."""
    fields = {}
    for field in text.split(","):
        key, equals, value = field.partition("=")
        key = key.strip().lower()
        if not equals or key not in _FIELDS:
            raise ValueError(f"invalid field {field}: target=PORT, published=PORT and protocol=tcp are known")
        fields[key] = value.strip()
    if not fields.get("target"):
        raise ValueError("no port specified: give target=PORT")
    return f"{fields.get('published', '')}:{fields['target']}/{fields.get('protocol', 'tcp')}"


def _exposed(text: str) -> list[str]:
    """``8000-8002`` → ``8000/tcp`` … Raises UsageError as Docker words it."""
    if ":" in text:
        raise UsageError(f"invalid port format for --expose: {text}")
    numbers, _, protocol = text.partition("/")
    protocol = protocol.lower() or "tcp"
    if protocol not in _PROTOCOLS:
        raise UsageError(f"invalid port format for --expose: {text}: invalid proto: {protocol}")
    try:
        first, last = _range(numbers, "port")
    except ValueError as error:
        raise UsageError(f"invalid range format for --expose: {text}, error: {error}") from None
    return [f"{port}/{protocol}" for port in range(first, last + 1)]


def request(texts: list[str]) -> dict[str, Any]:
    """The body that publishes, or takes away, ports of a container that exists."""
    found = [binding for text in texts for binding in published(text, "")]
    return {"Ports": [{"HostIp": b.address, "HostPort": b.host, "ContainerPort": b.container} for b in found]}
