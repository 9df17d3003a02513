"""Every check of ``guest_*.py`` as a test; the machines that run them are booted when the first one asks.

Where root and Debian make a machine possible, one that does not come up is a failure; elsewhere the tests are skipped
and say why.
"""

from __future__ import annotations

import functools

import pytest

from tests.support import CHECKOUT
from tests.vm import guest, machine

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.timeout(900)]
_SECONDS = 800.0


@functools.cache
def _outcomes(systemd: bool, names: tuple[str, ...]) -> tuple[dict[str, guest.Outcome], str]:
    """The checks' outcomes and all that the machine wrote."""
    suite = "systemd" if systemd else "plain"
    argv = [str(CHECKOUT / ".venv/bin/python"), "-B", "-m", "tests.vm.guest", suite, *names]
    result = machine.run(argv, systemd=systemd, cwd=CHECKOUT, keep=machine.to_keep(CHECKOUT), timeout=_SECONDS)
    return guest.parse(result.output), f"exit code {result.code}\n{result.output}"


@pytest.fixture(scope="session")
def chosen(request: pytest.FixtureRequest) -> dict[bool, tuple[str, ...]]:
    """The names of the checks that this run selected, by machine."""
    found: dict[bool, list[str]] = {False: [], True: []}
    for item in request.session.items:
        one = getattr(item, "callspec", None) and item.callspec.params.get("one")  # type: ignore[attr-defined]
        if isinstance(one, guest.Check):
            found[one.systemd].append(one.name)
    return {systemd: tuple(names) for systemd, names in found.items()}


@pytest.mark.parametrize("one", [pytest.param(one, id=one.name) for one in guest.load()])
def test_in_the_machine(one: guest.Check, chosen: dict[bool, tuple[str, ...]]) -> None:
    if reason := machine.impossible():
        pytest.skip(f"no machine with cgroup v2: {reason}")
    outcomes, everything = _outcomes(one.systemd, chosen[one.systemd])
    assert one.name in outcomes, f"the machine ended before this check did:\n{everything[-4000:]}"
    outcome = outcomes[one.name]
    assert outcome.code == 0, f"exit code {outcome.code} after {outcome.seconds} s:\n{outcome.output}"


def test_outcomes_are_read_back() -> None:
    text = "noise\n::check begin a.b\nTraceback\n  line\n::check end a.b 1 0.50\n::check begin a.c\nx\n"
    assert guest.parse(text) == {"a.b": guest.Outcome(1, 0.5, "Traceback\n  line")}
