"""The bundle of one container: the folder that its monitor reads, and the three generated files of /etc.

The bundle lies in the run directory (tmpfs on most systems), mode 0700, and is written anew at each start. So are the
generated files, but below the root folder: the container may write to them, and must not be able to fill the host's
/run by that.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from typing import Any

from core import oci
from core.errors import from_os_error
from core.runtime.protocol import MonitorConfig


def write(run_dir: str, etc_folder: str, spec: oci.Spec, monitor: MonitorConfig, files: dict[str, str]) -> None:
    """Write the whole bundle. ``files`` are the generated files of /etc, by name, for ``etc_folder``.

    Raises Exhausted for a full disk, which names the file.
    """
    shutil.rmtree(run_dir, ignore_errors=True)
    try:
        os.makedirs(os.path.join(run_dir, "rootfs"), mode=0o700)
    except OSError as error:
        raise from_os_error(error, "make the folder") from error
    for name, text in files.items():
        _write(os.path.join(etc_folder, name), text, 0o644)
    write_json(os.path.join(run_dir, "config.json"), spec)
    write_json(os.path.join(run_dir, "dockyard.json"), monitor)


def write_json(path: str, document: Any) -> None:
    """``document`` as compact JSON in a file only root reads."""
    _write(path, json.dumps(document, separators=(",", ":")), 0o600)


def _write(path: str, text: str, mode: int) -> None:
    # Mounted into the container as they are: the mode must not depend on the daemon's umask, nor on an earlier run.
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            os.fchmod(fd, mode)
            data = text.encode()
            while data:
                data = data[os.write(fd, data) :]
        finally:
            os.close(fd)
    except OSError as error:
        error.filename = error.filename or path  # write(2) names no file
        raise from_os_error(error, "write") from error
