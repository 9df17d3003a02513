"""The messages between daemon, zygote and monitors: typed, versioned, one JSON object a packet.

Transport: AF_UNIX SOCK_SEQPACKET, so a message is never cut or joined; file descriptors travel beside it
(SCM_RIGHTS, unix(7)). A packet is at most ``MAX_PACKET`` bytes: what may be larger (specs, environments)
lies in the bundle and only its path is sent.

Who says what::

    daemon → zygote    SpawnMonitor (+fd: one end of a socket pair)          zygote → daemon   Failed
    zygote → daemon    Ready, once, before anything else
    daemon → monitor   Start Signal Resize Attach(+fd) Exec(+fd) CloseStdin            (each carries ``seq``)
                       Listen(+fds) Unlisten Retarget
    monitor → daemon   Reply (to a ``seq``)  and events:
                       Created Started StartFailed Exited ExecStarted ExecFailed ExecExited Oom Warned

The socket pair given at birth is the first connection of the daemon to the monitor. Until ``Start`` has
arrived it is also the *birth lease*: its end of file means that the daemon is gone, and the monitor kills
what it made and leaves. A later daemon connects to ``<run_dir>/monitor.sock`` and gets first a ``State``,
then the same events. Events that nobody was connected for are not lost: the end of a container is in
``exit.json``, and ``State`` lists the execs.

This module is part of the zygote's closure.
"""

from __future__ import annotations

import array
import json
import os
import socket
from enum import StrEnum
from typing import Any, NamedTuple, TypedDict

from core.linux.mounts import RootfsMount

VERSION = 1
MAX_PACKET = 128 * 1024
#: SCM_MAX_FD of the kernel is 253 (unix(7)).
MAX_FDS = 200
# Plain numbers: socket's own are enum members, and each ``|`` of two runs a page of Python.
_CUT_SHORT = int(socket.MSG_TRUNC | socket.MSG_CTRUNC)
_SEND_FLAGS = int(socket.MSG_NOSIGNAL)
_RECEIVE_FLAGS = int(socket.MSG_CMSG_CLOEXEC)
_SOL_SOCKET = int(socket.SOL_SOCKET)
_SCM_RIGHTS = int(socket.SCM_RIGHTS)


class Step(StrEnum):
    """The steps of a start in their order, from the monitor's own to execve; a failed start names one of them."""

    LOG = "log"
    CGROUP = "cgroup"
    NAMESPACES = "namespaces"
    NETWORK = "network"
    ROOTFS = "rootfs"
    MOUNTS = "mounts"
    DEVICES = "devices"
    PIVOT = "pivot"
    MASK = "mask"
    SYSCTL = "sysctl"
    HOSTNAME = "hostname"
    CONSOLE = "console"
    USER = "user"
    CWD = "cwd"
    RLIMITS = "rlimits"
    SECCOMP = "seccomp"
    CAPABILITIES = "capabilities"
    EXEC = "exec"


# --- documents in the bundle -----------------------------------------------------------------------


class LogConfig(TypedDict):
    """Where a container's output goes; sizes in bytes. ``max_files`` counts the current file too."""

    folder: str
    max_size: int
    max_files: int


class MonitorConfig(TypedDict):
    """``dockyard.json`` beside ``config.json`` in the bundle: what the OCI spec has no word for."""

    id: str
    name: str
    run_dir: str  # <run>/c/<12 hex>: monitor.sock, exit.json; also the bundle
    rootfs: list[RootfsMount]
    scratch_size: int  # bytes of the tmpfs for ephemeral uppers, 0: none needed
    log: LogConfig | None
    tty: bool
    open_stdin: bool
    stdin_once: bool
    console_size: list[int]  # [rows, columns], [0, 0] when unknown
    init: bool  # --init: our reaper is pid 1
    user: str  # "", "name", "uid", "name:group" …: looked up in the container's own /etc/passwd
    set_home: bool  # HOME is not in env: set it from /etc/passwd
    cgroup: dict[str, Any]  # core.linux.cgroups.Placement as JSON
    seccomp: str  # path of the compiled filter, "" for none
    stop_signal: int
    resolver: bool  # the monitor answers for names at 127.0.0.11, from dns.json in the bundle


# --- messages --------------------------------------------------------------------------------------


class Ready(NamedTuple):
    """The zygote takes requests; ``warning`` says what protection it lacks, "" for none."""

    pid: int
    warning: str


class SpawnMonitor(NamedTuple):
    """Fork a monitor for the bundle. One fd: the monitor's end of its first connection."""

    seq: int
    bundle: str


class Start(NamedTuple):
    """Let init go on: mounts, pivot, privileges, execve. Ends the birth lease."""

    seq: int


class Signal(NamedTuple):
    """Send a signal to the container's pid 1, to one exec, or with ``all`` to every process of its cgroup."""

    seq: int
    signal: int
    exec_id: str = ""
    all: bool = False


class Resize(NamedTuple):
    """New size of the terminal of the container or of one exec."""

    seq: int
    rows: int
    columns: int
    exec_id: str = ""


class Attach(NamedTuple):
    """Join the container's streams. One fd: the client's own stream socket; the monitor owns it from now on.

    Without a terminal output is framed as Docker's stdcopy (8-byte header); with one it is raw. ``preread``
    is base64 of bytes that were read from the socket before it was handed over. ``detach_keys`` are raw bytes in
    base64, empty: never detach.
    """

    seq: int
    stdin: bool
    stdout: bool
    stderr: bool
    detach_keys: str = ""
    preread: str = ""


class Exec(NamedTuple):
    """Run another process in the container. ``path`` is a JSON file with an :class:`ExecConfig`.

    One fd: the client's stream socket (none when detached).
    """

    seq: int
    exec_id: str
    path: str


class ExecConfig(TypedDict):
    """One exec, written by the daemon to ``<run_dir>/exec-<id>.json``."""

    exec_id: str
    process: dict[str, Any]  # oci.Process
    user: str
    set_home: bool
    tty: bool
    stdin: bool
    stdout: bool
    stderr: bool
    console_size: list[int]
    detach_keys: str
    preread: str
    seccomp: str


class CloseStdin(NamedTuple):
    """Close the container's standard input."""

    seq: int


class Listen(NamedTuple):
    """Keep sockets that hold published ports, and serve what still arrives there. One fd for each of ``ports``.

    Each is [key, protocol, address, port]: a name for it, ``tcp`` or ``udp``, and where the container listens.
    """

    seq: int
    ports: list[list[Any]]


class Unlisten(NamedTuple):
    """Close the sockets of these keys and end what goes through them; unknown keys are no error."""

    seq: int
    keys: list[Any]


class Retarget(NamedTuple):
    """The container has another address: ``ports`` as in :class:`Listen`, without fds."""

    seq: int
    ports: list[list[Any]]


class Reply(NamedTuple):
    """The answer to a request; ``error`` is empty when it worked, else ``kind`` is that of core.errors."""

    seq: int
    kind: str = ""
    error: str = ""


class State(NamedTuple):
    """First message on a connection to a living monitor: what is true now.

    ``phase`` is ``created``, ``starting`` (after Start, before execve), ``running`` or ``exited``. ``execs`` lists
    [exec_id, pid, running, exit_code].
    """

    phase: str
    monitor_pid: int
    pid: int
    start_time: int
    execs: list[list[Any]]


class Created(NamedTuple):
    """Init exists and waits. ``start_time`` is field 22 of /proc/PID/stat: with pid, an identity (proc(5))."""

    monitor_pid: int
    pid: int
    start_time: int


class Warned(NamedTuple):
    """Something was adjusted, not refused (a limit clamped, a missing kernel feature)."""

    message: str


class Started(NamedTuple):
    """execve succeeded. ``at`` is nanoseconds since the epoch."""

    pid: int
    at: int


class StartFailed(NamedTuple):
    """Init did not reach the program. ``exit_code`` 127, 126 or 128."""

    step: str
    path: str
    message: str
    errno: int
    exit_code: int


class Exited(NamedTuple):
    """The container's end, also the content of ``exit.json``. ``signal`` 0: it returned by itself.

    ``exit_code`` is Docker's: 128 + signal when killed. ``oom_kills`` counts the kernel's kills in its cgroup
    in this run, ``memory_limit`` is in bytes (0: none). ``at`` nanoseconds since the epoch.
    """

    exit_code: int
    signal: int
    core_dumped: bool
    oom_kills: int
    memory_limit: int
    at: int


class ExecStarted(NamedTuple):
    """The exec's program runs."""

    exec_id: str
    pid: int


class ExecFailed(NamedTuple):
    """The exec did not reach its program."""

    exec_id: str
    step: str
    path: str
    message: str
    errno: int
    exit_code: int


class ExecExited(NamedTuple):
    """The exec's end."""

    exec_id: str
    exit_code: int


class Oom(NamedTuple):
    """The kernel killed something in the container for memory."""

    oom_kills: int


class Failed(NamedTuple):
    """The zygote could not fork."""

    seq: int
    error: str


Message = (
    Ready | SpawnMonitor | Start | Signal | Resize | Attach | Exec | CloseStdin | Listen | Unlisten | Retarget
    | Reply | State | Created | Warned | Started | StartFailed | Exited | ExecStarted | ExecFailed | ExecExited | Oom
    | Failed
)  # fmt: skip

_TYPES: dict[str, Any] = {
    cls.__name__: cls
    for cls in (
        Ready, SpawnMonitor, Start, Signal, Resize, Attach, Exec, CloseStdin, Listen, Unlisten, Retarget, Reply,
        State, Created, Warned, Started, StartFailed, Exited, ExecStarted, ExecFailed, ExecExited, Oom, Failed,
    )
}  # fmt: skip


#: A field's annotation → its JSON type. ``typing.NamedTuple`` wraps the text of annotations in ForwardRef.
_JSON_TYPES: dict[Any, type] = {"int": int, "str": str, "bool": bool, "list[list[Any]]": list, "list[Any]": list}
_FIELDS = {
    name: tuple(_JSON_TYPES[getattr(kind, "__forward_arg__", kind)] for kind in cls.__annotations__.values())
    for name, cls in _TYPES.items()
}


_raw_decode = json.JSONDecoder().raw_decode
_quote = json.JSONEncoder().encode


def to_json(value: Any) -> str:
    """``value``, made of lists, strings, numbers and truth values, as JSON.

    This and :func:`from_json` go straight to the C parts of the json module. What its front door runs of Python is
    memory that each monitor copies from the zygote: 80 KiB of each idle container.
    """
    kind = type(value)
    if kind is str:
        return _quote(value)
    if kind is bool:
        return "true" if value else "false"
    if kind is list or kind is tuple:
        return "[" + ",".join([to_json(item) for item in value]) + "]"
    return str(int(value))


def from_json(data: bytes) -> Any:
    """The document in ``data``. Raises ValueError (RecursionError when it is nested too deep)."""
    text = data.decode()
    value, end = _raw_decode(text)
    if end != len(text):
        raise ValueError("something follows the document")
    return value


class ProtocolError(Exception):
    """The peer sent what this version does not know; the connection is of no more use."""


def encode(message: Message) -> bytes:
    """``message`` as one packet."""
    return to_json([type(message).__name__, VERSION, *message]).encode()


def decode(packet: bytes) -> Message:
    """The message in ``packet``. Raises :class:`ProtocolError` for anything that is not one, in name or in types."""
    try:
        name, version, *fields = from_json(packet)
        if version != VERSION:
            raise ProtocolError(f"protocol version {version}, this is {VERSION}")
        message: Message = _TYPES[name](*fields)
        for value, kind in zip(fields, _FIELDS[name], strict=False):  # what is missing has a default
            if type(value) is not kind:
                raise ValueError(name)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ProtocolError(f"not a message: {packet[:80]!r}") from error
    return message


def send(sock: socket.socket, message: Message, fds: tuple[int, ...] = ()) -> None:
    """Send one message with its file descriptors (they stay open here)."""
    packet = encode(message)
    ancillary = [(_SOL_SOCKET, _SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([packet], ancillary, _SEND_FLAGS)


def receive(sock: socket.socket) -> tuple[Message, list[int]] | None:
    """The next message and the fds that came with it (close-on-exec), None at the end of the connection.

    BlockingIOError when the socket is non-blocking and there is none now; ProtocolError closes the fds.
    """
    packet, fds, flags = receive_packet(sock, MAX_PACKET, MAX_FDS)
    try:
        if not packet:
            close_all(fds)
            return None
        if flags & _CUT_SHORT:
            raise ProtocolError("packet cut short")
        return decode(packet), fds
    except ProtocolError:
        close_all(fds)
        raise


def receive_packet(sock: socket.socket, size: int, max_fds: int) -> tuple[bytes, list[int], int]:
    """(data, fds, flags) of one packet; the fds are close-on-exec.

    Not ``socket.recv_fds``: it forgets the flags it is given (seen in Python 3.11), so its fds would be inherited.
    """
    fds = array.array("i")
    data, ancillary, flags, _ = sock.recvmsg(size, socket.CMSG_SPACE(max_fds * fds.itemsize), _RECEIVE_FLAGS)
    for level, kind, payload in ancillary:
        if level == _SOL_SOCKET and kind == _SCM_RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    return data, list(fds), flags


def close_all(fds: list[int]) -> None:
    """Close file descriptors that came with a message and are not wanted."""
    for fd in fds:
        os.close(fd)
