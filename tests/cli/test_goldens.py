"""Templates print what docker's command line printed, recorded by ``tests.cli.golden.record``."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.golden.record import GOLDEN
from tests.cli.golden.templates import RECORD, TEMPLATES
from tui.cli.golex import ParseError
from tui.cli.gotemplate import ExecError, Template

CASES = json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("case", CASES, ids=[case["template"] for case in CASES])
def test_as_docker_prints_it(case: dict[str, Any]) -> None:
    if case["code"] == 0:
        assert Template(case["template"]).execute(RECORD, strict=True) + "\n" == case["out"]
        return
    with pytest.raises((ParseError, ExecError)) as caught:
        Template(case["template"]).execute(RECORD, strict=True)
    assert str(caught.value) in case["err"]


def test_every_template_is_recorded() -> None:
    assert [case["template"] for case in CASES] == TEMPLATES
    assert len(CASES) >= 150
