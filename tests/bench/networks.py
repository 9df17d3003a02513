"""The rows of networks: containers on a bridge, published ports, throughput, names."""

from __future__ import annotations

import select
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path

from tests.bench import stream
from tests.bench.measure import Plan, Row, Samples, interleave, start_many, timed
from tests.bench.sides import IMAGE, Dockyard, Side
from tests.bench.verbs import few
from tests.network import dns
from tests.network.boxes import PYTHON, within
from tests.support import wait_until

_PROGRAM = Path(stream.__file__)
_NET = "bench"
_SECONDS = 2
_ASKING, _NAMES = 50, 100
_PORTS = 1000
_SERIAL = count(20000)


def run_rows(sides: Sequence[Side], plan: Plan) -> list[Row]:
    """The whole way of a container on the default bridge, without and with a published port."""

    def published(side: Side) -> float:
        took = timed(side, "run", "-d", "--name", "web", "-p", "8080:80", IMAGE, "sleep", "1000000")
        side.call("rm", "-f", "web")
        return took

    def many(side: Side) -> float:
        before = time.perf_counter()
        start_many(side, 20, parallel=20, flags=("-p", "80"))
        took = (time.perf_counter() - before) * 1000
        side.remove_all()
        return took

    rm = interleave(sides, plan, lambda side: timed(side, "run", "--rm", IMAGE, "true"))
    return [
        Row("`run --rm IMG true`, bridge", "ms", rm, "≤ 0.15"),
        Row("`run -d -p 8080:80`", "ms", interleave(sides, plan, published), "≤ 0.15"),
        Row("20 parallel `run -d -p 80`, wall", "ms", interleave(sides, plan, many), "≤ 0.15"),
    ]


def publish_rows(sides: Sequence[Dockyard], plan: Plan) -> list[Row]:
    """The calls that publish a port of a running container and take it away again; nobody else has them."""
    samples: dict[str, Samples] = {method: {side.name: [] for side in sides} for method in ("POST", "DELETE")}
    for side in sides:
        side.call("run", "-d", "--name", "web", IMAGE, "sleep", "1000000")
        for number in range(-plan.warmup, plan.repeat):
            body = {"Ports": [{"HostIp": "", "HostPort": str(next(_SERIAL)), "ContainerPort": "80/tcp"}]}
            for method in samples:
                before = time.perf_counter()
                answer = side.engine.api(method, "/dockyard/v1/containers/web/ports", body)
                took = (time.perf_counter() - before) * 1000
                assert answer.status in (200, 204), answer
                if number >= 0:
                    samples[method][side.name].append(took)
        side.remove_all()
    return [
        Row("publish a port of a running container, API call", "ms", samples["POST"], "≤ 5 ms"),
        Row("take it away again", "ms", samples["DELETE"], "≤ 5 ms"),
    ]


def stream_rows(sides: Sequence[Side], plan: Plan) -> list[Row]:
    """One TCP connection: between two containers, and from the host to a published port."""
    python = [*PYTHON, "-v", f"{_PROGRAM}:/stream.py:ro"]
    gateways = {}
    for side in sides:
        receiver = ["/usr/bin/python3", "-IS", "/stream.py", "receive", "5001"]
        side.call("network", "create", _NET)
        side.call("run", "-d", "--name", "receiver", "--network", _NET, "-p", "5001:5001", *python, IMAGE, *receiver)
        side.call("run", "-d", "--name", "sender", "--network", _NET, *python, IMAGE, "sleep", "1000000")
        wait_until(partial(_listens, side), 20, "the receiver listens")
        gateways[side] = side.engine.inspect("receiver")["NetworkSettings"]["Networks"][_NET]["Gateway"]

    def inside(side: Side) -> float:
        words = ["/usr/bin/python3", "-IS", "/stream.py", "send", "receiver", "5001", str(_SECONDS)]
        return float(side.call("exec", "sender", *words)) / 1e6

    def outside(side: Side, address: str) -> float:
        argv = [sys.executable, "-IS", str(_PROGRAM), "send", address, "5001", str(_SECONDS)]
        return float(side.engine.netns.run(argv)) / 1e6

    rows = [
        Row("container → container, one TCP stream", "MB/s", interleave(sides, few(plan), inside), "≥ 0.95"),
        Row(
            "host → published port, by the host's address",
            "MB/s",
            interleave(sides, few(plan), lambda side: outside(side, gateways[side])),
            "≥ 0.95",
        ),
        Row(
            "host → published port, by 127.0.0.1",
            "MB/s",
            interleave(sides, few(plan), lambda side: outside(side, "127.0.0.1")),
            "≥ 0.95",
        ),
    ]
    _clear(sides)
    return rows


def _listens(side: Side) -> bool:
    return "listening" in side.call("logs", "receiver")


def names_row(sides: Sequence[Side], plan: Plan) -> Row:
    """Fifty containers ask for a hundred names each, all at the same time; one question of each is under way."""
    for side in sides:
        side.call("network", "create", _NET)
        flags = ("--network", _NET, "--network-alias", "alias-{name}")
        names = start_many(side, _ASKING, parallel=4, flags=flags)
        _asked[side.name] = [*names, *(f"alias-{name}" for name in names)]
        assert len(_asked[side.name]) == _NAMES
    samples = interleave(sides, few(plan), _ask_all)
    _clear(sides)
    return Row(f"{_NAMES} names, asked for by {_ASKING} containers at once, p99", "ms", samples, "≤ 5 ms")


_asked: dict[str, list[str]] = {}


def _ask_all(side: Side) -> float:
    """The 99th percentile of the times from a question to its answer, in ms.

    The asking process does as little as it can between two questions: its own work would count as the engine's.
    """
    names = _asked[side.name]
    questions = [dns.encode(dns.Message(number, name, dns.A)) for number, name in enumerate(names)]
    took: list[float] = []
    with ExitStack() as stack, select.epoll() as poller:
        clients: dict[int, socket.socket] = {}
        for name in names[:_ASKING]:
            with within(side.engine, name) as namespace:
                client = stack.enter_context(namespace.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)))
            client.connect(("127.0.0.11", 53))
            poller.register(client, select.EPOLLIN)
            clients[client.fileno()] = client
        left = {fd: list(questions) for fd in clients}
        sent: dict[int, float] = {}
        for fd, client in clients.items():
            sent[fd] = time.perf_counter()
            client.send(left[fd].pop())
        while sent:
            for fd, _ in poller.poll(10):
                client = clients[fd]
                answer = client.recv(512)
                now = time.perf_counter()
                took.append(now - sent.pop(fd))
                assert answer[7], dns.decode(answer)
                if left[fd]:
                    sent[fd] = now
                    client.send(left[fd].pop())
    assert len(took) == _ASKING * len(names)
    return sorted(took)[len(took) * 99 // 100] * 1000


def range_row(sides: Sequence[Side], plan: Plan) -> Row:
    """A container with a thousand published ports."""
    ports = f"20000-{19999 + _PORTS}:20000-{19999 + _PORTS}"

    def sample(side: Side) -> float:
        took = timed(side, "run", "-d", "--name", "many", "-p", ports, IMAGE, "sleep", "1000000")
        side.call("rm", "-f", "many", timeout=900)
        return took

    samples: Samples = {}
    for side in sides:
        # Docker takes minutes: two processes and six calls of iptables for each port.
        rounds = min(plan.repeat, 5) if isinstance(side, Dockyard) else 1
        samples[side.name] = [sample(side) for _ in range(rounds)]
    return Row(f"`run -d` with a range of {_PORTS} ports", "ms", samples, "≤ 100 ms")


def _clear(sides: Sequence[Side]) -> None:
    for side in sides:
        side.remove_all()
        side.call("network", "rm", _NET)
