"""What a create request is held against."""

from __future__ import annotations

import pytest

from core import oci
from core.container.admission import check_platform
from core.errors import DockyardError, NotFound
from core.image import platforms
from core.image.model import Image


def image(architecture: str, variant: str = "") -> Image:
    config: oci.Image = {
        "architecture": architecture,
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": []},
        "history": [],
    }
    return Image("sha256:" + "a" * 64, config | {"variant": variant} if variant else config, (), 0, 0)


def test_another_platform_is_not_found_so_that_clients_pull_it() -> None:
    here = platforms.here()
    check_platform(f"linux/{here.architecture}", image(here.architecture))
    check_platform("", image(here.architecture))
    with pytest.raises(NotFound, match=r"\(linux/s390x\) does not match the specified platform \(linux/"):
        check_platform(f"linux/{here.architecture}", image("s390x"))
    with pytest.raises(DockyardError, match="is for linux/s390x, this machine"):
        check_platform("", image("s390x"))
