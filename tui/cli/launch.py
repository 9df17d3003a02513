"""Start the engine: in the foreground (``serve``), or in the background when a client finds none.

Of two clients at once one starts it and the other waits for the lock, then finds it running. Readiness is the
engine's own word on a pipe, never a guess by time. Where a systemd unit is installed the engine is started by that:
one beside it would keep the folder locked, and the service could not start again.
"""

from __future__ import annotations

import posix
import sys

from tui.cli.engine import DEFAULT_SOCKET
from tui.cli.errors import CliError, Unreachable
from tui.cli.transport import Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from tui.cli.flags import Options

ROOT = "/var/lib/dockyard"
RUN = DEFAULT_SOCKET.rpartition("/")[0]
UNIT = "dockyard.service"
_UNIT_FOLDERS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
)
_READY_SECONDS = 60
#: Whether this process has started the engine.
started = False
_STATEMENT = "import sys; sys.path.insert(0, {0!r}); from core.__main__ import main; sys.exit(main(sys.argv[1:]))"


def command(arguments: list[str]) -> list[str]:
    """The argument vector of a daemon, isolated from the caller's environment and folder."""
    root = __file__.rpartition("/tui/")[0] or "/"
    return [sys.executable, "-I", "-c", _STATEMENT.format(root), *arguments]


def serve(options: Options) -> NoReturn:
    """``dockyard serve``: become the daemon."""
    arguments: list[str] = []
    for name in ("root", "run", "socket", "ready-fd", "log-level", "ip", "config"):
        if options.given(name):
            arguments += [f"--{name}", str(options[name])]
    argv = command(arguments)
    posix.execv(argv[0], argv)
    raise AssertionError("execv returned")


def start(root: str = ROOT, run: str = RUN) -> None:
    """Start the engine of these folders and return when it listens. Raises CliError with its own words otherwise."""
    path = run + "/dockyard.sock"
    if posix.geteuid() != 0:
        raise CliError(
            f"the engine is not running (no answer at {path}), and only root can start it\n"
            "Start it with: sudo dockyard ps"
        )
    import fcntl

    global started
    for folder, mode in ((run, 0o711), (root, 0o700)):
        try:
            posix.mkdir(folder, mode)
        except FileExistsError:
            pass
    lock = posix.open(run + "/start.lock", posix.O_RDWR | posix.O_CREAT | posix.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _answers(path):
            if root == ROOT and run == RUN and has_unit():
                _start_unit()
            else:
                _spawn_and_wait(root, run)
            started = True
    finally:
        posix.close(lock)


def has_unit() -> bool:
    """Whether systemd is pid 1 (sd_booted(3)) and knows the engine as a service."""
    if not _exists("/run/systemd/system"):
        return False
    return any(_exists(f"{folder}/{UNIT}") for folder in _UNIT_FOLDERS)


def _exists(path: str) -> bool:
    try:
        posix.lstat(path)  # a masked unit is a link to /dev/null: systemctl says so
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _start_unit() -> None:
    """Returns when the service has told that it is ready."""
    import subprocess

    try:
        done = subprocess.run(
            ["systemctl", "start", UNIT], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise CliError(f"the engine is the service {UNIT}, and systemctl is not to be found on the PATH") from None
    if done.returncode:
        said = done.stderr.strip() or f"systemctl ended with {done.returncode}"
        raise CliError(f"the engine did not start: {said}\nIts log: journalctl -u {UNIT}")


def _answers(path: str) -> bool:
    try:
        Connection(path).close()
    except Unreachable as error:
        if not error.missing:
            raise
        return False
    return True


def _spawn_and_wait(root: str, run: str) -> None:
    log_path = root + "/daemon.log"
    log = posix.open(log_path, posix.O_WRONLY | posix.O_CREAT | posix.O_APPEND | posix.O_CLOEXEC, 0o600)
    before = posix.fstat(log).st_size
    ready, told = posix.pipe()
    argv = command(["--root", root, "--run", run, "--ready-fd", str(told)])
    if posix.fork() == 0:
        _become_daemon(argv, log, told)
    posix.close(told)
    posix.close(log)
    words = _read_line(ready)
    posix.close(ready)
    if words == "ready" or _answers(run + "/dockyard.sock"):
        return  # also when an engine started by other means was faster: ours gave way
    said = words.removeprefix("error: ") or _last_words(log_path, before) or "it ended before it was ready"
    raise CliError(f"the engine did not start: {said}\nIts log is {log_path}")


def _last_words(path: str, before: int) -> str:
    """The last line that the engine has added to its log: what it died of."""
    with open(path, "rb") as log:
        log.seek(max(before, posix.fstat(log.fileno()).st_size - 4096))
        lines = [line for line in log.read().decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


def _become_daemon(argv: list[str], log: int, told: int) -> NoReturn:
    """In the child: a session of its own, stdio on the log, no folder held."""
    try:
        posix.setsid()
        null = posix.open("/dev/null", posix.O_RDWR)
        for target, source in ((0, null), (1, log), (2, log)):
            posix.dup2(source, target)
        posix.set_inheritable(told, True)
        posix.chdir("/")
        posix.umask(0o022)
        posix.execv(argv[0], argv)
    finally:
        posix._exit(127)


def _read_line(fd: int) -> str:
    """The first line on ``fd``, "" when the other side closes it or says nothing for a minute."""
    from select import POLLIN, poll

    waiting = poll()
    waiting.register(fd, POLLIN)
    data = b""
    while b"\n" not in data and waiting.poll(_READY_SECONDS * 1000):
        piece = posix.read(fd, 4096)
        if not piece:
            break
        data += piece
    return data.partition(b"\n")[0].decode("utf-8", "replace")
