from __future__ import annotations

from tests.linux.fixtures import busybox_lower, make_sandbox, own_lower, sandbox

__all__ = ["busybox_lower", "make_sandbox", "own_lower", "sandbox"]
