"""``top port stats``: what containers do now."""

from __future__ import annotations

from tui.cli import output
from tui.cli.engine import call, connect
from tui.cli.errors import CliError
from tui.cli.rows import Noun
from tui.cli.tables import columns
from tui.cli.transport import container_path, target
from tui.cli.units import bytes_size, human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tui.cli.flags import Options

    Item = dict[str, Any]

_NOTHING = "--"


def top(options: Options) -> int:
    """The processes of a container, as ps shows them."""
    name, *arguments = options.args
    found = call("GET", target(f"{container_path(name)}/top", {"ps_args": " ".join(arguments)}))
    rows = [[output.plain(cell) for cell in row] for row in found["Processes"]]
    output.out(columns([found["Titles"], *rows], minimum=20))
    return 0


def port(options: Options) -> int:
    """Where a container's ports are published."""
    name = options.args[0]
    found = call("GET", f"{container_path(name)}/json")["NetworkSettings"].get("Ports") or {}
    if len(options.args) == 1:
        lines = [f"{inside} -> {_address(each)}\n" for inside, each in _published(found)]
        output.out("".join(lines))
        return 0
    wanted = options.args[1]
    number, _, kind = wanted.partition("/")
    if not number.isdecimal():
        raise CliError(f"Error: invalid port {wanted!r}: write PORT[/PROTOCOL]")
    key = f"{number}/{kind or 'tcp'}"
    lines = [_address(each) + "\n" for inside, each in _published(found) if inside == key]
    if not lines:
        raise CliError(f"Error: No public port '{wanted}' published for {name}")
    output.out("".join(lines))
    return 0


def _published(ports: dict[str, Any]) -> list[tuple[str, Item]]:
    ordered = sorted(ports, key=lambda inside: (int(inside.partition("/")[0]), inside))
    return [(inside, each) for inside in ordered for each in ports[inside] or ()]


def _address(item: Item) -> str:
    host = item["HostIp"]
    return f"[{host}]:{item['HostPort']}" if ":" in host else f"{host}:{item['HostPort']}"


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
