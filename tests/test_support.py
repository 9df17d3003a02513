"""The tools of the tests can fail: waiting, terminals, archives, the leak check."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests import images, leaks
from tests.support import MARK, Engine, wait_until, wait_until_async
from tests.terminal import Pty, Tmux, plain


def test_wait_until_returns_the_value_and_fails_with_what() -> None:
    values = iter([0, "", "there"])
    assert wait_until(lambda: next(values), 5) == "there"
    with pytest.raises(AssertionError, match="the moon"):
        wait_until(lambda: False, 0.02, "the moon")


async def test_wait_until_async_lets_others_run() -> None:
    event = asyncio.Event()

    async def is_set() -> bool:
        event.set()
        return event.is_set()

    assert await wait_until_async(is_set, 5)
    with pytest.raises(AssertionError, match="the moon"):
        await wait_until_async(lambda: False, 0.02, "the moon")


def test_plain_strips_escape_sequences() -> None:
    assert plain(b"\x1b[1;31mred\x1b[0m \x1b]0;title\x07\x1b[?25lend") == "red end"


def test_pty_has_its_size_at_once_and_gives_the_exit_code() -> None:
    script = "stty size; read line; stty size; tty >/dev/null && exit 7"
    with Pty(["sh", "-c", script], env=dict(os.environ), rows=33, cols=77) as terminal:
        terminal.expect("33 77")
        terminal.resize(11, 22)
        terminal.send("go\n")
        terminal.expect("11 22")
        assert terminal.wait() == 7


def test_pty_expect_fails_when_the_process_ends() -> None:
    with Pty(["echo", "hello"], env=dict(os.environ)) as terminal:
        with pytest.raises(AssertionError, match="closed"):
            terminal.expect("never")
        assert terminal.wait() == 0


def test_tmux_types_reads_and_resizes(short_folder: Path) -> None:
    with Tmux(short_folder, ["sh", "-c", "read line; echo got:$line; exit 3"], env=dict(os.environ)) as screen:
        assert screen.alive()
        screen.resize(20, 60)
        screen.type("word")
        screen.keys("Enter")
        screen.wait_for("got:word")
        wait_until(lambda: not screen.alive(), 5, "the program ended")
        assert screen.exit_code() == 3


def test_archives_are_reproducible_and_whole() -> None:
    layers = [images.layer([images.folder("a"), images.Entry("a/file", b"text"), images.symlink("a/link", "file")])]
    config = images.image_config(layers, Cmd=["sh"])
    first, second = (images.docker_archive(layers, config, ["x:y"]) for _ in range(2))
    assert first == second
    with tarfile.open(fileobj=io.BytesIO(first)) as tar:
        manifest = tar.extractfile("manifest.json")
        assert manifest is not None
        (entry,) = json.load(manifest)
        assert entry["RepoTags"] == ["x:y"]
        data = tar.extractfile(entry["Layers"][0])
        assert data is not None
        assert images.digest(data.read()) == config["rootfs"]["diff_ids"][0]


def test_busybox_rootfs_has_a_shell() -> None:
    with tarfile.open(fileobj=io.BytesIO(images.busybox_rootfs())) as tar:
        assert tar.getmember("bin/busybox").mode == 0o755
        assert tar.getmember("bin/sh").linkname == "busybox"


def test_leaks_names_a_process_and_a_folder(tmp_path: Path) -> None:
    before = leaks.snapshot()
    assert leaks.leftovers(tmp_path, before) == []
    (tmp_path / "kept").mkdir()
    reader, writer = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-IS", "-c", "import sys; sys.stdin.read()"],
        stdin=reader,
        env={**os.environ, MARK: str(tmp_path)},
    )
    os.close(reader)
    try:
        # The mark is in the environment alone, as with a monitor.
        wait_until(lambda: leaks.processes(tmp_path), 5, "the process is seen")
        found = leaks.leftovers(tmp_path, before)
        assert any(text.startswith(f"process {child.pid}:") for text in found)
        assert f"folder: {tmp_path / 'kept'}" in found
        leaks.kill_leftovers(tmp_path)
        assert child.wait(5) < 0
    finally:
        os.close(writer)
        child.wait(5)


def test_leaks_sees_who_has_only_a_descriptor_and_its_children(tmp_path: Path) -> None:
    """As a monitor: no environment, no path in its arguments, another working directory."""
    log = tmp_path / "log"
    with log.open("wb") as output:
        child = subprocess.Popen(
            ["/bin/sh", "-c", "sleep 1000 >&- 2>&- & echo $!; wait"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
        )
    try:
        grandchild = int(wait_until(log.read_text, 5, "the child tells its own"))
        wait_until(lambda: "sleep" in leaks.processes(tmp_path).get(grandchild, ""), 5, "the grandchild is seen")
        assert child.pid in leaks.processes(tmp_path)
    finally:
        leaks.kill_leftovers(tmp_path)
        child.wait(5)
    wait_until(lambda: not leaks.processes(tmp_path), 5, "both are gone")


@pytest.mark.root
def test_leaks_names_a_mount(tmp_path: Path) -> None:
    before = leaks.snapshot()
    subprocess.run(["mount", "-t", "tmpfs", "leak", tmp_path], check=True)
    try:
        assert any(text.startswith("mount: ") for text in leaks.leftovers(tmp_path, before))
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert leaks.leftovers(tmp_path, before) == []


#: A daemon that answers every request with an empty list, and says what it was started with.
FAKE_DAEMON = """
import os, socket, sys
path = sys.argv[sys.argv.index("--socket") + 1]
if os.environ.get("REFUSE"):
    sys.exit("refused to start")
os.makedirs(os.path.dirname(path), exist_ok=True)
if os.path.exists(path):
    os.unlink(path)
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen()
print("started", sys.argv[1], flush=True)
while True:
    client, _ = listener.accept()
    client.recv(65536)
    client.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: 2\\r\\n\\r\\n[]")
    client.close()
"""


@pytest.mark.root
def test_engine_starts_dies_and_comes_back(base_folder: Path) -> None:
    engine = Engine(base_folder, command=[sys.executable, "-IS", "-c", FAKE_DAEMON])
    engine.start()
    try:
        first = engine.pid
        assert engine.api("GET", "/containers/json").body == []
        assert "started serve" in engine.log
        engine.kill()
        assert not engine.answers()
        engine.start()
        assert engine.pid != first
        assert engine.stop() == -15
        with pytest.raises(AssertionError, match="refused to start"):
            engine.start(env={"REFUSE": "1"})
    finally:
        engine.close()
    assert not engine.folder.exists()
