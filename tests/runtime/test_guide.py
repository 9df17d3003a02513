"""A guide that is killed between making the exec's process and telling of it."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from tests.support import CHECKOUT

pytestmark = pytest.mark.root

#: In a process of its own: it forks without exec, and waits for whatever child there is.
_PROGRAM = textwrap.dedent(
    """
    import os, signal, sys
    sys.path.insert(0, sys.argv[1])
    from core.linux import syscalls
    from core.runtime.child import Child, Listener, make
    from core.runtime.poller import Poller

    def guide(report):
        os.setpgid(0, 0)
        pid, pidfd = syscalls.clone_sibling()
        if pid:
            if sys.argv[2] == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            report.born(pid, pidfd)
            os._exit(0)
        report.wait_for_start()
        os.setsid()
        report.ready()
        os._exit(7)

    class Told(Listener):
        def started(self): print("started")
        def failed(self, step, path, message, number, code): print(message)
        def ended(self, how): print("ended", how.code)

    poller = Poller()
    child = Child(poller, Told(), *make(0, None, guide), guide=True)
    while child.how is None:
        assert poller.run_once(10_000)
    poller.run_once(1_000)  # the guide's own end, where it comes after
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG)
        print("a child is left")
    except ChildProcessError:
        print("no child is left")
    """
)


@pytest.mark.parametrize(
    ("fate", "told"),
    [
        ("alive", "started\nended 7\nno child is left\n"),
        ("killed", "the process was killed by signal 9 before it reached its program\nended 137\nno child is left\n"),
    ],
)
def test_nothing_is_left(fate: str, told: str) -> None:
    argv = [sys.executable, "-I", "-c", _PROGRAM, str(CHECKOUT), fate]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.stderr) == (told, "")
