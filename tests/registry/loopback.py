"""An HTTP server on a loopback port of a network namespace, in a thread of its own."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import ssl
import threading
import urllib.parse
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, NamedTuple, Self

from aiohttp import web

from core.linux import syscalls
from tests.network.namespace import NetNs

ADDRESS = "127.0.0.1"


class Reply(NamedTuple):
    """An answer to :meth:`Named.ask`; the names of ``headers`` are small letters."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Named:
    """Something with a ``host`` (address:port) in a namespace."""

    netns: NetNs
    address = ADDRESS
    port: int
    #: The authority that a client must trust; None for plain HTTP.
    ca: str | None = None

    @property
    def host(self) -> str:
        """``127.0.0.1:PORT``"""
        return f"{self.address}:{self.port}"

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``"""
        return f"{'https' if self.ca else 'http'}://{self.host}"

    def name(self, reference: str) -> str:
        """The full name of an image in this registry."""
        return f"{self.host}/{reference}"

    def ask(self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Reply:
        """One request from within the namespace. ``target`` is a path, or a whole URL on this host."""
        return self.netns.inside(lambda: self._ask(method, target, body, headers or {}))

    def _ask(self, method: str, target: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        connection: http.client.HTTPConnection
        if self.ca:
            context = ssl.create_default_context(cafile=self.ca)
            connection = http.client.HTTPSConnection(self.address, self.port, timeout=30, context=context)
        else:
            connection = http.client.HTTPConnection(self.address, self.port, timeout=30)
        parts = urllib.parse.urlsplit(target)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            data = response.read()
            return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, data)
        finally:
            connection.close()


class Server(Named):
    """Answers by :meth:`answer`, which runs on the thread's own event loop. Ready when entered."""

    def __init__(self, netns: NetNs, tls: ssl.SSLContext | None = None, address: str = ADDRESS) -> None:
        self.netns = netns
        self.address = address
        self._tls = tls
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=type(self).__name__)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        return self

    def __exit__(self, *error: object) -> None:
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """What to send back."""
        raise NotImplementedError

    async def opened(self, stack: AsyncExitStack) -> None:
        """What it needs on its loop before it serves."""

    def _run(self) -> None:
        try:
            syscalls.setns(self.netns.fd, syscalls.CLONE_NEWNET)
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - raised again in the thread of the test
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        with socket.create_server((self.address, 0), backlog=128) as listener:
            async with AsyncExitStack() as stack:
                await self.opened(stack)
                # A handler that waits for a client is ended at once: nobody is left to be polite to.
                server = web.Server(self.answer, access_log=None, handler_cancellation=True)
                runner = web.ServerRunner(server, shutdown_timeout=0.01)
                await runner.setup()
                stack.push_async_callback(runner.cleanup)
                await web.SockSite(runner, listener, ssl_context=self._tls).start()
                self.port = listener.getsockname()[1]
                self._ready.set()
                await self._stop.wait()
