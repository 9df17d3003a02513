"""Pid 1 of a container started with ``--init``: passes signals on to the program, reaps what it orphaned.

It is a fork of the child that set the container up, so it stays a Python process: not dumpable, from the read-only
interpreter, with the imports sealed, and with no more rights than the program itself.
"""

from __future__ import annotations

import os
import signal
from typing import NoReturn

from core.linux import privileges, process, syscalls
from core.runtime.handshake import Report
from core.runtime.program import Program, connect, default_signals, execute, open_null

#: Raised by the process itself, by a mistake of it: not for anybody else.
_OWN = frozenset((signal.SIGFPE, signal.SIGILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGTRAP))


def run(program: Program, slave: int, report: Report) -> NoReturn:
    """Fork the program and care for it; ends with its exit code, 128 + the signal's number when one killed it."""
    # Blocked signals wait; pid 1 would lose those it has no handler for (signal(7), pid_namespaces(7)).
    signals = signal.valid_signals() - _OWN - {signal.SIGKILL, signal.SIGSTOP}
    default_signals()
    os.setsid()
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    child = os.fork()
    if child == 0:
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            connect(program.stdio, slave, program.process["user"]["uid"])
            execute(program, report)
        except BaseException as error:  # noqa: BLE001 - a forked child must never return into its parent's code
            report.fail(error)
    report.close()
    _settle(program)
    os._exit(_care(child, signals))


def _settle(program: Program) -> None:
    """Hold nothing open and keep no right that the program does not have."""
    try:
        null = open_null()
        for number in (0, 1, 2):
            os.dup2(null, number)
        syscalls.close_range(3)
        privileges.become(program.process, program.seccomp)
        process.hide_self()
    except BaseException:  # noqa: BLE001 - pid 1 with too many rights is worse than none
        os._exit(128)


def _care(child: int, signals: set[signal.Signals]) -> int:
    while True:
        number = signal.sigwait(signals)
        if number != signal.SIGCHLD:
            try:
                os.kill(child, number)
            except (ProcessLookupError, PermissionError):
                pass
            continue
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return 128
            if not pid:
                break
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
