"""The request laid over the image's defaults."""

from __future__ import annotations

from typing import Any

import pytest

from core.container.config import parse_create
from core.container.merge import command_line, environment, merge_environment, merge_image_config
from core.errors import InvalidArgument
from core.oci import ImageConfig

IMAGE: ImageConfig = {
    "Entrypoint": ["/entry"],
    "Cmd": ["default"],
    "Env": ["PATH=/img", "A=image", "B=image"],
    "Labels": {"l": "image", "m": "image"},
    "User": "app",
    "WorkingDir": "/srv",
    "StopSignal": "SIGINT",
}


def merged(**members: Any) -> dict[str, Any]:
    return merge_image_config(parse_create({"Image": "i", **members}).config, IMAGE)


@pytest.mark.parametrize(
    ("members", "line"),
    [
        ({}, ["/entry", "default"]),
        ({"Cmd": ["mine"]}, ["/entry", "mine"]),
        ({"Entrypoint": ["/other"]}, ["/other"]),
        ({"Entrypoint": ["/other"], "Cmd": ["x"]}, ["/other", "x"]),
        ({"Entrypoint": [""], "Cmd": ["x"]}, ["x"]),
        ({"Entrypoint": [], "Cmd": ["x"]}, ["x"]),
        ({"Entrypoint": "/one"}, ["/one"]),
    ],
)
def test_command_lines(members: dict[str, Any], line: list[str]) -> None:
    assert command_line(merged(**members)) == line


def test_no_command_at_all_is_an_error() -> None:
    with pytest.raises(InvalidArgument, match="No command"):
        merge_image_config(parse_create({"Image": "i"}).config, {})
    with pytest.raises(InvalidArgument, match="No command"):
        merged(Entrypoint=[""])


def test_variables_and_labels_unite_with_the_request_winning() -> None:
    config = merged(Env=["A=mine", "C=mine"], Labels={"m": "mine"})
    assert config["Env"] == ["PATH=/img", "A=mine", "B=image", "C=mine"]
    assert config["Labels"] == {"l": "image", "m": "mine"}


def test_the_request_wins_over_single_values() -> None:
    assert [merged()[key] for key in ("User", "WorkingDir", "StopSignal")] == ["app", "/srv", "SIGINT"]
    config = merged(User="me", WorkingDir="/w", StopSignal="SIGHUP")
    assert [config[key] for key in ("User", "WorkingDir", "StopSignal")] == ["me", "/w", "SIGHUP"]


def test_a_bare_name_removes_a_variable() -> None:
    assert merge_environment(["A=1", "B=2"], ["A"]) == ["B=2"]


def test_pid_1_gets_path_hostname_and_term() -> None:
    config = merge_image_config(
        parse_create({"Image": "i", "Cmd": ["x"], "Tty": True, "Env": ["TERM=vt100"]}).config, {}
    )
    env = environment(config, "box")
    assert env[0].startswith("PATH=/usr/local/sbin")
    assert "HOSTNAME=box" in env
    assert "TERM=vt100" in env
    assert "TERM=xterm" not in env
