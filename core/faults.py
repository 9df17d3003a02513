"""Numbered points at which a test can make the daemon die as by ``kill -9``.

``DOCKYARD_FAULT=start:4`` in the daemon's environment kills it the first time it passes ``point("start", 4)``.
Nothing is cleaned up on the way: that is what the tests are about. In a daemon without the variable a point
costs one comparison.
"""

from __future__ import annotations

import os
import signal

_ARMED = os.environ.get("DOCKYARD_FAULT", "")


def point(operation: str, step: int) -> None:
    """Die here when this point was asked for."""
    if _ARMED and f"{operation}:{step}" == _ARMED:
        os.kill(os.getpid(), signal.SIGKILL)
