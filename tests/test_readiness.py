"""An engine that is a service tells its manager when it listens and when it leaves."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from core.__main__ import notify
from tests.support import Engine

pytestmark = pytest.mark.root


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts an engine")
def test_ready_is_said_when_the_socket_answers(short_folder: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(short_folder / "notify"))
        manager.settimeout(20)
        engine = Engine(short_folder, env={"NOTIFY_SOCKET": str(short_folder / "notify")})
        engine.start(ready=False)
        try:
            assert manager.recv(100) == b"READY=1"
            assert engine.answers()
            os.kill(engine.pid, signal.SIGTERM)
            assert manager.recv(100) == b"STOPPING=1"
            assert engine.wait_exit() == 0
        finally:
            engine.close()


def test_a_name_without_a_file_is_understood() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("")
        manager.settimeout(5)
        name = manager.getsockname().decode()
        assert name.startswith("\0")
        notify("@" + name[1:], "READY=1")
        assert manager.recv(100) == b"READY=1"


def test_a_manager_that_is_gone_is_no_failure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    notify("", "READY=1")
    assert caplog.text == ""
    notify(str(tmp_path / "gone"), "READY=1")
    assert "cannot tell the service manager READY=1: No such file or directory" in caplog.text
