"""``version``, ``info``, and ``dockyard`` without a verb."""

from __future__ import annotations

import posix
import sys

from tui.cli import output
from tui.cli.engine import call, connect, socket_path
from tui.cli.errors import CliError
from tui.cli.units import bytes_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tui.cli.flags import Options

VERSION = "0.1.0"
API_VERSION = "1.51"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_WIDTH = 19


def print_version() -> int:
    """``dockyard --version``."""
    output.out(f"Dockyard version {VERSION}\n")
    return 0


def _client() -> dict[str, Any]:
    machine = posix.uname().machine
    return {
        "Version": VERSION,
        "ApiVersion": API_VERSION,
        "DefaultAPIVersion": API_VERSION,
        "PythonVersion": sys.version.partition(" ")[0],
        "Os": "linux",
        "Arch": _MACHINES.get(machine, machine),
    }


def version(options: Options) -> int:
    """The client's version, and the engine's where one answers."""
    found: dict[str, Any] = {"Client": _client(), "Server": None}
    problem: CliError | None = None
    try:
        found["Server"] = call("GET", "/version")
    except CliError as error:
        problem = error
    if options["format"]:
        from tui.cli.formatting import render

        output.out(render(found, options["format"]) + "\n")
    else:
        output.out(_version_text(found))
    if problem is not None:
        raise problem
    return 0


def _version_text(found: dict[str, Any]) -> str:
    client, server = found["Client"], found["Server"]
    lines = ["Client: Dockyard"]
    lines += _aligned(
        1,
        [
            ("Version", client["Version"]),
            ("API version", client["ApiVersion"]),
            ("Python version", client["PythonVersion"]),
            ("OS/Arch", f"{client['Os']}/{client['Arch']}"),
        ],
    )
    if server is not None:
        platform = (server.get("Platform") or {}).get("Name", "")
        lines += ["", f"Server: {platform}".rstrip()]
        for component in server.get("Components") or [{"Name": "Engine", "Version": server.get("Version", "")}]:
            lines += [f" {component['Name']}:", *_aligned(2, _component(component, server))]
    return "\n".join(lines) + "\n"


def _component(component: dict[str, Any], server: dict[str, Any]) -> list[tuple[str, str]]:
    pairs = [("Version", component["Version"])]
    details = component.get("Details") or {}
    if component["Name"] != "Engine" and server.get("Components", [component])[0] is not component:
        return pairs + sorted((name, value) for name, value in details.items() if name != "Version")
    known = [
        ("API version", f"{server.get('ApiVersion')} (minimum version {server.get('MinAPIVersion')})"),
        _language(server.get("GoVersion") or ""),
        ("Git commit", server.get("GitCommit")),
        ("Built", details.get("BuildTime") or server.get("BuildTime")),
        ("OS/Arch", f"{server.get('Os')}/{server.get('Arch')}"),
        ("Kernel version", server.get("KernelVersion")),
    ]
    return pairs + [(name, value) for name, value in known if value and not value.startswith("0001-01-01")]


def _language(version: str) -> tuple[str, str]:
    """What an engine is written in: Docker's member for it is named after Go."""
    bare = version.removeprefix("python")
    return ("Go version", version) if bare == version else ("Python version", bare)


def _aligned(indent: int, pairs: list[tuple[str, str]]) -> list[str]:
    return [f"{' ' * indent}{name + ':':<{_WIDTH - indent + 1}}{value}".rstrip() for name, value in pairs]


def info(options: Options) -> int:
    """What the engine is, has and can do; its warnings go to stderr."""
    client = {"Debug": False, "Context": "default", "Plugins": [], "Warnings": None, **_client()}
    found = call("GET", "/info")
    if options["format"]:
        from tui.cli.formatting import render

        output.out(render({**found, "ClientInfo": client}, options["format"]) + "\n")
        return 0
    output.out(_info_text(found))
    for warning in found.get("Warnings") or ():
        output.err(f"{warning}\n")
    return 0


#: Lines of ``info``: label → member, in Docker's order. Those the engine does not tell are left out.
_INFO = (
    (" Containers", "Containers"), ("  Running", "ContainersRunning"), ("  Paused", "ContainersPaused"),
    ("  Stopped", "ContainersStopped"), (" Images", "Images"), (" Server Version", "ServerVersion"),
    (" Storage Driver", "Driver"), ("*", "DriverStatus"), (" Logging Driver", "LoggingDriver"),
    (" Cgroup Driver", "CgroupDriver"), (" Cgroup Version", "CgroupVersion"), ("*", "SecurityOptions"),
    (" Default Runtime", "DefaultRuntime"), (" Init Binary", "InitBinary"), (" Kernel Version", "KernelVersion"),
    (" Operating System", "OperatingSystem"), (" OSType", "OSType"), (" Architecture", "Architecture"),
    (" CPUs", "NCPU"), (" Total Memory", "MemTotal"), (" Name", "Name"), (" ID", "ID"),
    (" Docker Root Dir", "DockerRootDir"), (" Debug Mode", "Debug"), (" Experimental", "ExperimentalBuild"),
    (" Live Restore Enabled", "LiveRestoreEnabled"),
)  # fmt: skip


def _info_text(found: dict[str, Any]) -> str:
    lines = ["Client:", f" Version:    {VERSION}", "", "Server:"]
    for label, member in _INFO:
        value = found.get(member)
        if value is None or value == "":
            continue
        if member == "DriverStatus":
            lines += [f"  {name}: {text}" for name, text in value]
        elif member == "SecurityOptions":
            lines += _security(value)
        else:
            shown = bytes_size(value) if member == "MemTotal" else str(value)
            lines.append(f"{label}: {shown.lower() if isinstance(value, bool) else shown}")
    return "\n".join(lines) + "\n"


def _security(options: list[str]) -> list[str]:
    lines = [" Security Options:"] if options else []
    for option in options:
        pairs = [pair.partition("=")[::2] for pair in option.split(",")]
        for key, value in pairs:
            lines.append(f"  {value}" if key == "name" else f"   {key.capitalize()}: {value}")
    return lines


def workstation() -> int:
    """``dockyard`` alone: the workstation; without a terminal the same as text, exit code 0."""
    import site

    from tui.cli import demo

    reached = True
    try:
        connect().close()
        demo.welcome()
    except CliError as error:
        if output.is_terminal(1):
            raise
        output.err(error.message + "\n")
        reached = False
    site.main()
    if output.is_terminal(0) and output.is_terminal(1):
        from tui.app import run

        return run(socket_path())
    if reached:
        from tui.text import overview

        output.out(overview(socket_path()))
    return 0
