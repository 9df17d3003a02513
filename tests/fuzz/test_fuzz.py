"""A short run of each target, the same every time; and that a run would tell."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from tests.fuzz import run
from tests.fuzz.targets import TARGETS, Documents

pytestmark = [pytest.mark.root, pytest.mark.security]


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_a_few_hundred_inputs(name: str) -> None:
    target = TARGETS[name]()
    for data in islice(run.inputs(target, seed=1), 400):
        found = run.attempt(target, data)
        assert found is None, f"{data[:2000]!r}\n{found.text}"


def test_the_same_seed_makes_the_same_inputs() -> None:
    first, second, other = (list(islice(run.inputs(TARGETS["layers"](), seed), 60)) for seed in (5, 5, 6))
    assert first == second != other


def test_what_is_found_is_kept(tmp_path: Path) -> None:
    class Broken(Documents):
        def run(self, data: bytes) -> None:
            if b"}" in data[5:]:
                raise KeyError("a finding")

    said: list[str] = []
    found = run.fuzz(Broken(), 1, 60, lambda: None, said.append)
    assert found is not None
    assert "KeyError: 'a finding'" in found.text
    path = run.write(found, tmp_path / "kept", "documents")
    assert path.read_bytes() == found.data


def test_new_lines_of_the_engine_are_seen() -> None:
    lines, target = run.Lines(), Documents()
    with lines.watching():
        assert run.attempt(target, b"") is None
    few = len(lines.seen)
    with lines.watching():
        assert run.attempt(target, target.corpus[0]) is None
    assert 0 < few < len(lines.seen)
