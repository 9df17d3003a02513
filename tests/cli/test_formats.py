"""Lists as Docker prints them. The expected lines were printed by docker 28.2 for the same answers of the API."""

from __future__ import annotations

import json
import time

import pytest

from tests.cli.golden.record_ports import GOLDEN
from tui.cli import formatting, images, output, ps, rows, units
from tui.cli.errors import CliError
from tui.cli.events import sentence
from tui.cli.tables import columns

ID = "76ad8f6a96720ade922dba3a402c9c080940cbc6b69fa9d0c1bf8e8df81f8115"
ITEM = {
    "Id": ID, "Names": ["/idle1", "/web/alias"], "Image": "busybox", "ImageID": "sha256:84641ffcf90a",
    "Command": "sh -c 'echo hi; exit 3'", "Created": 1795549324, "Ports": [], "Labels": {"x": "y", "a": "b"},
    "State": "exited", "Status": "Exited (137) 2 seconds ago", "HostConfig": {"NetworkMode": "none"},
    "NetworkSettings": {"Networks": {"none": {}}}, "Mounts": [], "DockyardExplain": "out of memory",
}  # fmt: skip


@pytest.fixture(autouse=True)
def a_fixed_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1795549326.5)


def test_the_table_of_containers() -> None:
    assert ps.table([ITEM], truncate=True, reasons=False) == (
        "CONTAINER ID   IMAGE     COMMAND                  CREATED         "
        "STATUS                       PORTS     NAMES\n"
        '76ad8f6a9672   busybox   "sh -c \'echo hi; exi…"   2 seconds ago   '
        "Exited (137) 2 seconds ago             idle1\n"
    )
    assert ps.table([], truncate=True, reasons=False) == (
        "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n"
    )


def test_the_whole_table_and_reasons() -> None:
    line = ps.table([ITEM], truncate=False, reasons=True).splitlines()[1]
    assert line.startswith(f"{ID}   busybox   \"sh -c 'echo hi; exit 3'\"   ")
    assert "Exited (137) 2 seconds ago (out of memory)" in line
    assert line.endswith("idle1,web/alias")


@pytest.mark.parametrize(
    ("ports", "text"),
    [
        ([], ""),
        ([{"PrivatePort": 80, "Type": "tcp"}], "80/tcp"),
        ([{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}], "0.0.0.0:8080->80/tcp"),
        ([{"IP": "::", "PrivatePort": 80, "PublicPort": 80, "Type": "tcp"}], "[::]:80->80/tcp"),
        ([{"PrivatePort": p, "Type": "udp"} for p in (81, 80, 90)], "80-81/udp, 90/udp"),
        (
            [{"IP": "1.2.3.4", "PrivatePort": p, "PublicPort": p + 1000, "Type": "tcp"} for p in (80, 81)],
            "1.2.3.4:1080->80/tcp, 1.2.3.4:1081->81/tcp",
        ),
    ],
)
def test_ports(ports: list[dict], text: str) -> None:
    assert rows.ports({"Ports": ports}) == text


def test_ports_as_docker_lists_them() -> None:
    cases = json.loads(GOLDEN.read_text())
    assert len(cases) >= 100
    for case in cases:
        assert rows.ports({"Ports": case["ports"]}) == case["cell"], case["ports"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("busybox", "busybox"),
        ("sha256:" + "ab" * 32, "abababababab"),
        ("ab" * 32, "abababababab"),
        ("busybox@sha256:" + "0" * 64, "busybox"),
        ("", "<no image>"),
    ],
)
def test_image_names(name: str, text: str) -> None:
    assert rows.image({"Image": name}, True) == text


def test_json_rows(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    formatting.print_rows(rows.container_noun(), [ITEM], "json", truncate=True)
    found = json.loads(capfdbinary.readouterr().out)
    assert found == {
        "Command": '"sh -c \'echo hi; exi…"', "CreatedAt": units.go_time(1795549324), "ID": "76ad8f6a9672",
        "Image": "busybox", "Labels": "a=b,x=y", "LocalVolumes": "0", "Mounts": "", "Names": "idle1",
        "Networks": "none", "Platform": None, "Ports": "", "RunningFor": "2 seconds ago", "Size": "0B",
        "State": "exited", "Status": "Exited (137) 2 seconds ago",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("{{.ID}}\\t{{.Names}}", "76ad8f6a9672\tidle1\n"),
        (
            'table {{.ID}}\\t{{.Names | upper}}\\t{{.Label "x"}}',
            "CONTAINER ID   NAMES     x\n76ad8f6a9672   IDLE1     y\n",
        ),
        ("{{.Reason}}", "out of memory\n"),
        ("table {{.Reason}}", "REASON\nout of memory\n"),
        ('{{if eq .State "exited"}}{{.Names}}{{end}}', "idle1\n"),
        ("{{.Size}} {{.Mounts}}{{.LocalVolumes}}", "0B 0\n"),
    ],
)
def test_templates_over_rows(capfdbinary: pytest.CaptureFixture[bytes], form: str, text: str) -> None:
    formatting.print_rows(rows.container_noun(), [ITEM], form, truncate=True)
    assert capfdbinary.readouterr().out.decode() == text


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (
            "{{.Nope}}",
            (
                'failed to execute template: template: :1:2: executing "" at <.Nope>: '
                "can't evaluate field Nope in type *formatter.ContainerContext"
            ),
        ),
        ("{{.ID", "failed to parse template: template: :1: unclosed action"),
    ],
)
def test_wrong_templates(form: str, text: str) -> None:
    with pytest.raises(CliError) as caught:
        formatting.print_rows(rows.container_noun(), [ITEM], form, truncate=True)
    assert caught.value.message == text


IMAGE = {
    "Id": "sha256:4fec02cec3f738a700d96676da55c77dd4f45bde2e638013311383864da3aa5e", "Created": 1795549226,
    "RepoTags": ["a.b:5000/c/d:x", "busybox:latest"], "RepoDigests": ["busybox@sha256:12"], "Size": 1_984_321,
    "Containers": -1, "SharedSize": -1,
}  # fmt: skip


def test_images(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    found = [row for item in (IMAGE, {**IMAGE, "RepoTags": ["<none>:<none>"], "RepoDigests": []})
             for row in images.named(item, True)]  # fmt: skip
    formatting.print_rows(images.noun(True), found, "table", truncate=True)
    assert capfdbinary.readouterr().out.decode().splitlines() == [
        "REPOSITORY     TAG       DIGEST      IMAGE ID       CREATED              SIZE",
        "a.b:5000/c/d   x         <none>      4fec02cec3f7   About a minute ago   1.98MB",
        "busybox        latest    sha256:12   4fec02cec3f7   About a minute ago   1.98MB",
        "<none>         <none>    <none>      4fec02cec3f7   About a minute ago   1.98MB",
    ]
    formatting.print_rows(images.noun(), found[-1:], "json", truncate=True)
    out = capfdbinary.readouterr().out.decode()
    assert '"Digest":"\\u003cnone\\u003e"' in out
    assert json.loads(out)["VirtualSize"] == "1.984MB"


def test_columns_are_tabwriters() -> None:
    assert columns([["a", "b"], ["a long cell", "c"]]) == "a             b\na long cell   c\n"
    assert columns([["a", "b"], ["one"], ["x", "y"]]) == "a         b\none\nx         y\n"
    assert columns([[""]]) == "\n"


def test_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    event = {
        "Type": "container", "Action": "die", "time": 1795549324, "timeNano": 1795549324394840119,
        "Actor": {"ID": "b5da", "Attributes": {"name": "box1", "exitCode": "3"}},
    }  # fmt: skip
    assert sentence(event) == "2026-11-24T19:42:04.394840119Z container die b5da (exitCode=3, name=box1)\n"


def test_labels_in_an_event_do_not_steer_the_terminal() -> None:
    event = {"Type": "container", "Actor": {"ID": "b5da", "Attributes": {"a\x1b]0;x\x07": "\x9b2J\nb\u202ec é日"}}}
    assert sentence(event).endswith("b5da (a\\x1b]0;x\\x07=\\x9b2J\\nb\\u202ec é日)\n")


def test_what_an_error_quotes_does_not_steer_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    output.err('exec: "\x1b[2Jé\t\udcff\ud800": not found\n')
    assert capfd.readouterr().err == 'exec: "\\x1b[2Jé\t\ufffd\ufffd": not found\n'


def test_halves_of_surrogate_pairs_are_shown_as_gos_json_reads_them(capfd: pytest.CaptureFixture[str]) -> None:
    output.out("label=\ud800 é\n")
    assert capfd.readouterr().out == "label=\ufffd é\n"


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("a", '"a"'),
        ('a"b\\', '"a\\"b\\\\"'),
        ("\n\t\x01", '"\\n\\t\\x01"'),
        ("é\udcff", '"é\\xff"'),
        ("\u200b", '"\\u200b"'),
    ],
)
def test_go_quote(text: str, quoted: str) -> None:
    assert rows.go_quote(text) == quoted
