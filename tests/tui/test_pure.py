"""Sentences, rows, lines, filter, settings and palettes: everything that needs neither terminal nor engine."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import themes
from tests.tui.fake_engine import container
from tui import config as settings
from tui.actions import ACTIONS, bindings, footer
from tui.explain import explain, size
from tui.filtering import FilterError, compile_filter
from tui.frame import columns, heading, key_line, row_line, rule, split, title
from tui.publishing import port_change
from tui.rows import Row, age, age_of_status, in_order, ports_text
from tui.text import to_ascii


def row(name: str = "web", state: str = "running", status: str = "Up 3 hours", **more: object) -> Row:
    return Row(container(1, name, state, status, **more))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "without an error"),
        (1, "exit 1"),
        (126, "cannot be executed"),
        (127, "not found"),
        (130, "SIGINT"),
        (137, "SIGKILL"),
        (139, "SIGSEGV"),
        (143, "SIGTERM"),
        (128 + 16, "exit 144"),
        (255, "monitor"),
        (42, "exit 42"),
    ],
)
def test_exit_codes_are_explained(code: int, words: str) -> None:
    assert words in explain(code)


def test_out_of_memory_names_the_limit() -> None:
    assert explain(137, oom_killed=True, memory_limit=64 << 20).startswith("out of memory: the limit of 64M")


def test_start_errors_lose_the_layers_they_came_through() -> None:
    text = (
        'failed to create shim task: OCI runtime create failed: runc create failed: exec: "/x": no such file: unknown'
    )
    assert explain(127, error=text) == 'failed to start: exec: "/x": no such file'


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0B"), (1023, "1023B"), (2048, "2K"), (1000 * 1024, "1000K"), (1536 << 20, "1.5G"), (12 << 20, "12M")],
)
def test_sizes_are_short(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0s"), (59, "59s"), (60, "1m"), (3599, "59m"), (3600, "1h00m"), (90000, "1d01h"), (86400 * 400, "400d")],
)
def test_ages_are_short_and_have_the_minute_as_grain(seconds: int, text: str) -> None:
    assert age(seconds) == text


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ("Up Less than a second", "0s"),
        ("Up 12 seconds", "12s"),
        ("Up About a minute", "1m"),
        ("Up About an hour (healthy)", "1h"),
        ("Up 3 weeks", "21d"),
        ("Up", "?"),
    ],
)
def test_dockers_own_words_give_an_uptime_before_anything_is_inspected(status: str, text: str) -> None:
    assert age_of_status(status) == text


def test_states_have_a_word_and_a_glyph_of_their_own() -> None:
    cases = [
        (row(), "running"),
        (row(status="Up 1 hour (healthy)"), "healthy"),
        (row(status="Up 1 hour (unhealthy)"), "unhealthy"),
        (row(state="exited", status="Exited (0) 1 hour ago"), "exited 0"),
        (row(state="exited", status="Exited (137) 1 hour ago"), "exited 137"),
        (row(state="created", status="Created"), "created"),
        (row(state="no-such-state", status=""), "created"),
    ]
    assert [one.word for one, _ in cases] == [word for _, word in cases]


def test_what_the_engine_explains_is_taken_as_it_is() -> None:
    item = container(1, "a", "exited", "Exited (137) 1 hour ago", DockyardExplain="out of memory: 64 MiB")
    assert (Row(item).why, Row(item).explained) == ("out of memory: 64 MiB", True)


def test_inspection_completes_a_row() -> None:
    one = row(state="exited", status="Exited (137) 1 hour ago")
    assert "SIGKILL" in one.why
    assert not one.explained
    one.learn({"State": {"OOMKilled": True, "ExitCode": 137}, "HostConfig": {"Memory": 8 << 20}})
    assert one.why.startswith("out of memory: the limit of 8.0M")
    assert one.explained


def test_ports_are_short() -> None:
    ports = [
        {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
        {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
        {"IP": "127.0.0.1", "PrivatePort": 53, "PublicPort": 5353, "Type": "udp"},
        {"PrivatePort": 443, "Type": "tcp"},
    ]
    assert ports_text(ports) == "8080→80 127.0.0.1:5353→53/udp 443"


def test_neighbouring_ports_are_one() -> None:
    ports = [
        {"IP": ip, "PrivatePort": port, "PublicPort": port + 1000, "Type": "tcp"}
        for port in (80, 81, 82, 90)
        for ip in ("0.0.0.0", "::")
    ]
    ports += [{"IP": "fd00::1", "PrivatePort": port, "PublicPort": port, "Type": "udp"} for port in (53, 54)]
    ports += [{"PrivatePort": port, "Type": "tcp"} for port in (7000, 7001)]
    assert ports_text(ports) == "1080-1082→80-82 1090→90 [fd00::1]:53-54→53-54/udp 7000-7001"
    assert ports_text([{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": port} for port in (1, 2)]) == "1→80 2→80"


def test_a_change_of_ports_is_read() -> None:
    change = port_change("  8080-8081:80-81 -53/udp  -127.0.0.1:9:9 ")
    assert [(port["HostPort"], port["ContainerPort"]) for port in change.add] == [
        ("8080", "80/tcp"),
        ("8081", "81/tcp"),
    ]
    assert change.remove == [
        {"HostIp": "", "HostPort": "", "ContainerPort": "53/udp"},
        {"HostIp": "127.0.0.1", "HostPort": "9", "ContainerPort": "9/tcp"},
    ]
    assert port_change(" ") == ([], [])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("80:0", '"80:0": invalid containerPort: 0'),
        ("80 x:80", '"x:80": invalid hostPort: x'),
        ("-", '"": no port specified: <empty>'),
        ("1.2.3:80:80", '"1.2.3:80:80": invalid IP address: 1.2.3'),
    ],
)
def test_a_wrong_change_of_ports_names_the_word(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        port_change(text)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ["api", "db", "web"]),
        ("w", ["web"]),
        ("RUNNING", ["api", "web"]),
        ("!web", ["api", "db"]),
        ("~^(web|db)$", ["db", "web"]),
        ("!~^(web|db)$", ["api"]),
        ("label:tier", ["api"]),
        ("label:tier=front", []),
        ("running !web", ["api"]),
        ("!", ["api", "db", "web"]),
    ],
)
def test_filter(text: str, names: list[str]) -> None:
    rows = [row("web"), row("db", "exited", "Exited (0) now"), row("api", Labels={"tier": "back"})]
    test = compile_filter(text)
    assert sorted(one.name for one in rows if test(one)) == names


def test_a_broken_expression_is_an_error_that_names_it() -> None:
    with pytest.raises(FilterError, match=r"~\[:"):
        compile_filter("~[")


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 131, 132, 200])
def test_every_line_has_exactly_the_width(width: int) -> None:
    rows = [row("a-name-that-goes-on-for-ever-and-ever"), row("b", "exited", "Exited (137) now", Image="r/" + "i" * 90)]
    layout = columns(width, rows)
    lines = [heading(layout, "name"), *(row_line(one, None, layout, 0.0) for one in rows)]
    lines += [title(width, "dockerd 20", "/run/dockyard.sock", rows, 1), rule(width, "web log", "following")]
    lines += [key_line(width, "containers", {})]
    for line in lines:
        text = "".join(piece for piece, _ in line)
        assert len(text) == width or width < 40, text
        assert len(text) <= width + 40


@pytest.mark.parametrize("height", range(5, 60, 5))
@pytest.mark.parametrize("count", [0, 3, 500])
def test_list_and_log_both_have_room(height: int, count: int) -> None:
    assert 3 <= split(height, count) <= max(3, height // 2)
    assert split(height, count, zoomed=True) == 0


def test_names_that_would_break_the_columns_are_made_harmless() -> None:
    line = row_line(row("a\x1b[2Jb\u202e漢"), None, columns(80, []), 0.0)
    text = "".join(piece for piece, _ in line)
    assert text.isprintable()
    assert "a?[2Jb??" in text


def test_sorted_rows_keep_running_ones_first() -> None:
    rows = [row("b"), row("a", "exited", "Exited (0) now"), row("c")]
    assert [one.name for one in in_order(rows)] == ["b", "c", "a"]
    assert [one.name for one in in_order(rows, "name", True)] == ["c", "b", "a"]


def test_numbers_in_names_are_sorted_as_numbers() -> None:
    names = ["web-10", "web-9", "web", "9", "db2x", "db10", "web-9-a"]
    assert [one.name for one in in_order([row(name) for name in names], "name")] == [
        "9", "db2x", "db10", "web", "web-9", "web-9-a", "web-10",
    ]  # fmt: skip


def test_ascii_has_the_same_length() -> None:
    assert to_ascii("● web → 80 … 漢") == "* web > 80 ~ ?"


@pytest.mark.parametrize("name", themes.names())
@pytest.mark.parametrize("depth", ["truecolor", "256"])
def test_the_first_picture_has_the_colours_of_all_later_ones(name: str, depth: str) -> None:
    from rich.style import Style

    from tui.app import sgr_color
    from tui.cells import sgr_of
    from tui.widgets.paint import color

    for role, value in themes.load(name).colors.items():
        style = Style(color=color(value), bgcolor=color(value), meta={"depth": depth})
        ours = ";".join(sgr_color(value, depth, 30) + sgr_color(value, depth, 40))
        assert ours == sgr_of(depth)(style), role


# ── the table of actions ──────────────────────────────────────────────────────────────────────────────────


def test_actions_have_names_handlers_and_help_of_their_own() -> None:
    from tui.workstation import Workstation

    assert len({action.name for action in ACTIONS}) == len(ACTIONS)
    for action in ACTIONS:
        assert callable(getattr(Workstation, f"do_{action.handler}")), action.name
        assert action.help.endswith("."), action.name


def test_no_key_means_two_things_in_one_place() -> None:
    for scope in ("containers", "log", "view"):
        keys = [key for action in ACTIONS if action.scope in (scope, "app") for key in action.keys.split(",")]
        assert len(keys) == len(set(keys)), scope


def test_whatever_destroys_asks_and_is_refused_when_reading_only() -> None:
    assert {action.name for action in ACTIONS if action.dangerous} == {"kill", "remove"}
    assert all(action.changes for action in ACTIONS if action.dangerous)


def test_bindings_can_be_rebound_by_the_actions_name() -> None:
    assert {getattr(binding, "id", "") for binding in bindings("app")} >= {"quit", "help"}


def test_the_footer_shows_the_keys_in_force() -> None:
    assert ("F2", "quit") in footer("containers", {"quit": "F2"})


# ── settings ──────────────────────────────────────────────────────────────────────────────────────────────


def load(tmp_path: Path, text: str) -> settings.Config:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return settings.load(str(path))


def test_no_file_means_the_defaults(tmp_path: Path) -> None:
    found = settings.load(str(tmp_path / "none.toml"))
    assert (found.problems, found.read_only, found.keys) == ([], False, {})


def test_every_setting_is_read(tmp_path: Path) -> None:
    text = 'theme = "dockyard-light"\nread_only = true\nmouse = false\nascii = true\n[keys]\nkill = "ctrl+k, f9"\n'
    found = load(tmp_path, text)
    assert (found.problems, found.theme, found.read_only) == ([], "dockyard-light", True)
    assert (found.use_mouse, found.use_ascii, found.keys) == (False, True, {"kill": "ctrl+k,f9"})


@pytest.mark.parametrize(
    ("text", "key", "allowed"),
    [
        ("read_only = 3", "read_only", "true or false"),
        ("mouse = 'yes'", "mouse", "auto"),
        ("colour = 1", "colour", "theme, read_only"),
        ("keys = 1", "keys", "[keys]"),
        ("[keys]\nexplode = 'x'", "keys.explode", "start-stop"),
        ("[keys]\nkill = ''", "keys.kill", "keys in quotes"),
        ("[keys]\nkill = 'd'", "remove", "has it"),
        ("not toml at all", "not valid TOML", "line 1"),
    ],
)
def test_a_wrong_setting_names_file_key_and_what_is_allowed(tmp_path: Path, text: str, key: str, allowed: str) -> None:
    found = load(tmp_path, text)
    assert len(found.problems) == 1
    assert str(tmp_path / "config.toml") in found.problems[0]
    assert key in found.problems[0]
    assert allowed in found.problems[0]


def test_over_ssh_the_mouse_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.Config().use_mouse
    monkeypatch.setenv("SSH_CONNECTION", "a 1 b 2")
    assert not settings.Config().use_mouse


# ── palettes ──────────────────────────────────────────────────────────────────────────────────────────────


def luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", themes.names())
def test_palettes_can_be_read_by_people(name: str) -> None:
    palette = themes.load(name)
    assert set(palette.colors) == set(themes.ROLES)
    if palette.ansi:
        return
    wanted = 7.0 if name == "high-contrast" else 4.5
    for role in ("text", "dim", "ok", "warn", "bad", "accent", "head"):
        assert contrast(palette[role], palette["background"]) >= wanted, role
    for role, back in (("bar_text", "bar"), ("cursor_text", "cursor"), ("match_text", "match"), ("bar_key", "bar")):
        assert contrast(palette[role], palette[back]) >= 4.5, role


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"colors": {"text": "red"}}, "colors.text"),
        ({"colors": {"txt": "#ffffff"}}, "no such role"),
        ({"colors": 1}, "table of roles"),
        ([], "JSON object"),
    ],
)
def test_a_bad_palette_is_an_error_that_says_where(tmp_path: Path, data: object, words: str) -> None:
    (tmp_path / "mine.json").write_text(json.dumps(data))
    with pytest.raises(themes.ThemeError, match=words):
        themes.load("mine", (str(tmp_path),))


def test_an_unknown_palette_names_the_known_ones() -> None:
    with pytest.raises(themes.ThemeError, match="dockyard-light"):
        themes.load("../../etc/passwd")
