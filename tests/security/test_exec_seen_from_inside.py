"""What a container can take from a process of ours that enters it for an exec (runc's CVE-2016-9962 and its kin).

Not dumpable is not enough: CAP_SYS_PTRACE, which people grant for strace and gdb, opens /proc/PID all the same.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import Engine, wait_until

pytestmark = [pytest.mark.root, pytest.mark.security]

#: Shell built-ins only: a loop fast enough to see a process that lives for a millisecond.
_SPY = """
: > /tmp/found; echo ready
while [ ! -e /tmp/stop ]; do
  for p in /proc/[0-9]*; do
    [ -e $p/root%(canary)s ] && echo "$p/root is the host's" >> /tmp/found
    for n in 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24; do
      [ -d $p/fd/$n ] && echo "a folder is open in a process" >> /tmp/found
    done
    while read key value; do
      [ "$key" = CapPrm: ] && [ $value != $CAPS ] && [ $value != 0000000000000000 ] &&
        echo "rights $value" >> /tmp/found
    done 2> /dev/null < $p/status
  done
done
sleep 1000
"""


@pytest.mark.parametrize("terminal", [False, True])
def test_nothing_of_the_host_can_be_taken_from_an_exec(
    engine: Engine, busybox: str, short_folder: Path, terminal: bool
) -> None:
    canary = short_folder / "canary"
    canary.touch()
    script = f"CAPS=$(sed -n 's/^CapPrm:.//p' /proc/self/status)\n{_SPY % {'canary': canary}}"
    run = ("run", "-d", "--name", "spy", "--cap-add", "SYS_PTRACE", busybox, "sh", "-c", script)
    engine.dockyard(*run, check=True)
    wait_until(lambda: "ready" in engine.dockyard("logs", "spy").stdout, what="the spy looks")
    for number in range(20):
        user = ("-u", "1000") if number % 2 else ()
        flags = ("-d", "-t") if terminal else ()
        engine.dockyard("exec", *flags, *user, "spy", "true", check=True)
    found = engine.dockyard("exec", "spy", "sh", "-c", "touch /tmp/stop; sort /tmp/found | uniq -c", check=True)
    assert found.stdout == ""
