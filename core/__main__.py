"""The daemon: ``python -I -m core`` or ``dockyard serve``.

Order matters. The lock on the root folder and the socket come first, so that of two daemons started at once one
gives way before it has done anything; the zygote is started before anything heavy is imported; clients that connect
early wait in the socket's backlog until the records are in order.
"""

from __future__ import annotations

import argparse
import asyncio
import grp
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Sequence

from core.errors import Conflict, DockyardError, Forbidden, InvalidArgument

SOCKET_GROUP = "dockyard"
#: unix(7) has 107 bytes for a path; the socket is bound under a name with the process's number behind it.
LONGEST_SOCKET = 107 - len(".4194304")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line of ``dockyard serve``."""
    parser = argparse.ArgumentParser(
        prog="dockyard serve", description="Run an engine in the foreground.", allow_abbrev=False
    )
    parser.add_argument("--root", default="/var/lib/dockyard", help="folder of images, containers and the database")
    parser.add_argument("--run", default="/run/dockyard", help="folder of what lives as long as the machine runs")
    parser.add_argument("--socket", default="", help="path of the API's socket (default: RUN/dockyard.sock)")
    parser.add_argument(
        "--ip",
        default="",
        metavar="ADDRESS",
        help="where ports are published that name no address (default: everywhere)",
    )
    parser.add_argument(
        "--config", default="", metavar="FILE", help="registries' mirrors and certificates (/etc/dockyard/engine.toml)"
    )
    parser.add_argument("--ready-fd", type=int, default=-1, help=argparse.SUPPRESS)
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a daemon until SIGTERM or SIGINT. Returns the exit code."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(
        level=options.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    try:
        if os.geteuid() != 0:
            raise Forbidden("the engine needs root", hint="start it with sudo")
        _allow_many_files()
        asyncio.run(serve(options))
    except DockyardError as error:
        _tell(options.ready_fd, f"error: {error}\n")
        print(f"dockyard: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        text = f"cannot start: {error.strerror}" + (f": {error.filename}" if error.filename else "")
        _tell(options.ready_fd, f"error: {text}\n")
        print(f"dockyard: {text}", file=sys.stderr)
        return 1
    return 0


def _allow_many_files() -> None:
    """A monitor's socket, a client, a published port: each is a file, here and in the processes made from here."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def serve(options: argparse.Namespace) -> None:
    """Everything from the socket to the last request."""
    from core.engine import Configuration, Engine
    from core.linux import placement

    service = os.environ.pop("NOTIFY_SOCKET", "")  # it is this process's, not the zygote's
    for flag in ("root", "run"):
        if not getattr(options, flag):
            raise InvalidArgument(f"--{flag} is empty", hint="give a folder, or leave the option out")
    _check_address(options.ip)
    root, run = os.path.abspath(options.root), os.path.abspath(options.run)
    configuration = Configuration(root, run, options.socket, options.ip, options.config)
    os.makedirs(configuration.run, mode=0o711, exist_ok=True)
    os.makedirs(os.path.join(configuration.run, "c"), mode=0o700, exist_ok=True)
    where = placement.prepare(configuration.name)
    async with Engine(configuration, where) as engine:
        listener = listen(configuration.socket_path)
        from core.api.server import serve as serve_api

        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, engine.networks.rules.reconcile)
        async with serve_api(engine, listener):
            for warning in engine.warnings:
                logging.getLogger("dockyard").warning("%s", warning)
            _tell(options.ready_fd, "ready\n")
            notify(service, "READY=1")
            await stop.wait()
            notify(service, "STOPPING=1")
        os.unlink(configuration.socket_path)


def _check_address(text: str) -> None:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text or "0.0.0.0")
        except OSError:
            continue
        return
    raise InvalidArgument(f"--ip {text}: not an IP address", hint="give an address of this host, as 127.0.0.1")


def listen(path: str) -> socket.socket:
    """The API's socket, mode 0660, group ``dockyard`` where that group exists.

    A socket file that nobody listens on is left over from a dead daemon and replaced; a living one is a Conflict.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    if len(os.fsencode(path)) > LONGEST_SOCKET:
        text = f"socket path {path} is longer than {LONGEST_SOCKET} bytes"
        raise InvalidArgument(text, hint="choose a shorter --run or --socket")
    try:
        sock.connect(path)
    except (FileNotFoundError, ConnectionRefusedError):
        pass
    else:
        raise Conflict(f"another engine answers on {path}", hint="stop it, or choose another --socket")
    sock.close()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    temporary = f"{path}.{os.getpid()}"
    old = os.umask(0o117)
    try:
        sock.bind(temporary)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error  # bind(2) names no file
    finally:
        os.umask(old)
    try:
        _give_to_group(temporary)
        sock.listen(512)
        os.rename(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise
    return sock


def _give_to_group(path: str) -> None:
    try:
        os.chown(path, 0, grp.getgrnam(SOCKET_GROUP).gr_gid)
    except KeyError:
        logging.getLogger("dockyard").debug("no group %s: the socket is root's", SOCKET_GROUP)


def _tell(fd: int, text: str) -> None:
    """Tell the client that started this daemon how it went."""
    if fd >= 0:
        try:
            os.write(fd, text.encode())
            os.close(fd)
        except OSError:
            logging.getLogger("dockyard").debug("nobody waits for the daemon any more")


def notify(path: str, text: str) -> None:
    """Tell the service manager that listens on ``path`` (sd_notify(3)); "" is nobody.

    With it ``systemctl start`` returns when the socket answers, not before.
    """
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.sendto(text.encode(), address)
        except OSError as error:
            logging.getLogger("dockyard").warning("cannot tell the service manager %s: %s", text, error.strerror)


if __name__ == "__main__":
    sys.exit(main())
