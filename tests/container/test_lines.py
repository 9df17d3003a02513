"""What would become a line of a container's files, or of its kernel's settings."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from core.container import bundle
from core.container.config import parse_create
from core.errors import Exhausted, InvalidArgument
from core.network.ports import parse_bindings


def create(config: dict[str, Any] | None = None, **host: Any) -> Any:
    return parse_create({"Image": "a", **(config or {}), "HostConfig": host}, "")


@pytest.mark.parametrize("member", ["Dns", "DnsSearch", "DnsOptions", "ExtraHosts", "Links"])
@pytest.mark.parametrize("text", ["a:1\nevil 6.6.6.6", "a:1\r", "a:\x1b[31m"])
def test_one_text_is_one_line(member: str, text: str) -> None:
    with pytest.raises(InvalidArgument, match=f"HostConfig.{member}"):
        create(None, **{member: [text]})


@pytest.mark.parametrize("name", [".", "..", "...", "a b", "a\n"])
@pytest.mark.parametrize("member", ["Hostname", "Domainname"])
def test_names_that_are_none(member: str, name: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid"):
        create({member: name})


@pytest.mark.parametrize("name", ["", ".", "..", "../../etc/passwd", "net..ipv4", "net.ipv4 x", "net.\n"])
def test_settings_of_the_kernel_that_are_none(name: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid sysctl"):
        create(Sysctls={name: "1"})


@pytest.mark.parametrize("port", ["٨٠", "８０", "²"])
def test_digits_are_ascii(port: str) -> None:
    with pytest.raises(InvalidArgument, match="a port is a number"):
        parse_bindings({"80/tcp": [{"HostPort": port}]})
    with pytest.raises(InvalidArgument, match="a port is a number"):
        parse_bindings({f"{port}/tcp": []})


def test_a_full_disk_is_told_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(Exhausted, match=r"write .*config\.json: no space left on device"):
        bundle.write_json(str(tmp_path / "config.json"), {})
