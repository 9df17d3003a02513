"""Every check of ``guest_*.py`` as a test; the machines that run them are booted when the first one asks.

Where root and Debian make a machine possible, one that does not come up is a failure; elsewhere the tests are skipped
and say why.
"""

from __future__ import annotations

import functools
import os
import sys

import pytest

from tests.support import CHECKOUT
from tests.vm import guest, machine, wheels

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.timeout(900)]
_SECONDS = 800.0
#: systemd's own way back to version 1; the second word is asked for since 256.
_HYBRID = (
    "systemd.unified_cgroup_hierarchy=false systemd.legacy_systemd_cgroup_controller=false "
    "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"
)
#: The first systemd without version 1.
_WITHOUT_V1 = 258


def _impossible(boot: str) -> str:
    if boot == "hybrid" and machine.systemd_version() >= _WITHOUT_V1:
        return f"systemd {machine.systemd_version()} has no cgroup version 1 any more"
    return machine.impossible()


@functools.cache
def _outcomes(boot: str, names: tuple[str, ...]) -> tuple[dict[str, guest.Outcome], str]:
    """The checks' outcomes and all that the machine wrote."""
    keep = [CHECKOUT]
    if boot == "install":
        keep.append(wheels.folder())  # before the machine is without a network
    result = machine.run(
        [sys.executable, "-B", "-m", "tests.vm.guest", *names],
        systemd=boot != "plain",
        words=_HYBRID if boot == "hybrid" else "",
        cwd=CHECKOUT,
        keep=[kept for path in keep for kept in machine.to_keep(path)],
        timeout=_SECONDS,
    )
    return guest.parse(result.output), f"exit code {result.code}\n{result.output}"


@pytest.fixture(scope="session")
def chosen(request: pytest.FixtureRequest) -> dict[str, tuple[str, ...]]:
    """The names of the checks that this run selected, by the way to boot."""
    found: dict[str, list[str]] = {}
    for item in request.session.items:
        one = item.callspec.params.get("one") if isinstance(item, pytest.Function) and hasattr(item, "callspec") else 0
        if isinstance(one, guest.Check):
            found.setdefault(one.boot, []).append(one.name)
    return {boot: tuple(names) for boot, names in found.items()}


@pytest.mark.parametrize("one", [pytest.param(one, id=one.name) for one in guest.load()])
def test_in_the_machine(one: guest.Check, chosen: dict[str, tuple[str, ...]]) -> None:
    if one.boot == "install" and not os.environ.get("DOCKYARD_TEST_INSTALL"):
        pytest.skip("an installation takes five minutes: DOCKYARD_TEST_INSTALL=1 tests it")
    if reason := _impossible(one.boot):
        pytest.skip(f"no machine to test in: {reason}")
    outcomes, everything = _outcomes(one.boot, chosen[one.boot])
    assert one.name in outcomes, f"the machine ended before this check did:\n{everything[-4000:]}"
    outcome = outcomes[one.name]
    print(f"{outcome.seconds} s inside\n{outcome.output}")
    assert outcome.code == 0, f"exit code {outcome.code}"


def test_outcomes_are_read_back() -> None:
    text = "noise\n::check begin a.b\nTraceback\n  line\n::check end a.b 1 0.50\n::check begin a.c\nx\n"
    assert guest.parse(text) == {"a.b": guest.Outcome(1, 0.5, "Traceback\n  line")}
