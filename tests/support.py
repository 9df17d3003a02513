"""What the tests share: waiting, an engine of one's own, its clients. The fixtures are in ``conftest.py``.

Waiting
    ``wait_until(predicate, timeout, what)`` and ``wait_until_async``: the only places that poll. They
    return the first truthy value and fail with ``what`` in the message. No test sleeps.

An engine (fixture ``engine``: one daemon for the run, emptied after each test; ``own_engine``: a fresh one)
    ``engine.dockyard("run", "--rm", ref, "true")``
                              a ``CompletedProcess[str]``; ``check=True`` raises with both outputs.
    ``engine.docker(...)``    the same with Docker's client.
    ``engine.api("GET", "/containers/json")``
                              ``Answer(status, body, headers)``; ``body`` is decoded JSON, or bytes.
    ``engine.load(archive)``  POST /images/load.
    ``engine.busybox()``      the reference of a busybox image, loaded on first use.
    ``engine.kill()``         kill -9 of the daemon; ``start()`` or ``restart()`` bring the next one.
    ``engine.stop()``         SIGTERM and wait. ``close()`` removes every container first, then the folder.
    ``engine.popen(*args)``   the command line left running with pipes.
    ``engine.socket``, ``.root``, ``.run``, ``.pid``, ``.log`` (what the daemon wrote), ``.environment()``.
    ``engine.netns``          the network namespace that is this engine's host (``tests.network.namespace.NetNs``): no
                              bridge, rule or port of an engine is ever on the machine itself. All its clients run
                              there too. ``in_netns(function)`` and ``netns_run([command, …])`` do something there.

Other modules: ``tests/images.py`` makes archives, ``tests/terminal.py`` has ``Pty`` and ``Tmux``,
``tests/leaks.py`` says what a run left behind.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, overload

from tests import images
from tests.network.namespace import NetNs

T = TypeVar("T")

CHECKOUT = Path(__file__).resolve().parent.parent
#: The command line without an installation.
COMMAND = [sys.executable, "-IS", str(CHECKOUT / "tui/cli/__main__.py")]
#: Set for every process a run starts; what still carries it at the end was left behind.
MARK = "DOCKYARD_TEST_BASE"
BUSYBOX = "busybox:test"

_INTERVAL = 0.01


def wait_until(predicate: Callable[[], T], timeout: float = 10.0, what: str = "") -> T:
    """Call ``predicate`` until it returns something truthy, and return that; ``timeout`` is in seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {timeout} s: {what or predicate!r} (last value: {value!r})")
        time.sleep(_INTERVAL)


@overload
async def wait_until_async(predicate: Callable[[], Awaitable[T]], timeout: float = ..., what: str = ...) -> T: ...
@overload
async def wait_until_async(predicate: Callable[[], T], timeout: float = ..., what: str = ...) -> T: ...
async def wait_until_async(predicate: Callable[[], Any], timeout: float = 10.0, what: str = "") -> Any:
    """As :func:`wait_until`, leaving the loop free; ``predicate`` may be a coroutine function."""
    deadline = time.monotonic() + timeout
    while True:
        answer = predicate()
        value = await answer if isinstance(answer, Awaitable) else answer
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {timeout} s: {what or predicate!r} (last value: {value!r})")
        await asyncio.sleep(_INTERVAL)


class Answer(NamedTuple):
    """An answer of the API. ``body`` is decoded JSON where the engine says JSON, else bytes."""

    status: int
    body: Any
    headers: dict[str, str]


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def api_request(
    path: str | Path,
    method: str,
    target: str,
    body: Any = None,
    *,
    headers: dict[str, str] | None = None,
    timeout: float = 30.0,
) -> Answer:
    """One request over the Unix socket ``path``. ``bytes`` go as they are, everything else as JSON."""
    connection = _UnixConnection(str(path), timeout)
    headers = dict(headers or {})
    if isinstance(body, bytes):
        headers["Content-Type"] = "application/x-tar"
    elif body is not None:
        body = json.dumps(body).encode()
        headers["Content-Type"] = "application/json"
    try:
        connection.request(method, target, body, headers)
        response = connection.getresponse()
        data: Any = response.read()
        if response.headers.get_content_type() == "application/json" and data.count(b"\n") <= 1:
            data = json.loads(data) if data.strip() else None
        return Answer(response.status, data, {k.lower(): v for k, v in response.getheaders()})
    finally:
        connection.close()


def run_command(
    argv: Sequence[str],
    *,
    env: dict[str, str],
    input: str | bytes | None = None,
    timeout: float = 60.0,
    check: bool = False,
    text: bool = True,
    cwd: str | Path | None = None,
) -> subprocess.CompletedProcess[Any]:
    """Run to the end. With ``check`` a non-zero exit fails, with both outputs in the message."""
    feed: dict[str, Any] = {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
    done = subprocess.run(argv, env=env, timeout=timeout, check=False, text=text, cwd=cwd, capture_output=True, **feed)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(argv)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


class Engine:
    """A daemon with its own folders and socket below one short folder (a socket's path ends at 107 bytes).

    It has a network namespace of its own, through all of its starts, or shares the ``netns`` of another. With
    ``resolv_conf`` that file is its host's /etc/resolv.conf.
    """

    def __init__(
        self,
        base: Path,
        *,
        serve_args: Sequence[str] = (),
        env: dict[str, str] | None = None,
        command: Sequence[str] = COMMAND,
        netns: NetNs | None = None,
        resolv_conf: Path | None = None,
    ) -> None:
        self.command = list(command)
        self.netns = netns or NetNs()
        self._owns_netns = netns is None
        self._resolv_conf = resolv_conf
        self.folder = Path(tempfile.mkdtemp(prefix="e", dir=base))
        self.base = base
        self.root = self.folder / "root"
        self.run = self.folder / "run"
        self.socket = self.run / "d.sock"
        self.log_path = self.folder / "serve.log"
        self.serve_args = list(serve_args)
        self.extra_env = dict(env or {})
        self.process: subprocess.Popen[bytes] | None = None

    # --- life ---

    def environment(self) -> dict[str, str]:
        """The surroundings of every process that belongs to this engine: no setting of the person's own."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("DOCKYARD_", "DOCKER_"))}
        return {
            **kept,
            "HOME": str(self.folder),
            "DOCKYARD_HOST": f"unix://{self.socket}",
            "DOCKER_HOST": f"unix://{self.socket}",
            MARK: str(self.base),
            **self.extra_env,
        }

    def start(self, *, env: dict[str, str] | None = None, ready: bool = True) -> Engine:
        """Start the daemon; with ``ready`` wait until it answers. ``env`` is for this start only."""
        assert self.process is None or self.process.poll() is not None, "the daemon runs already"
        with self.log_path.open("ab") as log:
            options: dict[str, Any] = {
                "env": {**self.environment(), **(env or {})},
                "stdin": subprocess.DEVNULL,
                "stdout": log,
                "stderr": log,
                "cwd": "/",
                "start_new_session": True,
            }
            argv = [*self._surroundings(), *self.daemon(), *self.serve_args]
            self.process = self.in_netns(lambda: subprocess.Popen(argv, **options))
        if ready:
            self.wait_ready()
        return self

    def _surroundings(self) -> list[str]:
        """What puts the daemon where it belongs and becomes it, by execve: the pid stays."""
        if self._resolv_conf is None:
            return []
        script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(self._resolv_conf)]

    def daemon(self) -> list[str]:
        """The daemon's command line without ``serve_args``."""
        folders = ["--root", str(self.root), "--run", str(self.run), "--socket", str(self.socket)]
        return [*self.command, "serve", *folders]

    def wait_ready(self, timeout: float = 20.0) -> None:
        """Until ``/_ping`` answers. Fails at once, with the log, when the daemon leaves instead."""

        def answers() -> bool:
            if self.process is not None and self.process.poll() is not None:
                raise AssertionError(f"the daemon left with {self.process.returncode}:\n{self.log}")
            return self.answers()

        wait_until(answers, timeout, f"the daemon answers at {self.socket}; log:\n{self.log}")

    def answers(self) -> bool:
        try:
            return api_request(self.socket, "GET", "/_ping", timeout=5).status == 200
        except OSError:
            return False

    @property
    def pid(self) -> int:
        """The daemon's pid."""
        assert self.process is not None, "not started"
        return self.process.pid

    @property
    def log(self) -> str:
        try:
            return self.log_path.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def kill(self) -> None:
        """kill -9 of the daemon alone; its containers live on."""
        assert self.process is not None, "not started"
        self.process.kill()
        self.process.wait(10)

    def stop(self, timeout: float = 15.0) -> int:
        """SIGTERM, and the daemon's exit code. Containers live on."""
        assert self.process is not None, "not started"
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the daemon did not leave within {timeout} s of SIGTERM:\n{self.log}") from None

    def restart(self) -> Engine:
        """``stop`` if it runs, then ``start``."""
        if self.process is not None and self.process.poll() is None:
            self.stop()
        return self.start()

    def wait_exit(self, timeout: float = 15.0) -> int:
        """The exit code of a daemon that leaves by itself (fault tests)."""
        assert self.process is not None, "not started"
        return self.process.wait(timeout)

    def close(self) -> None:
        """Remove every container, stop the daemon, remove the folder."""
        try:
            if self.process is not None:
                self._empty_and_stop()
        finally:
            if self.process is not None and self.process.poll() is None:
                self.kill()
            if self._owns_netns:
                self.netns.close()
        shutil.rmtree(self.folder)

    def _empty_and_stop(self) -> None:
        if self.process is not None and self.process.poll() is not None:
            self.start()
        self.remove_containers()
        self.remove_networks()
        self.stop()

    # --- its host ---

    def in_netns(self, work: Callable[[], T]) -> T:
        """The result of ``work``, done in the engine's network namespace."""
        return self.netns.inside(work)

    def netns_run(self, argv: Sequence[str], **options: Any) -> subprocess.CompletedProcess[Any]:
        """A command in the engine's network namespace, to its end; options as in :func:`run_command`."""
        options = {"env": self.environment(), **options}
        return self.in_netns(lambda: run_command(argv, **options))

    # --- clients ---

    def api(self, method: str, target: str, body: Any = None, *, timeout: float = 30.0) -> Answer:
        return api_request(self.socket, method, target, body, timeout=timeout)

    def dockyard(
        self, *args: str, env: dict[str, str] | None = None, **options: Any
    ) -> subprocess.CompletedProcess[Any]:
        """The command line, to its end; options as in :func:`run_command`."""
        return self.netns_run([*self.command, *args], env={**self.environment(), **(env or {})}, **options)

    def docker(self, *args: str, env: dict[str, str] | None = None, **options: Any) -> subprocess.CompletedProcess[Any]:
        """Docker's client against this engine; options as in :func:`run_command`."""
        return self.netns_run(["docker", *args], env={**self.environment(), **(env or {})}, **options)

    def popen(self, *args: str, env: dict[str, str] | None = None, **options: Any) -> subprocess.Popen[bytes]:
        """The command line, left running with pipes; the caller ends it."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        options = {**pipes, "env": {**self.environment(), **(env or {})}, **options}
        return self.in_netns(lambda: subprocess.Popen([*self.command, *args], **options))

    # --- what tests need again and again ---

    def load(self, archive: bytes | Path) -> None:
        """Load a docker-archive or OCI-archive through the API."""
        data = archive.read_bytes() if isinstance(archive, Path) else archive
        answer = self.api("POST", "/images/load?quiet=1", data, timeout=120)
        # A failure in the middle of the stream comes as a line with errorDetail under status 200.
        assert answer.status == 200, answer
        assert "errorDetail" not in str(answer.body), answer

    def busybox(self) -> str:
        """The reference of a small busybox image, loaded when it is not there."""
        if self.api("GET", f"/images/{BUSYBOX}/json").status != 200:
            self.load(images.busybox_archive(BUSYBOX))
        return BUSYBOX

    def containers(self, *, all: bool = True) -> list[dict[str, Any]]:
        answer = self.api("GET", f"/containers/json?all={int(all)}")
        assert answer.status == 200, answer
        return list(answer.body)

    def inspect(self, ref: str) -> dict[str, Any]:
        answer = self.api("GET", f"/containers/{ref}/json")
        assert answer.status == 200, answer
        return dict(answer.body)

    def wait_state(self, ref: str, status: str, timeout: float = 15.0) -> dict[str, Any]:
        """Until the container is ``status`` ("running", "exited", …); its inspection."""

        def reached() -> dict[str, Any] | None:
            found = self.inspect(ref)
            return found if found["State"]["Status"] == status else None

        found = wait_until(reached, timeout, f"{ref} is {status}")
        assert found is not None
        return found

    def remove_containers(self) -> None:
        """Remove all containers by force; fails when one stays."""
        for container in self.containers():
            answer = self.api("DELETE", f"/containers/{container['Id']}?force=1&v=1", timeout=60)
            assert answer.status in (204, 404), answer
        wait_until(lambda: not self.containers(), 30, "all containers are removed")

    def remove_networks(self) -> None:
        """Remove all networks but those that every engine has."""
        for network in self.api("GET", "/networks").body:
            if network["Name"] not in ("bridge", "host", "none"):
                answer = self.api("DELETE", f"/networks/{network['Id']}", timeout=60)
                assert answer.status in (204, 404), answer
