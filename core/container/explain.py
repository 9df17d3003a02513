"""Why a container is not running, in words a person can act on. Reads only the record, and the time."""

from __future__ import annotations

import signal
import time

from core.container import health, restart
from core.container.status import Container, Status


def explain(container: Container) -> str:
    """One sentence without a full stop; empty while it runs, was never started, or ended with code 0."""
    if container.restarting:
        return restart.tell(container, time.time_ns())
    if container.status.is_up:
        return restart.tell_running(container, time.time_ns()) or _unhealthy(container)
    if container.status in (Status.STARTING, Status.REMOVING):
        return ""
    if container.error:
        return _failed_start(container)
    if container.status is Status.CREATED:
        return ""
    if container.oom_killed:
        return _out_of_memory(container)
    if container.signal:
        return _killed(container)
    return _code(container.exit_code)


def _unhealthy(container: Container) -> str:
    return f"unhealthy: {health.tell(container)}" if container.health == health.UNHEALTHY else ""


def _failed_start(container: Container) -> str:
    step = f" (step {container.error_step})" if container.error_step else ""
    return f"{container.error}{step}"


def _out_of_memory(container: Container) -> str:
    limit = f", its limit was {size(container.memory_limit)}" if container.memory_limit else ""
    if container.signal == signal.SIGKILL or container.exit_code == 137:
        return f"killed by the kernel: out of memory{limit}"
    return f"a process in it was killed by the kernel for memory{limit}; exit code {container.exit_code}"


def _killed(container: Container) -> str:
    name = signal_name(container.signal)
    if container.stopped_by in _ASKING and container.signal == signal.SIGKILL:
        advice = f"; {_advice(container)}" if container.deaf else ""
        return f"{_ASKING[container.stopped_by]}: it did not end when asked, killed by {name} after the timeout{advice}"
    if container.stopped_by == "unhealthy":
        return f"ended as unhealthy: {health.tell(container)}"
    if container.stopped_by:
        return f"ended by {container.stopped_by}: {name}"
    meaning = _SIGNAL_MEANINGS.get(container.signal, "")
    return f"killed by {name}{': ' + meaning if meaning else ''}"


#: The verbs that ask first → how they are told.
_ASKING = {"stop": "stopped", "restart": "restarted", "unhealthy": "ended as unhealthy"}


def _advice(container: Container) -> str:
    """Pid 1 had no handler: the kernel gives it no such signal."""
    asked = container.config.get("StopSignal") or "SIGTERM"
    ways = "give --stop-signal one that it handles"
    ways = ways if container.host_config.get("Init") else f"run it with --init, or {ways}"
    return f"its first process ignores {asked}: {ways}"


_SIGNAL_MEANINGS = {
    int(signal.SIGSEGV): "it touched memory that is not its own",
    int(signal.SIGABRT): "it aborted itself",
    int(signal.SIGBUS): "bad memory access, or a mapped file became shorter",
    int(signal.SIGILL): "illegal instruction: was it built for another processor?",
    int(signal.SIGFPE): "arithmetic error",
    int(signal.SIGSYS): "a forbidden system call",
    int(signal.SIGKILL): "from outside the engine",
}


def _code(code: int) -> str:
    if code == 0:
        return ""
    if code == 125:
        return "exit code 125: a tool in it reported its own failure"
    if code == 126:
        return "exit code 126: a command was found but could not be executed"
    if code == 127:
        return "exit code 127: a command was not found"
    if code == 255:
        return "exit code 255: it failed without saying how"
    if 128 < code < 128 + 65:
        return f"exit code {code}: a process in it ended by {signal_name(code - 128)}"
    return f"exit code {code}"


def signal_name(number: int) -> str:
    """``SIGTERM`` for 15; ``signal 40`` for one without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def size(count: int) -> str:
    """``64 MiB``: bytes in powers of 1024, at most one decimal."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            return f"{value:.1f}".rstrip("0").rstrip(".") + f" {unit}"
        value /= 1024
    return str(count)
