"""``image tree``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.cli.fake import FakeEngine, Handler, dockyard

TREE: dict[str, Any] = {
    "Id": "sha256:" + "a" * 64, "Tags": ["app:1"], "Size": 3000, "Wasted": 1000, "Efficiency": 0.75,
    "Layers": [
        {"DiffId": "sha256:" + "b" * 64, "Size": 2000, "CreatedBy": "/bin/sh -c #(nop) ADD file:x in / ",
         "Created": 1, "Comment": "", "Empty": False, "Added": 7, "Changed": 0, "Removed": 0, "Wasted": 0},
        {"DiffId": "", "Size": 0, "CreatedBy": 'CMD ["sh"]', "Created": 1, "Comment": "", "Empty": True,
         "Added": 0, "Changed": 0, "Removed": 0, "Wasted": 0},
        {"DiffId": "sha256:" + "c" * 64, "Size": 1000, "CreatedBy": "RUN " + "x" * 60, "Created": 1, "Comment": "",
         "Empty": False, "Added": 1, "Changed": 2, "Removed": 3, "Wasted": 1000,
         "Files": [{"Path": "/a\nb\x1b[31m", "Kind": "removed", "Type": "file", "Mode": 420, "Size": 1000},
                   {"Path": "/d", "Kind": "added", "Type": "dir", "Mode": 493, "Size": 0}]},
    ],
    "WastedFiles": [{"Path": "/a", "Size": 1000, "Count": 1}],
}  # fmt: skip


def test_layers_in_lines(fake: Callable[[dict[str, Handler]], FakeEngine]) -> None:
    engine = fake({"GET /dockyard/v1/images/app:1/tree": lambda exchange: exchange.reply(TREE)})
    lines = dockyard(engine, "image", "tree", "app:1").stdout.decode().splitlines()
    assert lines[0] == "app:1: 3kB, 1kB of it hidden below later layers, efficiency 75.0%"
    assert lines[3].split() == ["0", "b" * 12, "2kB", "7", "0", "0", "ADD", "file:x", "in", "/"]
    assert lines[4].split() == ["1", "CMD", '["sh"]']
    assert lines[5].endswith("RUN " + "x" * 40 + "…")
    assert lines[-1].split() == ["1kB", "1", "/a"]
    wide = dockyard(engine, "image", "tree", "--no-trunc", "app:1").stdout.decode()
    assert "RUN " + "x" * 60 in wide
    assert "c" * 64 in wide


def test_files_of_one_layer(fake: Callable[[dict[str, Handler]], FakeEngine]) -> None:
    engine = fake({"GET /dockyard/v1/images/app:1/tree": lambda exchange: exchange.reply(TREE)})
    out = dockyard(engine, "image", "tree", "--layer", "2", "app:1").stdout.decode()
    assert engine.requests[-1].target == "/dockyard/v1/images/app:1/tree?layer=2"
    assert out.splitlines()[1:] == ["-       1kB  /a\\nb\\x1b[31m", "+       dir  /d"]
    dockyard(engine, "image", "tree", "--layer", "0", "app:1")
    assert engine.requests[-1].target == "/dockyard/v1/images/app:1/tree?layer=0"


def test_formats(fake: Callable[[dict[str, Handler]], FakeEngine]) -> None:
    engine = fake({"GET /dockyard/v1/images/app:1/tree": lambda exchange: exchange.reply(TREE)})
    done = dockyard(engine, "image", "tree", "--format", "json", "app:1")
    assert json.loads(done.stdout) == TREE
    assert dockyard(engine, "image", "tree", "-f", "{{.Wasted}}", "app:1").stdout == b"1000\n"
