"""What a create request is held against: the image it names, and this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence

from core.container.config import CreateRequest
from core.errors import InvalidArgument, NotFound
from core.image import platforms
from core.image.model import Image
from core.network.foreign import Findings


def create_warnings(request: CreateRequest, findings: Findings, bridges: Sequence[str]) -> list[str]:
    """What the person gets otherwise than asked for, and what they should know of it.

    ``bridges`` are those of the networks that the container is to be on.
    """
    host = request.host_config
    published = bool(host["PortBindings"] or host["PublishAllPorts"])
    if published and host["NetworkMode"] == "host":
        return ["Published ports are discarded when using host network mode"]
    texts = [
        "Published ports are discarded on network none" if published and host["NetworkMode"] == "none" else "",
        findings.bypass_warning(public_ports(host["PortBindings"])),
        *map(findings.drop_warning, bridges),
        "the environment variables of --link are not set: names are" if host["Links"] else "",
    ]
    return [text for text in texts if text]


def public_ports(bindings: dict[str, list[dict[str, str]]]) -> list[str]:
    """Those of ``bindings`` that are open to other machines."""
    return [
        f"{item['HostPort'] or 'a port'} ({key})"
        for key, items in bindings.items()
        for item in items
        if not item["HostIp"].startswith("127.") and item["HostIp"] != "::1"
    ]


def check_platform(platform: str, image: Image) -> None:
    """Refuse an image for another processor, naming both."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    if platform and not image.is_host:
        wanted, found = platforms.parse(platform), platforms.of(dict(image.config))
        if wanted != found:
            # NotFound makes clients pull the other one.
            raise NotFound(
                f"image {image.id[7:19]} was found but its platform ({found}) does not match the specified platform "
                f"({wanted})",
                hint="pull it for that platform",
            )
    if image.architecture and image.architecture != machine:
        raise InvalidArgument(
            f"the image is for linux/{image.architecture}, this machine is linux/{machine}",
            hint="bring in an image that was built for this machine",
        )
