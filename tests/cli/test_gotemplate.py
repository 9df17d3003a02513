"""Go templates. The expectations were recorded from ``docker inspect -f`` (28.2) of a container with this record."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.cli import gofuncs
from tui.cli.gofuncs import MISSING, printed
from tui.cli.golex import ParseError
from tui.cli.gotemplate import ExecError, Template
from tui.cli.rows import container_noun

RECORD = {
    "Id": "64d010350187",
    "Name": "/bb",
    "State": {"Status": "running", "Paused": False, "Pid": 12446, "ExitCode": 0},
    "Config": {
        "Image": "busybox", "Domainname": "", "Cmd": ["sleep", "1000"], "Env": None, "Entrypoint": None,
        "Labels": {"x": "y"},
    },
    "HostConfig": {"NetworkMode": "none", "Binds": None, "Memory": 0, "Privileged": False, "PidsLimit": None},
    "NetworkSettings": {"Ports": {}, "Networks": {"none": {"IPAddress": "", "NetworkID": "db7ada6ee0f3"}}},
    "Mounts": [],
}  # fmt: skip


def render(template: str) -> str:
    return Template(template).execute(RECORD, strict=True)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.Name}}", "/bb"),
        ("{{.State.Status}} {{.Config.Image}}", "running busybox"),
        ("{{json .Config.Cmd}}", '["sleep","1000"]'),
        ("{{range .Config.Cmd}}<{{.}}>{{end}}", "<sleep><1000>"),
        ("{{range $i, $e := .Config.Cmd}}{{$i}}:{{$e}};{{end}}", "0:sleep;1:1000;"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}} {{else}}none{{end}}", "x=y "),
        ("{{with .State}}{{.Status}}{{end}}{{with .Config.Domainname}}x{{else}}none{{end}}", "runningnone"),
        ('{{if eq .State.Status "paused" "x"}}yes{{else if true}}b{{end}}', "b"),
        ("{{len .Config.Cmd}} {{len .Name}} {{len .Config.Labels}}", "2 3 1"),
        ("{{slice .Name 1 3}} {{slice .Config.Cmd 1}}", "bb [1000]"),
        ('{{split .Name "/"}} {{title "ab cd-ef"}} {{println 1 "a"}}', "[ bb] Ab Cd-Ef 1 a\n"),
        ('{{truncate .Name 3}} {{join .Config.Cmd ","}} {{index .Config.Cmd 1}}', "/bb sleep,1000 1000"),
        ('{{index .Config.Labels "x"}}|{{index .Config.Labels "foo"}}|', "y||"),
        ("{{.Config.Labels.foo}}|{{.Config.Labels.x}}", "<no value>|y"),
        (
            '{{printf "%s|%d|%v|%q|%5d|%-5s|%05d|%x|%t|%.2f|%%|%T" .Name 7 true .Name 5 "a" 42 255 true 1.5 "x"}}',
            '/bb|7|true|"/bb"|    5|a    |00042|ff|true|1.50|%|string',
        ),
        ('{{printf "%d" "x"}} {{printf "%s" 5}}', "%!d(string=x) %!s(int=5)"),
        ('{{printf "%d"}} {{printf "a" 1}}', "%!d(MISSING) a%!(EXTRA int=1)"),
        ('{{printf "%6.2f|%+d|%c|%b|%o" 3.14159 5 65 5 8}}', "  3.14|+5|A|101|10"),
        ('{{printf "%s" .Config.Cmd}} {{printf "%q" .Config.Cmd}}', '[sleep 1000] ["sleep" "1000"]'),
        ('{{printf "%10s|%-10v|" "ab" 12}}', "        ab|12        |"),
        ('{{print 1 2 "a" "b" 3}} {{print .Config.Cmd}}', "1 2ab3 [sleep 1000]"),
        ('{{ .Name | lower | upper | printf "%s!" }}', "/BB!"),
        ('x {{- "a" -}}   b   {{- "c" }}', "xabc"),
        ("{{/* comment */}}x{{- /* trim */ -}}  y", "xy"),
        ('{{$x := .Name}}{{$x}} {{$y := "a"}}{{if true}}{{$y = "b"}}{{end}}{{$y}}', "/bb b"),
        ('{{and 1 0 2}} {{or 0 "" "z"}} {{not 0}} {{and true .Name}}', "0 z true /bb"),
        ('{{lt 1 2}} {{le 2 2}} {{gt 1 2}} {{ge 2 1}} {{ne "a" "b"}} {{eq 1 2 1}}', "true true false true true true"),
        ('{{if and (eq .State.Status "running") (not .State.Paused)}}ok{{end}}', "ok"),
        ("{{(index .Config.Cmd 0)}} {{(.State).Status}}", "sleep running"),
        ('{{html "<a&b>"}} {{js "it\'s"}} {{urlquery "a b&c"}}', "&lt;a&amp;b&gt; it\\'s a+b%26c"),
        ("{{.HostConfig.NetworkMode}} {{.HostConfig.Binds}} {{.HostConfig.PidsLimit}}", "none [] <nil>"),
        ("{{.Config.Env}} {{.Config.Labels}} {{.Mounts}}", "[] map[x:y] []"),
        ("{{`raw\\n`}} {{\"a\\tb\"}} {{'a'}}", "raw\\n a\tb 97"),
        ("{{json .State.Health}} {{if .State.Health}}h{{else}}no{{end}}", "null no"),
        ('{{range .Config.Cmd}}{{if eq . "1000"}}{{break}}{{end}}{{.}}{{end}}', "sleep"),
        ('{{range .Config.Cmd}}{{if eq . "sleep"}}{{continue}}{{end}}{{.}}{{end}}', "1000"),
        ("{{range 3}}{{.}}{{end}}", "012"),
        ("{{1.5}} {{1e3}} {{0x10}} {{true}} {{1_000}}", "1.5 1000 16 true 1000"),
        ("{{range $n, $c := .NetworkSettings.Networks}}{{$n}}={{$c.IPAddress}}{{end}}", "none="),
        ('{{(index .NetworkSettings.Networks "none").NetworkID | len}}', "12"),
        ("{{.NetworkSettings.Networks.foo}}", "<no value>"),
        ('{{json "<a>&"}} {{pad "x" 1 2}}|', '"<a>&"  x  |'),
        ("{{with $x := .State}}{{$x.Status}}{{end}}", "running"),
        ("{{with .Config.Domainname}}x{{else with .Name}}{{.}}{{end}}", "/bb"),
        ("{{.Config.Labels | json | len}}", "9"),
        ("{{.ID}}", "64d010350187"),  # the name in Go's struct, which the typed inspect of Docker's takes
    ],
)
def test_values(template: str, text: str) -> None:
    assert render(template) == text


@pytest.mark.parametrize(
    ("template", "place", "shown", "why"),
    [
        ("{{.Nope}}", "1:2", ".Nope", 'map has no entry for key "Nope"'),
        ("{{.State.Nope}}", "1:8", ".State.Nope", 'map has no entry for key "Nope"'),
        ("x\ny {{ .State.Nope}}", "2:11", ".State.Nope", 'map has no entry for key "Nope"'),
        ("{{.Config.Cmd.Foo}}", "1:9", ".Config.Cmd.Foo", "can't evaluate field Foo in type interface {}"),
        ("{{.Name.Foo}}", "1:7", ".Name.Foo", "can't evaluate field Foo in type interface {}"),
        ("{{index .Config.Cmd 9}}", "1:2", "index .Config.Cmd 9", "error calling index: index out of range: 9"),
        ("{{eq .Name}}", "1:2", "eq .Name", "error calling eq: missing argument for comparison"),
        ('{{eq 1 "a"}}', "1:2", 'eq 1 "a"', "error calling eq: incompatible types for comparison"),
        ('{{lt 1 "a"}}', "1:2", 'lt 1 "a"', "error calling lt: incompatible types for comparison"),
        ("{{len 5}}", "1:2", "len 5", "error calling len: len of type int"),
        ("{{5 | len}}", "1:6", "len", "error calling len: len of type int"),
        ('{{slice "abc" 2 1}}', "1:2", 'slice "abc" 2 1', "error calling slice: invalid slice index: 2 > 1"),
        ("{{nil}}", "1:2", "nil", "nil is not a command"),
        ('{{"a" "b"}}', "1:2", '"a"', 'can\'t give argument to non-function "a"'),
        ('{{"x" | .Name}}', "1:8", ".Name", "Name is not a method but has arguments"),
    ],
)
def test_execution_errors(template: str, place: str, shown: str, why: str) -> None:
    with pytest.raises(ExecError) as caught:
        render(template)
    assert str(caught.value) == f'template: :{place}: executing "" at <{shown}>: {why}'


@pytest.mark.parametrize("template", ["{{.Label}}", '{{.ID "x"}}', "{{range .}}{{end}}", '{{printf "%c" 99999999999}}'])
def test_rows_take_the_arguments_they_have(template: str) -> None:
    row = gofuncs.Record(container_noun(), {"Id": "1", "Created": 0}, True)
    with pytest.raises(ExecError, match="template: :1:"):
        Template(template).execute(row)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{nofunc .}}", 'function "nofunc" not defined'),
        ("{{if}}", "missing value for if"),
        ("{{range .Config.Cmd}}", "unexpected EOF"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{else}}", "unexpected {{else}}"),
        ('{{"abc}}', "unterminated quoted string"),
        ("{{.Name", "unclosed action"),
        ("{{$nope}}", 'undefined variable "$nope"'),
        ("{{(.Name}}", "unclosed left paren"),
        ("{{.Name)}}", "unexpected right paren"),
        ("{{break}}", "{{break}} outside {{range}}"),
        ("{{}}", "missing value for command"),
        ("{{/* a }}", "unclosed comment"),
    ],
)
def test_parse_errors(template: str, text: str) -> None:
    with pytest.raises(ParseError) as caught:
        Template(template)
    assert str(caught.value) == text


def test_outside_strict_templates_a_missing_member_has_no_value() -> None:
    assert Template("{{.Nope}}").execute(RECORD) == "<no value>"
    assert printed(MISSING) == "<no value>"


@given(st.text(alphabet="{}-. \"'`|()$:=,abifrend0159/*\\\n", max_size=40))
def test_any_text_is_a_template_or_a_typed_error(text: str) -> None:
    try:
        Template("{{" + text + "}}").execute(RECORD, strict=True)
    except (ParseError, ExecError):
        pass
