"""Why a container ended, from what any Docker-compatible engine tells.

Our own engine sends a better sentence (``DockyardExplain``); this module is for the others, and for the first
picture. Pure, and light: the first picture imports it.
"""

from __future__ import annotations

#: Signal numbers of Linux (x86 and arm agree on these); :mod:`signal` is not imported for its cost.
SIGNALS = {
    1: "SIGHUP",
    2: "SIGINT",
    3: "SIGQUIT",
    4: "SIGILL",
    5: "SIGTRAP",
    6: "SIGABRT",
    7: "SIGBUS",
    8: "SIGFPE",
    9: "SIGKILL",
    10: "SIGUSR1",
    11: "SIGSEGV",
    12: "SIGUSR2",
    13: "SIGPIPE",
    14: "SIGALRM",
    15: "SIGTERM",
    24: "SIGXCPU",
    25: "SIGXFSZ",
    31: "SIGSYS",
}

_MEANING = {
    "SIGHUP": "ended by SIGHUP: its terminal went away",
    "SIGINT": "interrupted by SIGINT (ctrl-c)",
    "SIGQUIT": "ended by SIGQUIT (ctrl-\\)",
    "SIGILL": "crashed with SIGILL: an instruction this processor does not have",
    "SIGABRT": "aborted itself (SIGABRT): a failed assertion or a corrupt heap",
    "SIGBUS": "crashed with SIGBUS: memory or a mapped file was not there",
    "SIGFPE": "crashed with SIGFPE: a division by zero or an overflow",
    "SIGKILL": "killed by SIGKILL: a kill, a stop that ran out of time, or the host out of memory",
    "SIGSEGV": "crashed with SIGSEGV: access to memory that is not its own",
    "SIGPIPE": "ended by SIGPIPE: nobody read its output",
    "SIGTERM": "stopped by SIGTERM",
    "SIGXCPU": "ended by SIGXCPU: the limit of processor time was reached",
    "SIGXFSZ": "ended by SIGXFSZ: the limit of file size was reached",
    "SIGSYS": "ended by SIGSYS: a system call the seccomp filter forbids",
}

_CODES = {
    0: "finished without an error",
    1: "exit 1: the program reported an error; its log says which",
    2: "exit 2: the program refused its arguments, or a shell found an error",
    125: "exit 125: the engine itself failed to run it",
    126: "exit 126: the command was found but cannot be executed (permission, or a folder)",
    127: "exit 127: command not found in the image (name, PATH, or a missing loader)",
    128: "exit 128: it failed to start",
    255: "exit 255: the program said so, or its monitor was lost and the true code is unknown",
}

_NOISE = (
    "failed to create shim task: ",
    "failed to create task for container: ",
    "OCI runtime create failed: ",
    "runc create failed: ",
    "crun: ",
    "unable to start container process: ",
    "error during container init: ",
)


def size(count: float) -> str:
    """Bytes for a person, at most five characters for less than 1000 TiB: ``12M``, ``1.5G``."""
    if count < 1024:
        return f"{int(count)}B"
    for unit in "KMGTPE":
        count /= 1024
        if count < 9.95 and unit != "K":
            return f"{count:.1f}{unit}"
        if count < 1023.5 or unit == "E":
            break
    return f"{count:.0f}{unit}"


def trim_error(text: str) -> str:
    """An engine's start error without the layers it passed through on its way up."""
    for noise in _NOISE:
        text = text.replace(noise, "")
    return text.removesuffix(": unknown").strip()


def explain(exit_code: int, *, oom_killed: bool = False, error: str = "", memory_limit: int = 0) -> str:
    """One sentence, the most telling words first (a narrow column cuts its end).

    ``error`` is Docker's ``State.Error``, ``memory_limit`` ``HostConfig.Memory`` in bytes (0: none).
    """
    if oom_killed:
        limit = f" of {size(memory_limit)}" if memory_limit else ""
        return f"out of memory: the limit{limit} was reached and the kernel killed it"
    if error:
        return f"failed to start: {trim_error(error)}"
    if exit_code in _CODES:
        return _CODES[exit_code]
    name = SIGNALS.get(exit_code - 128, "")
    if name:
        return _MEANING.get(name, f"ended by {name}") + f" ({exit_code})"
    return f"exit {exit_code}: the program's own code; its log says why"
