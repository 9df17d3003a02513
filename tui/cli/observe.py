"""``top port stats``: what containers do now."""

from __future__ import annotations

from tui.cli import output
from tui.cli.engine import call, connect
from tui.cli.errors import ApiError, CliError, UsageError
from tui.cli.rows import Noun, joined, natural
from tui.cli.tables import columns
from tui.cli.transport import container_path, target
from tui.cli.units import bytes_size, human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tui.cli.flags import Options

    Item = dict[str, Any]

_NOTHING = "--"
_LAST_PORT = 65535


def top(options: Options) -> int:
    """The processes of a container, as ps shows them."""
    name, *arguments = options.args
    found = call("GET", target(f"{container_path(name)}/top", {"ps_args": " ".join(arguments)}))
    rows = [[output.plain(cell) for cell in row] for row in found["Processes"]]
    output.out(columns([found["Titles"], *rows], minimum=20))
    return 0


def port(options: Options) -> int:
    """Where a container's ports are published; with ``add`` or ``rm`` and a container, publish or take away."""
    name, *rest = options.args
    if name in ("add", "rm") and (len(rest) > 1 or (rest and not _is_private(rest[0]))):
        return _change(name, rest)
    if len(rest) > 1:
        raise UsageError("dockyard: 'dockyard port' requires at least 1 and at most 2 arguments", 1)
    try:
        found = call("GET", f"{container_path(name)}/json")["NetworkSettings"].get("Ports") or {}
    except ApiError as error:
        if name not in ("add", "rm") or error.status != 404:
            raise
        raise UsageError(f"{error.message}: nor was a container given to 'dockyard port {name}'", 1) from None
    if not rest or not rest[0]:
        _print_ports([f"{inside} -> {each}" for inside in found for each in _addresses(found, inside)])
        return 0
    number, _, kind = rest[0].partition("/")
    if not number.isdecimal() or int(number) > _LAST_PORT:
        raise CliError(f"Error: invalid port ({number}): write PORT[/PROTOCOL]")
    lines = _addresses(found, f"{number}/{kind or 'tcp'}")
    if not lines:
        raise CliError(f"Error: No public port '{rest[0]}' published for {name}")
    _print_ports(lines)
    return 0


def _is_private(text: str) -> bool:
    """Whether ``port add TEXT`` asks for a port of the container named add."""
    return text[:1].isdecimal() and text.partition("/")[0].isdecimal()


def _addresses(ports: dict[str, Any], inside: str) -> list[str]:
    return [joined(each["HostIp"], each["HostPort"]) for each in ports.get(inside) or ()]


def _print_ports(lines: list[str]) -> None:
    output.out("".join([line + "\n" for line in sorted(lines, key=natural)]))


def _change(what: str, arguments: list[str]) -> int:
    """``port add`` prints where the ports are now; ``port rm`` prints what it was given."""
    name, *texts = arguments
    if not texts:
        raise UsageError(f"dockyard: 'dockyard port {what}' requires at least 2 arguments", 1)
    from tui.cli.ports import request

    where, body = f"/dockyard/v1{container_path(name)}/ports", request(texts)
    if what == "rm":
        call("DELETE", where, body)
        output.out("".join([text + "\n" for text in texts]))
        return 0
    found = call("POST", where, body)
    output.err("".join([f"WARNING: {warning}\n" for warning in found.get("Warnings") or ()]))
    if not found["Ports"]:
        output.err(f"{name} is not running: its ports are published when it starts\n")
    _print_ports([f"{each['ContainerPort']} -> {joined(each['HostIp'], each['HostPort'])}" for each in found["Ports"]])
    return 0


# --- stats -----------------------------------------------------------------------------------------


def stats(options: Options) -> int:
    """What containers use: once, or every second until it is ended."""
    query: dict[str, Any] = {"all": options["all"], "id": options.args}
    form, truncate = options["format"] or "table", not options["no-trunc"]
    if options["no-stream"]:
        print_rows(call("GET", target("/dockyard/v1/stats", {**query, "stream": "0"})), form, truncate)
        return 0
    connection = connect()
    connection.send("GET", target("/dockyard/v1/stats", query))
    response = connection.answer().check()
    from tui.cli.images import lines
    from tui.cli.jsonlite import decode

    refresh = output.is_terminal(1)
    for line in lines(response):
        text = rendered(decode(line), form, truncate)
        if refresh:
            text = "\x1b[H" + "".join([each + "\x1b[K\n" for each in text.splitlines()]) + "\x1b[J"
        output.out(text)
    return 0


def print_rows(items: list[Item], form: str, truncate: bool) -> None:
    """Print documents of the API as rows."""
    output.out(rendered(items, form, truncate))


def rendered(items: list[Item], form: str, truncate: bool) -> str:
    """Documents of the API as text."""
    from tui.cli.formatting import rows_text

    return rows_text(stats_noun(), [row(item) for item in items], form, truncate=truncate)


def row(item: Item) -> Item:
    """One document as the figures that are shown; those of a container that does not run are missing."""
    shown: Item = {"Name": item["name"].lstrip("/"), "ID": item["id"], "running": bool(item["memory_stats"])}
    if not shown["running"]:
        return shown
    memory = item["memory_stats"]
    used = memory["usage"] - _cache(memory)
    received = sent = 0
    for counters in (item.get("networks") or {}).values():
        received += counters["rx_bytes"]
        sent += counters["tx_bytes"]
    moved = {"read": 0, "write": 0}
    for transfer in item["blkio_stats"].get("io_service_bytes_recursive") or ():
        if transfer["op"].lower() in moved:
            moved[transfer["op"].lower()] += transfer["value"]
    return {
        **shown,
        "CPUPerc": f"{processor(item):.2f}%",
        "MemUsage": f"{bytes_size(used)} / {bytes_size(memory['limit'])}",
        "MemPerc": f"{used / memory['limit'] * 100 if memory['limit'] else 0.0:.2f}%",
        "NetIO": f"{human_size(received)} / {human_size(sent)}",
        "BlockIO": f"{human_size(moved['read'])} / {human_size(moved['write'])}",
        "PIDs": str(item["pids_stats"].get("current", 0)),
    }


def _cache(memory: Item) -> int:
    """The page cache that could be dropped: not counted as used (docker/cli, calculateMemUsageUnixNoCache)."""
    details = memory.get("stats") or {}
    cache: int = details.get("total_inactive_file", details.get("inactive_file", 0))
    return cache if cache < memory["usage"] else 0


def processor(item: Item) -> float:
    """Percent of one processor since the document before (docker/cli, calculateCPUPercentUnix)."""
    now, before = item["cpu_stats"], item["precpu_stats"]
    spent = now["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]
    system = now.get("system_cpu_usage", 0) - before.get("system_cpu_usage", 0)
    if spent <= 0 or system <= 0 or not before.get("system_cpu_usage"):
        return 0.0
    percent: float = spent / system * now.get("online_cpus", 1) * 100.0
    return percent


def _figure(member: str, missing: str = _NOTHING) -> Any:
    return lambda item, truncate: item.get(member, missing)


def stats_noun() -> Noun:
    """The fields of ``stats``."""
    return Noun(
        "*container.statsContext",
        "table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}",
        {
            "BlockIO": ("BLOCK I/O", _figure("BlockIO")),
            "CPUPerc": ("CPU %", _figure("CPUPerc")),
            "Container": ("CONTAINER", lambda item, truncate: item["ID"][:12] if truncate else item["ID"]),
            "ID": ("CONTAINER ID", lambda item, truncate: item["ID"][:12] if truncate else item["ID"]),
            "MemPerc": ("MEM %", _figure("MemPerc")),
            "MemUsage": ("MEM USAGE / LIMIT", _figure("MemUsage", "-- / --")),
            "Name": ("NAME", _figure("Name")),
            "NetIO": ("NET I/O", _figure("NetIO")),
            "PIDs": ("PIDS", _figure("PIDs")),
        },
    )
