"""The last steps of every process in a container, pid 1 and execs alike: from inside its namespaces to execve.

The texts of errors are Docker's; people and programs look for them.
"""

from __future__ import annotations

import errno
import os
import signal
import stat
from typing import NamedTuple, NoReturn

from core import oci
from core.errors import StartFailed
from core.linux import console, elf, privileges, rootfs, syscalls, userdb
from core.runtime.handshake import Report

NOT_FOUND = 127
NOT_EXECUTABLE = 126


class Stdio(NamedTuple):
    """A child's ends of its pipes, -1 for /dev/null. ``tty``: none of them, a terminal instead."""

    stdin: int
    stdout: int
    stderr: int
    tty: bool
    rows: int = 0
    columns: int = 0


class Program(NamedTuple):
    """What to become. ``user`` and ``set_home`` as in MonitorConfig; ``seccomp`` the compiled filter, b"" for none."""

    process: oci.Process
    user: str
    set_home: bool
    stdio: Stdio
    seccomp: bytes


def look_up_user(program: Program) -> Program:
    """``program`` with the numbers of its user, from the container's own /etc/passwd, and HOME when it is not set."""
    process = program.process
    identity = userdb.resolve(program.user)
    extra = process["user"].get("additionalGids", [])
    user = process["user"].copy()
    user["uid"], user["gid"] = identity.uid, identity.gid
    user["additionalGids"] = list(dict.fromkeys([*identity.groups, *extra]))
    changed = process.copy()
    changed["user"] = user
    if program.set_home:
        changed["env"] = [*process["env"], f"HOME={identity.home}"]
    return program._replace(process=changed)


#: What Python, or the zygote, does not leave as it was. The zygote makes all others default when it starts.
CHANGED_SIGNALS = tuple(
    int(number)
    for number in (
        signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD,
    )
)  # fmt: skip


def default_signals() -> None:
    """Every signal as a new program expects it; what is ignored would stay so through execve.

    By the system call itself: Python's own wrapper turns each number into an enum member, which costs more time and
    memory than all the rest.
    """
    for number in CHANGED_SIGNALS:
        syscalls.default_signal(number)


def name_process(name: str) -> None:
    """What ps and top show of a process of ours (proc(5), ``comm``); at most 15 bytes. Before pivot_root."""
    fd = os.open("/proc/self/comm", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, name.encode())
    finally:
        os.close(fd)


def open_null() -> int:
    """The container's own /dev/null, looked at first: the host's would hand over the host's inode, to chmod say."""
    try:
        fd = os.open("/dev/null", os.O_RDWR | os.O_NOFOLLOW | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        found = os.fstat(fd)
    except OSError as error:
        raise StartFailed(f"/dev/null: {error.strerror}", step="console", path="/dev/null") from error
    if not stat.S_ISCHR(found.st_mode) or found.st_rdev != os.makedev(1, 3):
        raise StartFailed("/dev/null is not the null device", step="console", path="/dev/null")
    os.set_blocking(fd, True)
    return fd


def open_terminal(stdio: Stdio, report: Report, *, bind: bool) -> int:
    """The slave of a new terminal, its master sent to the monitor; -1 without a terminal."""
    if not stdio.tty:
        return -1
    master, slave = console.open_console(stdio.rows, stdio.columns)
    if bind:
        console.bind_console(slave)
    report.console(master)
    os.close(master)
    return slave


def connect(stdio: Stdio, slave: int, uid: int) -> None:
    """A new session with fds 0, 1 and 2, that belong to ``uid``: it may open /dev/stdout again."""
    os.setsid()
    if slave >= 0:
        console.take_terminal(slave, uid)
    else:
        connect_pipes(stdio, uid)


def connect_pipes(stdio: Stdio, uid: int) -> None:
    """The pipes, or /dev/null, as fds 0, 1 and 2."""
    null = -1
    for fd, number in ((stdio.stdin, 0), (stdio.stdout, 1), (stdio.stderr, 2)):
        if fd < 0 and null < 0:
            null = open_null()
        os.dup2(null if fd < 0 else fd, number)
        if fd >= 0:
            os.fchown(number, uid, -1)
    if null >= 0:
        os.close(null)


def execute(program: Program, report: Report) -> NoReturn:
    """Rights away, then execve. Raises StartFailed; cwd, limits and streams are in place already."""
    syscalls.close_range(3, flags=syscalls.CLOSE_RANGE_CLOEXEC)
    report.warn(privileges.become(program.process, program.seccomp))
    launch(program.process, report)


def launch(process: oci.Process, report: Report) -> NoReturn:
    """execve, by a process that has no more rights than it grants. Raises StartFailed."""
    environment = split_environment(process["env"])
    args = process["args"]
    if not args:
        raise StartFailed("no command specified", step="exec", exit_code=NOT_FOUND)
    path = find(args[0], environment.get("PATH", ""))
    report.ready()
    try:
        os.execve(path, args, environment)
    except OSError as error:
        raise explain(path, error) from error
    except ValueError as error:
        raise StartFailed(f"exec {path!r}: {error}", step="exec", exit_code=NOT_EXECUTABLE) from error


def split_environment(pairs: list[str]) -> dict[str, str]:
    """Exactly what was given; of a name that comes twice the last value, what has no name is left out."""
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if name and equals:
            found[name] = value
    return found


# --- the program's file ------------------------------------------------------------------------------


def find(name: str, search: str) -> str:
    """The path of the program ``name``, looked up in ``search`` when it has no slash (os/exec's LookPath)."""
    if "/" in name:
        try:
            _check(name)
        except FileNotFoundError as error:
            text = f'exec: "{name}": stat {name}: no such file or directory'
            raise StartFailed(text, step="exec", path=name, exit_code=NOT_FOUND) from error
        except OSError as error:
            text = f'exec: "{name}": {_strerror(error)}'
            raise StartFailed(text, step="exec", path=name, exit_code=NOT_EXECUTABLE) from error
        return name
    refused: OSError | None = None
    for folder in search.split(":"):
        if not folder.startswith("/"):
            continue  # the working directory may be anybody's
        path = f"{folder.rstrip('/')}/{name}"
        try:
            _check(path)
            return path
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            continue
        except OSError as error:
            refused = error
    if refused is not None and name:
        text = f'exec: "{name}": {_strerror(refused)}'
        raise StartFailed(text, step="exec", path=name, exit_code=NOT_EXECUTABLE) from refused
    text = f'exec: "{name}": executable file not found in $PATH'
    raise StartFailed(text, step="exec", path=name, exit_code=NOT_FOUND)


def _check(path: str) -> None:
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not mode & 0o111 or not os.access(path, os.X_OK, effective_ids=True):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


def _strerror(error: OSError) -> str:
    return (error.strerror or "").lower()


def explain(path: str, error: OSError) -> StartFailed:
    """Why execve refused a file that was there."""
    text, hint, code = f"exec {path}: {_strerror(error)}", "", NOT_EXECUTABLE
    try:
        found = elf.inspect(path)
    except OSError:
        found = elf.Program("other")
    if error.errno == errno.ENOENT:
        code = NOT_FOUND
        hint = "its loader or a library of it is missing in the image"
        if found.kind == "script":
            hint = f"the interpreter {found.interpreter} of this script is missing in the image"
    elif error.errno == errno.ENOEXEC:
        text = f"exec {path}: exec format error"
        if found.kind == "elf":
            hint = f"the program is for {found.machine}, this machine is {elf.host_machine()}"
        elif found.kind == "empty":
            hint = "the file is empty"
        else:
            hint = "it is neither a program nor a script that begins with #!"
    elif error.errno == errno.EACCES:
        hint = "the file or a folder above it is not executable for this user, or its file system is mounted noexec"
    elif error.errno == errno.E2BIG:
        hint = "arguments and environment together are too long"
    return StartFailed(text, step="exec", path=path, exit_code=code, hint=hint)


def enter(program: Program, report: Report, *, create_cwd: bool) -> Program:
    """User, working directory and limits of a process that stands in the container's root."""
    program = look_up_user(program)
    rootfs.enter_cwd(program.process["cwd"], create=create_cwd)
    report.warn(privileges.apply_rlimits(program.process.get("rlimits", [])))
    os.umask(0o022)
    return program
