"""What a create request is held against: the image it names, and this machine."""

from __future__ import annotations

import os

from core.container.config import CreateRequest
from core.errors import InvalidArgument
from core.image.model import Image

NETWORK_WARNING = "the network is none: bridge networks are not part of this version of Dockyard"


def create_warnings(request: CreateRequest) -> list[str]:
    """What the person gets otherwise than asked for."""
    warnings = []
    if request.host_config["NetworkMode"] in ("default", "bridge"):
        warnings.append(NETWORK_WARNING)
    return warnings


def check_platform(platform: str, image: Image) -> None:
    """Refuse an image for another processor, naming both."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    if platform:
        wanted = platform.split("/")[1] if "/" in platform else platform
        if wanted != image.architecture:
            raise InvalidArgument(
                f"image {image.id[7:19]} is for linux/{image.architecture}, not for the platform asked for ({platform})"
            )
    if image.architecture and image.architecture != machine:
        raise InvalidArgument(
            f"the image is for linux/{image.architecture}, this machine is linux/{machine}",
            hint="bring in an image that was built for this machine",
        )
