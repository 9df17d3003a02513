"""What an image or a container says about itself never steers the terminal it is shown on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.fake import FakeEngine, Handler, dockyard

#: Colours, a title, CSI as one character (C1), delete, a line that reads backwards, an answer-back, a paragraph end.
EVIL = "\x1b[31mred\x1b]0;title\x07\x9b5m\x7f\u202egnp.exe\u2066\x05\r\x08\u2029end"
STEERING = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0), *range(0x2028, 0x202F), *range(0x2066, 0x206A))]
ID = "sha256:" + "a" * 64

IMAGE: dict[str, Any] = {
    "Id": ID, "ParentId": "", "RepoTags": ["app:1"], "RepoDigests": [], "Created": 1, "Size": 5, "SharedSize": -1,
    "Labels": {EVIL: EVIL}, "Containers": -1,
}  # fmt: skip
INSPECTED = {
    "Id": ID, "RepoTags": ["app:1"], "RepoDigests": [], "Created": "2024-01-01T00:00:00Z", "Author": EVIL,
    "Comment": EVIL, "Architecture": EVIL, "Os": "linux", "Size": 5,
    "Config": {"Labels": {EVIL: EVIL}, "Env": [f"A={EVIL}"], "Cmd": [EVIL]},
}  # fmt: skip
HISTORY = [{"Id": ID, "Created": 1, "CreatedBy": EVIL, "Tags": None, "Size": 0, "Comment": EVIL}]
TREE = {
    "Id": ID, "Tags": ["app:1"], "Size": 1, "Wasted": 1, "Efficiency": 1.0,
    "Layers": [{"DiffId": ID, "Size": 1, "CreatedBy": EVIL, "Created": 1, "Comment": EVIL, "Empty": False, "Added": 1,
                "Changed": 0, "Removed": 0, "Wasted": 0,
                "Files": [{"Path": f"/{EVIL}", "Kind": "added", "Type": "link", "Mode": 420, "Size": 1,
                           "Target": EVIL}]}],
    "WastedFiles": [{"Path": f"/{EVIL}", "Size": 1, "Count": 1}],
}  # fmt: skip
CONTAINER = {
    "Id": "b" * 64, "Names": ["/box"], "Image": "app:1", "ImageID": ID, "Command": EVIL, "Created": 1, "Ports": [],
    "Labels": {EVIL: EVIL}, "State": "running", "Status": "Up 1 second", "Mounts": [], "SizeRw": 0,
    "NetworkSettings": {"Networks": {}}, "HostConfig": {"NetworkMode": "none"},
}  # fmt: skip


@pytest.fixture
def engine(fake: Callable[[dict[str, Handler]], FakeEngine]) -> FakeEngine:
    return fake(
        {
            "GET /images/json": lambda exchange: exchange.reply([IMAGE]),
            "GET /images/app:1/json": lambda exchange: exchange.reply(INSPECTED),
            "GET /images/app:1/history": lambda exchange: exchange.reply(HISTORY),
            "GET /dockyard/v1/images/app:1/tree": lambda exchange: exchange.reply(TREE),
            "GET /containers/json": lambda exchange: exchange.reply([CONTAINER]),
        }
    )


@pytest.mark.security
@pytest.mark.parametrize(
    "command",
    [
        "images", "images --no-trunc", "images --format json", "history app:1", "history --no-trunc app:1",
        "history --format json app:1", "image inspect app:1", "image inspect --format json app:1", "image tree app:1",
        "image tree --no-trunc app:1", "image tree --layer 0 app:1", "image tree --format json app:1", "ps",
        "ps --no-trunc", "ps --format json",
    ],
)  # fmt: skip
def test_tables_and_json_show_escapes_escaped(engine: FakeEngine, command: str) -> None:
    done = dockyard(engine, *command.split())
    shown = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, shown
    assert [char for char in STEERING if char in shown and char not in "\n\t"] == [], shown
