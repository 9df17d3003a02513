"""Blobs named by their digest: written aside, verified, then renamed into place."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterable

from core.errors import Corrupt, InvalidArgument, from_os_error

#: Of files in ``tmp`` that are being written.
PREFIX = "blob-"

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


def check_digest(digest: str) -> str:
    """The hexadecimal part of ``sha256:…``; anything else never becomes a path (CVE-2024-3727)."""
    found = _DIGEST.fullmatch(digest)
    if found is None:
        raise InvalidArgument(f"not a sha256 digest: {digest!r:.80}")
    return found[1]


class ContentStore:
    """``<root>/blobs/sha256/<hex>``. Synchronous: what is large is called in a thread."""

    def __init__(self, root: str) -> None:
        self._folder = os.path.join(root, "blobs", "sha256")
        self._tmp = os.path.join(root, "tmp")
        for folder in (self._folder, self._tmp):
            os.makedirs(folder, mode=0o700, exist_ok=True)

    def path(self, digest: str) -> str:
        """Where the blob lies, whether or not it is there."""
        return os.path.join(self._folder, check_digest(digest))

    def write(self, chunks: Iterable[bytes], digest: str = "", size: int = -1) -> str:
        """Keep a blob. Corrupt when it is not what ``digest`` and ``size`` promise; then nothing is kept."""
        fd, temporary = tempfile.mkstemp(prefix=PREFIX, dir=self._tmp)
        try:
            found, length = self._copy(fd, chunks)
            if size >= 0 and length != size:
                raise Corrupt(f"blob {digest}: {length} bytes instead of {size}")
            if digest and found != digest:
                raise Corrupt(f"blob {digest}: its content has the digest {found}")
            os.rename(temporary, self.path(found))
            return found
        except OSError as error:
            raise from_os_error(error, "write a blob") from error
        finally:
            os.close(fd)
            if os.path.exists(temporary):
                os.unlink(temporary)

    @staticmethod
    def _copy(fd: int, chunks: Iterable[bytes]) -> tuple[str, int]:
        digester, length = hashlib.sha256(), 0
        for chunk in chunks:
            digester.update(chunk)
            view = memoryview(chunk)
            length += len(view)
            while view:
                view = view[os.write(fd, view) :]
        os.fsync(fd)
        return f"sha256:{digester.hexdigest()}", length

    def read(self, digest: str, limit: int) -> bytes:
        """A small blob, whole. Corrupt when it is missing, larger than ``limit`` or damaged."""
        try:
            with open(self.path(digest), "rb") as file:
                data = file.read(limit + 1)
        except FileNotFoundError:
            raise Corrupt(f"blob {digest} is missing") from None
        if len(data) > limit:
            raise Corrupt(f"blob {digest} is larger than {limit} bytes")
        if hashlib.sha256(data).hexdigest() != check_digest(digest):
            raise Corrupt(f"blob {digest} is damaged on disk")
        return data

    def delete(self, digest: str) -> None:
        """Forget a blob; nothing happens when it is not there."""
        try:
            os.unlink(self.path(digest))
        except FileNotFoundError:
            return

    def all(self) -> list[str]:
        """The digests of all blobs."""
        return [f"sha256:{name}" for name in os.listdir(self._folder)]
