"""nftables by libnftables(3): rule sets as text, one transaction each, without a process per rule.

0.2 ms for one element of a map; ``nft`` as a command takes ten times that. The library comes with nft itself.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
from typing import Any

from core.errors import DockyardError

_LIBRARY = "libnftables.so.1"
_JSON_OUTPUT = 1 << 4


class RulesRefused(DockyardError):
    """The kernel or the library did not take a rule set; nothing of it is in force."""

    kind = "rules_refused"


class Nftables:
    """One context, in the network namespace that the process is in *now*. Not for several threads at once.

    Raises OSError when the library is not there.
    """

    def __init__(self) -> None:
        self._library = _load()
        self._context = self._library.nft_ctx_new(0)
        if not self._context:
            raise OSError(errno.EPROTONOSUPPORT, "no netlink socket for nftables")
        self._library.nft_ctx_buffer_output(self._context)
        self._library.nft_ctx_buffer_error(self._context)

    def run(self, commands: str) -> str:
        """Do ``commands``, as nft(8) reads them, all or nothing; returns what they print. Raises RulesRefused."""
        failed = self._library.nft_run_cmd_from_buffer(self._context, commands.encode())
        output = self._library.nft_ctx_get_output_buffer(self._context).decode(errors="replace")
        text = self._library.nft_ctx_get_error_buffer(self._context).decode(errors="replace")
        if failed:
            raise RulesRefused(f"nftables: {_first_line(text)}", hint="nft list ruleset shows what is in force")
        return str(output)

    def query(self, command: str) -> list[dict[str, Any]]:
        """The objects that a ``list`` command names, as libnftables-json(5) has them. Raises RulesRefused."""
        self._library.nft_ctx_output_set_flags(self._context, _JSON_OUTPUT)
        try:
            document = json.loads(self.run(command) or "{}")
        except ValueError as error:
            raise RulesRefused(f"nftables: {command}: {error}") from error
        finally:
            self._library.nft_ctx_output_set_flags(self._context, 0)
        return [item for item in document.get("nftables", []) if "metainfo" not in item]

    def close(self) -> None:
        """Free the context and its socket."""
        if self._context:
            self._library.nft_ctx_free(self._context)
            self._context = None

    def __enter__(self) -> Nftables:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _first_line(text: str) -> str:
    """What is wrong, without the excerpt of the rule set that follows it."""
    lines = [line for line in text.splitlines() if line.strip()]
    line = next((line for line in lines if "rror:" in line), lines[0] if lines else "refused")
    return line.partition("rror: ")[2] or line


_loaded: ctypes.CDLL | None = None


def _load() -> ctypes.CDLL:
    global _loaded
    if os.environ.get("DOCKYARD_NFTABLES") == "none":  # as on a machine without it: a switch for tests
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), _LIBRARY)
    if _loaded is None:
        library = ctypes.CDLL(_LIBRARY)
        library.nft_ctx_new.restype = ctypes.c_void_p
        library.nft_ctx_new.argtypes = [ctypes.c_uint32]
        library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        library.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
        for name in ("nft_ctx_free", "nft_ctx_buffer_output", "nft_ctx_buffer_error"):
            getattr(library, name).argtypes = [ctypes.c_void_p]
        for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
            getattr(library, name).argtypes = [ctypes.c_void_p]
            getattr(library, name).restype = ctypes.c_char_p
        _loaded = library
    return _loaded
