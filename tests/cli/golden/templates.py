"""The record and the templates that the golden outputs were made of."""

from __future__ import annotations

RECORD = {
    "Id": "64d010350187", "Name": "/web-one", "RestartCount": 2,
    "State": {"Status": "running", "Running": True, "Paused": False, "Pid": 12446, "ExitCode": 0},
    "Config": {"Image": "busybox", "Cmd": ["sleep", "1000"], "Env": ["A=1", "B=two"], "Labels": {"x": "y", "a": "b"}},
    "HostConfig": {"NetworkMode": "none", "Memory": 0, "Privileged": False},
    "NetworkSettings": {"Networks": {"none": {"IPAddress": "10.0.0.2", "NetworkID": "db7ada6ee0f3"}}},
    "Mounts": [],
}  # fmt: skip

_STRINGS = (".Name", ".State.Status", ".Config.Image", ".HostConfig.NetworkMode", "(index .Config.Cmd 0)", '"a b-c"')
_ON_STRINGS = (
    "{{%s}}", "{{json %s}}", "{{upper %s}}", "{{lower %s}}", "{{title %s}}", "{{len %s}}", "{{truncate %s 3}}",
    "{{slice %s 1 3}}", '{{split %s "-"}}', '{{join (split %s "n") "+"}}', "{{printf \"%%q|%%8s\" %s %s}}",
    '{{if eq %s "running" "none"}}y{{else}}n{{end}}', '{{%s | printf "%%s!" | upper}}', "{{print %s 1 2}}",
    '{{$v := %s}}{{if and $v (ne $v "x")}}{{$v}}{{end}}', '{{if lt %s "m"}}lt{{else if ge %s "s"}}ge{{else}}m{{end}}',
)  # fmt: skip
_NUMBERS = (".State.Pid", ".State.ExitCode", ".RestartCount", ".HostConfig.Memory")
_ON_NUMBERS = (
    "{{%s}}", "{{json %s}}", '{{printf "%%d %%x %%05d" %s %s %s}}', "{{if gt %s 1}}many{{else}}few{{end}}",
    "{{println %s}}", "{{not %s}}", "{{or %s 7}}", "{{and %s 7}}", "{{le %s 2}}",
)  # fmt: skip
_WHOLE = (
    "{{range .Config.Env}}[{{.}}]{{end}}", "{{range $i, $v := .Config.Cmd}}{{$i}}={{$v}};{{end}}",
    "{{range .Mounts}}m{{else}}none{{end}}", "{{range $k, $v := .Config.Labels}}{{$k}}={{$v}},{{end}}",
    "{{json .Config.Labels}}", "{{.Config.Labels.x}}", "{{len .Config.Env}}", '{{index .Config.Labels "a"}}',
    '{{join .Config.Env ","}}', "x {{- .Name -}} y", "{{/* no */}}z", "{{with .State}}{{.Pid}}{{end}}",
    "{{range $n, $c := .NetworkSettings.Networks}}{{$n}} {{$c.IPAddress}}{{end}}", "{{.State.Running}}",
    "{{", "{{nope}}", "{{if}}", "{{end}}", "{{.Name", "{{.Nope}}", "{{range .Config.Env}}", '{{"a}}',
)  # fmt: skip


def _filled(form: str, value: str) -> str:
    return form % ((value,) * (form.count("%s") - form.count("%%s")))


TEMPLATES = [
    *(_filled(form, value) for form in _ON_STRINGS for value in _STRINGS),
    *(_filled(form, value) for form in _ON_NUMBERS for value in _NUMBERS),
    *_WHOLE,
]
