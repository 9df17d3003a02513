"""Compiled seccomp filters as files, named by the hash of what they were made from."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile

from core import oci
from core.linux.seccomp import compile_filter


class SeccompCache:
    """Profile → path of its BPF program. A program is compiled once for all containers that share a profile."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._known: dict[str, str] = {}
        os.makedirs(folder, mode=0o700, exist_ok=True)

    def path(self, profile: oci.Seccomp | None) -> str:
        """The path of the compiled filter for this machine, "" for no profile."""
        if profile is None:
            return ""
        document = json.dumps(profile, sort_keys=True)
        known = self._known.get(document)
        if known is not None:
            return known
        machine = os.uname().machine
        name = hashlib.sha256(f"{machine}\n{document}".encode()).hexdigest()
        path = os.path.join(self._folder, f"{name}.bpf")
        # Always compiled anew by each daemon: a file in the cache is never trusted across versions.
        with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
            file.write(compile_filter(profile, machine))
        os.rename(file.name, path)
        self._known[document] = path
        return path
