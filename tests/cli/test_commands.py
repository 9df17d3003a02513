"""Whole commands as processes, against an engine of canned answers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.fake import Exchange, FakeEngine, Handler, dockyard, environment, frame
from tests.support import COMMAND
from tests.test_imports import SLOW
from tui.cli import verbs

Fake = Callable[[dict[str, Handler]], FakeEngine]
ID = "ab" * 32


def says(value: object, status: int = 200) -> Handler:
    return lambda exchange: exchange.reply(value, status)


def refuses(status: int, message: str) -> Handler:
    return says({"message": message}, status)


class Container:
    """The routes of one container that can be run; what happened to it."""

    def __init__(self, output: bytes = b"", code: int = 0, *, start: Handler | None = None, tty: bool = False) -> None:
        self.output, self.code, self.tty = output, code, tty
        self.started = threading.Event()
        self.ended = threading.Event()
        self.stdin = b""
        self.signals: list[str] = []
        self.start_handler = start
        self.routes: dict[str, Handler] = {
            "POST /containers/create": says({"Id": ID, "Warnings": ["mind the gap"]}, 201),
            f"POST /containers/{ID}/attach": self.attach,
            f"POST /containers/{ID}/wait": self.wait,
            f"POST /containers/{ID}/start": self.start,
            f"POST /containers/{ID}/kill": self.kill,
            f"POST /containers/{ID}/resize": says(None, 200),
        }

    def attach(self, exchange: Exchange) -> None:
        exchange.upgrade()
        self.started.wait(10)
        if self.start_handler is not None:
            return
        exchange.send(self.output if self.tty else frame(1, self.output) if self.output else b"")
        if "stdin=1" in exchange.target:
            self.stdin = exchange.read_all()
            exchange.send(frame(2, b"<" + self.stdin + b">"))
        self.ended.wait(10)

    def wait(self, exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.ended.wait(10)
        body = json.dumps({"StatusCode": self.code}).encode()
        exchange.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))

    def start(self, exchange: Exchange) -> None:
        if self.start_handler is not None:
            self.ended.set()
            self.started.set()
            self.start_handler(exchange)
            return
        exchange.reply(None, 204)
        self.started.set()
        if self.code != -1:
            self.ended.set()

    def kill(self, exchange: Exchange) -> None:
        self.signals.append(exchange.target.partition("signal=")[2])
        exchange.reply(None, 204)
        self.code = 128 + signal.SIGTERM
        self.ended.set()


def test_run(fake: Fake) -> None:
    container = Container(b"hello\n", 7)
    engine = fake(container.routes)
    done = dockyard(engine, "run", "--rm", "--name", "x y", "busybox", "true")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"hello\n", b"WARNING: mind the gap\n")
    asked = engine.asked()
    assert asked[0] == "POST /containers/create?name=x%20y"
    assert sorted(asked[1:3]) == [
        f"POST /containers/{ID}/attach?stream=1&stdout=1&stderr=1",
        f"POST /containers/{ID}/wait?condition=removed",
    ]
    assert asked[3] == f"POST /containers/{ID}/start"


def test_run_passes_stdin_and_its_end(fake: Fake) -> None:
    container = Container()
    data = os.urandom(300_000)
    done = dockyard(fake(container.routes), "run", "-i", "busybox", "cat", input=data)
    assert container.stdin == data
    assert done.stderr.endswith(b"<" + data + b">")
    assert done.returncode == 0


def test_both_directions_flow_at_once(fake: Fake) -> None:
    """An engine that reads no more until it is rid of its output, as one does whose container is ``cat``."""
    container = Container()
    data = os.urandom(4 << 20)

    def attach(exchange: Exchange) -> None:
        exchange.upgrade()
        container.started.wait(10)
        exchange.send(frame(1, exchange.preread))
        while piece := exchange.connection.recv(65536):
            exchange.send(frame(1, piece))

    engine = fake({**container.routes, f"POST /containers/{ID}/attach": attach})
    assert dockyard(engine, "run", "-i", "busybox", "cat", input=data).stdout == data


def test_run_detached_prints_the_id(fake: Fake) -> None:
    engine = fake(Container().routes)
    done = dockyard(engine, "run", "-d", "busybox")
    assert (done.returncode, done.stdout) == (0, ID.encode() + b"\n")
    assert engine.asked() == ["POST /containers/create", f"POST /containers/{ID}/start"]


def test_a_detached_container_that_cannot_start_is_named(fake: Fake) -> None:
    done = dockyard(fake(Container(start=refuses(400, "no")).routes), "run", "-d", "busybox")
    assert (done.returncode, done.stdout) == (125, ID.encode() + b"\n")


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ('exec: "nope": executable file not found in $PATH', 127),
        ("exec /x: no such file or directory", 127),
        ('exec: "/etc": permission denied', 126),
        ("exec /etc: is a directory", 126),
        ("unable to find user nobody-here", 125),
    ],
)
def test_a_start_that_fails(fake: Fake, reason: str, code: int) -> None:
    done = dockyard(fake(Container(start=refuses(400, reason)).routes), "run", "--rm", "busybox", "x")
    assert done.returncode == code
    assert f"dockyard: Error response from daemon: {reason}\n" in done.stderr.decode()


def test_a_missing_image_without_pulling_says_so(fake: Fake) -> None:
    engine = fake({"POST /containers/create": refuses(404, "No such image: a/b:latest")})
    done = dockyard(engine, "run", "--pull", "never", "a/b")
    assert done.returncode == 125
    assert done.stderr.decode() == (
        "dockyard: Error response from daemon: No such image: a/b:latest\nIt is pulled without --pull never\n"
    )


def test_a_missing_mount_source_names_the_flag_that_makes_it(fake: Fake) -> None:
    why = 'invalid mount config for type "bind": bind source path does not exist: /nope'
    done = dockyard(fake({"POST /containers/create": refuses(400, why)}), "run", "-v", "/nope:/x", "busybox")
    assert done.returncode == 125
    assert "--mount type=bind," in done.stderr.decode()
    assert "bind-create-src" in done.stderr.decode()


def test_a_signal_is_forwarded(fake: Fake) -> None:
    container = Container(b"up\n", -1)
    engine = fake(container.routes)
    client = subprocess.Popen([*COMMAND, "run", "busybox"], env=environment(engine), stdout=subprocess.PIPE)
    assert client.stdout is not None
    assert client.stdout.readline() == b"up\n"
    client.send_signal(signal.SIGTERM)
    client.communicate(timeout=10)
    assert container.signals == ["TERM"]
    assert client.returncode == 143


@pytest.mark.parametrize(("back", "code"), [("there", 8), ("gone", 9), ("forgotten", 125)])
def test_an_engine_that_dies_while_the_container_runs(fake: Fake, back: str, code: int) -> None:
    container = Container(b"still here\n")
    waits = 0

    def wait(exchange: Exchange) -> None:
        nonlocal waits
        waits += 1
        if waits == 1:
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
            container.ended.wait(10)
            exchange.connection.shutdown(2)
        elif back == "there":
            exchange.reply({"StatusCode": 8})
        else:
            exchange.reply({"message": "No such container"}, 404)

    def events(exchange: Exchange) -> None:
        die = {"Type": "container", "Action": "die", "Actor": {"ID": ID, "Attributes": {"exitCode": "9"}}}
        exchange.chunked(*[json.dumps(die).encode() + b"\n"] if back == "gone" else [], kind="application/json")

    engine = fake({**container.routes, f"POST /containers/{ID}/wait": wait, "GET /events": events})
    done = dockyard(engine, "run", "busybox")
    assert done.stdout == b"still here\n"
    assert done.returncode == code
    assert (b"its exit code is not known" in done.stderr) is (back == "forgotten")


def test_a_closed_stdout_is_never_the_engines_socket(fake: Fake) -> None:
    engine = fake({"GET /containers/json": says([])})
    script = 'exec "$@" <&- >&- 2>&-'
    done = subprocess.run(["sh", "-c", script, "sh", *COMMAND, "ps"], env=environment(engine), timeout=30)
    assert done.returncode == 0
    assert engine.asked() == ["GET /containers/json"]


def test_the_cidfile(fake: Fake, tmp_path: Path) -> None:
    engine = fake(Container().routes)
    path = str(tmp_path / "cid")
    assert dockyard(engine, "run", "--cidfile", path, "busybox").returncode == 0
    assert Path(path).read_text() == ID
    again = dockyard(engine, "run", "--cidfile", path, "busybox")
    assert again.returncode == 125
    assert path in again.stderr.decode()
    assert len([a for a in engine.asked() if "create" in a]) == 1


def execution(code: int, output: bytes) -> dict[str, Handler]:
    def start(exchange: Exchange) -> None:
        exchange.upgrade()
        exchange.send(output)

    return {
        "POST /containers/c/exec": says({"Id": "e1"}, 201),
        "POST /exec/e1/start": start,
        "GET /exec/e1/json": says({"ExitCode": code, "Running": False}),
    }


def test_exec(fake: Fake) -> None:
    engine = fake(execution(5, frame(1, b"out\n") + frame(2, b"err\n")))
    done = dockyard(engine, "exec", "-e", "A=1", "-w", "/x", "-u", "7", "c", "ls", "-l")
    assert (done.returncode, done.stdout, done.stderr) == (5, b"out\n", b"err\n")
    asked = engine.requests[0].json()
    assert (asked["Cmd"], asked["Env"], asked["WorkingDir"], asked["User"]) == (["ls", "-l"], ["A=1"], "/x", "7")
    assert engine.requests[1].json() == {"Detach": False, "Tty": False}


def test_the_exit_code_is_asked_for_until_the_engine_knows(fake: Fake) -> None:
    answers = iter([{"ExitCode": None, "Running": True}] * 3 + [{"ExitCode": 6, "Running": False}])
    engine = fake({**execution(0, b""), "GET /exec/e1/json": lambda x: x.reply(next(answers))})
    assert dockyard(engine, "exec", "c", "false").returncode == 6


def test_exec_detached(fake: Fake) -> None:
    engine = fake({**execution(0, b""), "POST /exec/e1/start": says(None)})
    assert dockyard(engine, "exec", "-d", "c", "true").returncode == 0
    assert engine.requests[1].json() == {"Detach": True, "Tty": False}
    assert len(engine.requests) == 2


@pytest.mark.parametrize(("reason", "code"), [("executable file not found in $PATH", 127), ("is not running", 1)])
def test_exec_that_cannot_start(fake: Fake, reason: str, code: int) -> None:
    engine = fake({**execution(0, b""), "POST /exec/e1/start": refuses(409, reason)})
    done = dockyard(engine, "exec", "c", "true")
    assert (done.returncode, done.stderr) == (code, f"Error response from daemon: {reason}\n".encode())


def test_logs(fake: Fake) -> None:
    def serve(exchange: Exchange) -> None:
        exchange.chunked(frame(1, b"a\n") + frame(2, b"b\n")[:5], frame(2, b"b\n")[5:])

    engine = fake({"GET /containers/c/logs": serve})
    done = dockyard(engine, "logs", "-f", "--tail", "5", "--since", "1136073600", "c")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"a\n", b"b\n")
    assert engine.asked() == ["GET /containers/c/logs?stdout=1&stderr=1&follow=1&tail=5&since=1136073600"]


def test_logs_of_an_engine_that_does_not_say_how_they_are_framed(fake: Fake) -> None:
    def serve(exchange: Exchange) -> None:
        exchange.chunked(b"raw\n", kind="application/vnd.docker.raw-stream")

    engine = fake({"GET /containers/c/logs": serve, "GET /containers/c/json": says({"Config": {"Tty": True}})})
    assert dockyard(engine, "logs", "c").stdout == b"raw\n"


def test_a_reader_that_leaves_ends_logs_quietly(fake: Fake) -> None:
    def serve(exchange: Exchange) -> None:
        try:
            exchange.chunked(*(frame(1, b"x" * 65536) for _ in range(1000)))
        except (BrokenPipeError, ConnectionResetError):
            return

    engine = fake({"GET /containers/c/logs": serve})
    client = subprocess.Popen(
        [*COMMAND, "logs", "c"], env=environment(engine), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert client.stdout is not None
    assert client.stderr is not None
    client.stdout.read(10)
    client.stdout.close()
    assert client.stderr.read() == b""
    client.stderr.close()
    assert client.wait(10) == -signal.SIGPIPE


def test_ps(fake: Fake) -> None:
    engine = fake({"GET /containers/json": says([])})
    assert dockyard(engine, "ps", "-a", "--filter", "label=x=y").stdout.startswith(b"CONTAINER ID   IMAGE ")
    filters = json.dumps({"label": {"x=y": True}}, separators=(",", ":"))
    from urllib.parse import unquote

    assert unquote(engine.asked()[0]) == f"GET /containers/json?all=1&filters={filters}"
    dockyard(engine, "ps", "-n", "3")
    dockyard(engine, "container", "ls", "-l")
    assert engine.asked()[1:] == ["GET /containers/json?all=1&limit=3", "GET /containers/json?all=1&limit=1"]


def test_several_names_and_a_missing_one(fake: Fake) -> None:
    engine = fake({"DELETE /containers/a": says(None, 204), "DELETE /containers/b": says(None, 204)})
    done = dockyard(engine, "rm", "a", "no", "b")
    assert (done.returncode, done.stdout) == (1, b"a\nb\n")
    assert done.stderr == b"Error response from daemon: no route DELETE /containers/no\n"
    assert dockyard(engine, "rm", "-f", "a", "no").returncode == 0


def test_lifecycle_queries(fake: Fake) -> None:
    routes = {f"POST /containers/c/{verb}": says(None, 204) for verb in ("stop", "restart", "kill", "start")}
    engine = fake({**routes, "POST /containers/c/wait": says({"StatusCode": 9})})
    for words in ("stop -t 0 c", "stop -s HUP c", "restart c", "kill c", "kill -s 9 c", "start c"):
        done = dockyard(engine, *words.split())
        assert (done.returncode, done.stdout) == (0, b"c\n"), words
    assert dockyard(engine, "wait", "c").stdout == b"9\n"
    assert [line.removeprefix("POST /containers/c/") for line in engine.asked()] == [
        "stop?t=0", "stop?signal=HUP", "restart", "kill?signal=KILL", "kill?signal=9", "start", "wait",
    ]  # fmt: skip


def test_inspect(fake: Fake) -> None:
    engine = fake({
        "GET /containers/c/json": says({"Name": "/c", "State": {"Status": "running"}, "Args": []}),
        "GET /images/i/json": says({"Id": "sha256:1"}),
    })  # fmt: skip
    done = dockyard(engine, "inspect", "c", "i", "no")
    assert done.returncode == 1
    assert json.loads(done.stdout) == [
        {"Name": "/c", "State": {"Status": "running"}, "Args": []},
        {"Id": "sha256:1"},
    ]
    assert done.stdout.startswith(b'[\n    {\n        "Name": "/c",\n        "State": {\n            "Status"')
    assert done.stderr == b"Error: No such object: no\n"
    assert dockyard(engine, "inspect", "no").stdout == b"[]\n"
    assert dockyard(engine, "inspect", "-f", "{{.State.Status}}", "c").stdout == b"running\n"
    assert dockyard(engine, "inspect", "-f", "{{.State", "c").returncode == 64
    assert dockyard(engine, "inspect", "--type", "container", "i").returncode == 1


def test_import_and_load(fake: Fake, tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    (tmp_path / "a.tar").write_bytes(data)
    lines = [b'{"status":"Importing"}\r\n{"sta', b'tus":"sha256:1"}\r\n']
    engine = fake({
        "POST /images/create": lambda x: x.chunked(*lines, kind="application/json"),
        "POST /images/load": lambda x: x.chunked(b'{"stream":"Loaded image: a:1\\n"}\n', kind="application/json"),
    })  # fmt: skip
    done = dockyard(engine, "import", "-c", "CMD x", "-m", "why", str(tmp_path / "a.tar"), "r/n:t")
    assert done.stdout == b"Importing\nsha256:1\n"
    assert engine.asked() == ["POST /images/create?fromSrc=-&repo=r/n:t&message=why&changes=CMD%20x"]
    assert engine.requests[0].body == data
    assert dockyard(engine, "load", input=data).stdout == b"Loaded image: a:1\n"
    assert engine.requests[1].body == data
    assert dockyard(engine, "load", "-i", "/no/such").stderr == b"open /no/such: no such file or directory\n"


def test_an_error_in_the_middle_of_a_load(fake: Fake) -> None:
    line = b'{"errorDetail":{"message":"disk full"},"error":"disk full"}\n'
    engine = fake({"POST /images/load": lambda x: x.chunked(line, kind="application/json")})
    done = dockyard(engine, "load", input=b"x")
    assert (done.returncode, done.stderr) == (1, b"disk full\n")


def test_events(fake: Fake) -> None:
    event = {"Type": "container", "Action": "start", "Actor": {"ID": "1", "Attributes": {"name": "n"}}, "timeNano": 1}
    line = json.dumps(event).encode() + b"\n"
    engine = fake({"GET /events": lambda x: x.chunked(line[:9], line[9:], kind="application/json")})
    form = "{{.Action}} {{.Actor.Attributes.name}} {{.Status}}|"
    assert dockyard(engine, "events", "--format", form).stdout == b"start n |\n"
    assert json.loads(dockyard(engine, "events", "--format", "json").stdout) == event


def test_version_without_an_engine() -> None:
    done = dockyard(None, "version")
    assert done.returncode == 1
    assert b"Client: Dockyard\n Version:" in done.stdout
    assert b"/nowhere/at/all" in done.stderr
    assert dockyard(None, "-v").stdout.startswith(b"Dockyard version ")


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ("run", 125, "'dockyard run' requires at least 1 argument"),
        ("run --x", 125, "unknown flag: --x"),
        ("run --gpus all busybox", 125, "dockyard does not support --gpus yet"),
        ("run -p 0:0 busybox", 125, 'invalid argument "0:0" for "-p, --publish" flag: invalid containerPort: 0'),
        ("run --network a --network a busybox", 125, 'network "a" is specified multiple times'),
        ("network create", 1, "'dockyard network create' requires 1 argument"),
        ("network create --ingress x", 125, "dockyard does not support --ingress yet: it is for a swarm"),
        ("network connect n", 1, "'dockyard network connect' requires 2 arguments"),
        ("network rm", 1, "'dockyard network rm' requires at least 1 argument"),
        ("network prune x", 1, "'dockyard network prune' accepts no arguments"),
        ("network ls -f x", 125, "bad format of filter (expected name=value)"),
        ("network inspect", 1, "'dockyard network inspect' requires at least 1 argument"),
        ("port c 80 81", 1, "'dockyard port' requires at least 1 and at most 2 arguments"),
        ("port add web", 1, "'dockyard port add' requires at least 2 arguments"),
        ("port add web x:80", 125, 'invalid argument "x:80": invalid hostPort: x'),
        ("run --pull foo busybox", 125, "invalid pull option: 'foo'"),
        ("run -d -a stdout busybox", 125, "conflicting options"),
        ("run -it busybox", 125, "the input device is not a TTY"),
        ("run --detach-keys foo busybox", 125, "invalid detach keys (foo)"),
        ("exec c", 1, "'dockyard exec' requires at least 2 arguments"),
        ("exec -it c sh", 1, "the input device is not a TTY"),
        ("ps x", 1, "'dockyard ps' accepts no arguments"),
        ("ps --filter odd", 125, "bad format of filter (expected name=value)"),
        ("logs", 1, "'dockyard logs' requires 1 argument"),
        ("logs --since zzz c", 1, 'invalid value for "since"'),
        ("import a b c", 1, "'dockyard import' requires at most 2 arguments"),
        ("import http://x", 1, "http://x"),
        ("pull", 1, "'dockyard pull' requires 1 argument"),
        ("pull -a busybox:1", 1, "tag can't be used with --all-tags/-a"),
        ("push --platform linux/amd64 a", 125, "dockyard does not support --platform yet"),
        ("push a@sha256:0", 1, "cannot push a digest reference"),
        ("login --password-stdin", 1, "Must provide --username with --password-stdin"),
        ("login -u me", 1, "Cannot perform an interactive login from a non TTY device"),
        ("login -u me -p x --password-stdin", 1, "mutually exclusive"),
        ("manifest create a b", 1, "dockyard does not support 'manifest create' yet"),
        ("manifest inspect --insecure a", 125, "plain-http = true"),
        ("build .", 1, "dockyard does not support 'build' yet"),
        ("nope", 1, "unknown command: dockyard nope"),
        ("container nope", 1, "unknown command: dockyard container nope"),
        ("container checkpoint", 1, "dockyard does not support 'container checkpoint' yet"),
        ("start -a x y", 1, "you cannot start and attach multiple containers at once"),
        ("inspect --type foo x", 1, 'unknown type: "foo"'),
        ("--nope ps", 125, "unknown flag: --nope"),
        ("-D ps", 125, "--debug"),
        ("-H tcp://h:1 ps", 1, "tcp:// is not supported yet"),
        ("-H nonsense ps", 1, "nonsense"),
        ("-H unix:// ps", 1, "unix://"),
        ("ps", 1, "/nowhere/at/all"),
    ],
)
def test_wrong_command_lines_are_named(words: str, code: int, text: str) -> None:
    done = dockyard(None, *words.split())
    assert done.returncode == code, done.stderr
    assert text in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert done.stdout == b""


@pytest.mark.parametrize(
    "words",
    ["--help", "help", "run --help", "port --help", "network rm --help", "help logs", "container ls --help", "stop -h"],
)
def test_help(words: str) -> None:
    done = dockyard(None, *words.split())
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Usage:  dockyard" in done.stdout
    assert max(map(len, done.stdout.decode().splitlines())) <= 120


@pytest.mark.parametrize("words", ["network --help", "network -h", "help network"])
def test_the_help_of_a_noun(words: str) -> None:
    done = dockyard(None, *words.split())
    lines = done.stdout.decode().splitlines()
    assert lines[:3] == ["Usage:  dockyard network COMMAND", "", "Manage networks"]
    assert "  connect     Connect a container to a network" in lines
    assert done.returncode == 0


def imported(report: bytes) -> set[str]:
    """The modules in what ``-X importtime`` reports."""
    return {line.rpartition(b"|")[2].strip().decode() for line in report.splitlines() if b"import time:" in line}


@pytest.mark.parametrize(
    ("words", "more"),
    [
        ("", set()),
        ("--network app", set()),
        ("--dns 192.0.2.1", {"endpoints", "addresses"}),
        ("--network a --network b", {"endpoints", "addresses"}),
        ("-p 8080:80", {"endpoints", "addresses", "ports"}),
        ("-P --network-alias x --network name=app,ip=192.0.2.1", {"endpoints", "addresses", "mounts"}),
    ],
)
def test_run_loads_what_its_flags_need(fake: Fake, words: str, more: set[str]) -> None:
    argv = [COMMAND[0], "-X", "importtime", *COMMAND[1:], "run", "-d", *words.split(), "busybox"]
    done = subprocess.run(argv, env=environment(fake(Container(b"x\n").routes)), capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr
    loaded = imported(done.stderr)
    ours = {f"tui.cli.{name}" for name in ("endpoints", "addresses", "ports", "mounts", "hardware", "network")}
    assert loaded & ours == {f"tui.cli.{name}" for name in more}
    plain = subprocess.run([COMMAND[0], "-X", "importtime", "-ISc", "pass"], capture_output=True, timeout=30).stderr
    assert not (SLOW & loaded) - imported(plain)


@pytest.mark.parametrize("verb", ["ps", "exec", "run", "logs", "rm", "stop", "start", "kill", "wait"])
def test_the_fast_path_loads_nothing_slow(fake: Fake, verb: str) -> None:
    """What a whole run of the verb imports, also late."""
    routes = {**Container(b"x\n").routes, **execution(0, frame(1, b"x"))}
    routes |= {f"POST /containers/c/{name}": says({"StatusCode": 0}) for name in ("stop", "start", "kill", "wait")}
    routes |= {"DELETE /containers/c": says(None, 204), "GET /containers/json": says([])}
    routes["GET /containers/c/logs"] = lambda x: x.chunked(frame(1, b"x\n"))
    words = {"exec": ["c", "true"], "run": ["-e", "A=1", "-v", "/:/x", "busybox"], "ps": ["-a"]}.get(verb, ["c"])
    argv = [COMMAND[0], "-X", "importtime", *COMMAND[1:], verb, *words]
    done = subprocess.run(
        argv, env=environment(fake(routes)), capture_output=True, stdin=subprocess.DEVNULL, timeout=30
    )
    assert done.returncode == 0, done.stderr
    loaded = imported(done.stderr)
    found = verbs.find(verb)
    assert found is not None
    assert found.module in loaded
    plain = subprocess.run([COMMAND[0], "-X", "importtime", "-ISc", "pass"], capture_output=True, timeout=30).stderr
    own = {line.rpartition(b"|")[2].strip().decode() for line in plain.splitlines()}
    assert not (SLOW & loaded) - own


def test_a_noun_alone_shows_its_commands() -> None:
    done = dockyard(None, "network")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"connect" in done.stdout


def test_a_prune_that_is_not_wanted_is_no_failure(fake: Fake) -> None:
    engine = fake({})
    done = dockyard(engine, "container", "prune", input=b"n\n")
    assert (done.returncode, done.stderr) == (0, b"")
    assert engine.requests == []
