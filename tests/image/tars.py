"""Tars for property tests: members of every kind, written by ``tarfile``, and hypothesis strategies that make them.

``write(members, format)`` is the tar. A member is what its entry should say; the formats decide how it is said.
"""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass, field, replace

from hypothesis import strategies as st

from core.image import tar

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
LETTERS = {
    tar.FILE: tarfile.REGTYPE,
    tar.HARDLINK: tarfile.LNKTYPE,
    tar.SYMLINK: tarfile.SYMTYPE,
    tar.CHAR: tarfile.CHRTYPE,
    tar.BLOCKDEV: tarfile.BLKTYPE,
    tar.FOLDER: tarfile.DIRTYPE,
    tar.FIFO: tarfile.FIFOTYPE,
}


@dataclass(frozen=True)
class Member:
    """``mtime`` in nanoseconds. ``holes``: the content's pieces, (offset, bytes); ``size`` is the whole file's then."""

    name: str
    kind: bytes = tar.FILE
    content: bytes = b""
    target: str = ""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    device: tuple[int, int] = (0, 0)
    xattrs: dict[str, bytes] = field(default_factory=dict)
    holes: tuple[tuple[int, bytes], ...] = ()
    size: int = 0


def write(members: list[Member], format: str) -> bytes:
    """A tar in ``format``, one of :data:`FORMATS`."""
    out = io.BytesIO()
    with tarfile.open(
        fileobj=out, mode="w", format=FORMATS[format], encoding="utf-8", errors="surrogateescape"
    ) as made:
        for member in members:
            info = _info(member)
            content = member.content
            if member.holes:
                content = b"".join(data for _, data in member.holes)
                info.pax_headers = {**info.pax_headers, **_map(member)}
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
    return out.getvalue()


def _info(member: Member) -> tarfile.TarInfo:
    info = tarfile.TarInfo(member.name)
    info.type, info.mode, info.linkname = LETTERS[member.kind], member.mode, member.target
    info.uid, info.gid = member.uid, member.gid
    info.devmajor, info.devminor = member.device
    seconds, rest = divmod(abs(member.mtime), 10**9)
    sign = "-" if member.mtime < 0 else ""
    info.mtime = -seconds if sign else seconds
    info.pax_headers = {
        f"SCHILY.xattr.{key}": value.decode("utf-8", "surrogateescape") for key, value in member.xattrs.items()
    }
    if rest:
        info.pax_headers["mtime"] = f"{sign}{seconds}.{rest:09d}"
    return info


def _map(member: Member) -> dict[str, str]:
    """GNU's sparse format 0.1."""
    numbers = [str(number) for offset, data in member.holes for number in (offset, len(data))]
    return {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.numblocks": str(len(member.holes)),
        "GNU.sparse.map": ",".join(numbers),
        "GNU.sparse.name": member.name,
        "GNU.sparse.size": str(member.size),
    }


def as_written(member: Member, format: str) -> Member:
    """What ``format`` keeps of a member: only pax has attributes, holes and parts of seconds."""
    if format == "pax":
        return member
    seconds = abs(member.mtime) // 10**9 * (-1 if member.mtime < 0 else 1)
    if format == "ustar":
        seconds = max(0, min(seconds, 8**11 - 1))
    whole = replace(member, xattrs={}, mtime=seconds * 10**9, holes=(), size=0)
    if member.holes:
        whole = replace(whole, content=content_of(member))
    if format == "ustar":
        whole = replace(whole, uid=member.uid & 0o7777777, gid=member.gid & 0o7777777)
    return whole


def content_of(member: Member) -> bytes:
    """The file as a reader sees it."""
    if not member.holes:
        return member.content
    found = bytearray(member.size)
    for offset, data in member.holes:
        found[offset : offset + len(data)] = data
    return bytes(found)


@st.composite
def sparse_parts(draw: st.DrawFn) -> tuple[tuple[tuple[int, bytes], ...], int]:
    """Pieces that rise, and a size that holds them."""
    end, pieces = 0, []
    for _ in range(draw(st.integers(1, 4))):
        start = end + draw(st.integers(1, 9000))
        data = draw(st.binary(min_size=1, max_size=40))
        pieces.append((start, data))
        end = start + len(data)
    return tuple(pieces), end + draw(st.integers(0, 5000))


_parts = st.sampled_from(["a", "b", "c", "ü", "\udcff", "x" * 90, " ", "-r", "\x1b[31m", "new\nline"])
paths = st.lists(_parts, min_size=1, max_size=3).map("/".join)
#: Longer than any fixed field: 100 bytes, and 255 with ustar's prefix.
long_paths = st.integers(1, 30).map(lambda count: "/".join(["y" * 49] * count))
owners = st.sampled_from([0, 1, 1000, 0o7777777, 2**21, 2**31, 2**32 - 2])
times = st.sampled_from([0, 1, 10**9, 1_500_000_001_123_456_789, -(10**9), -2_250_000_000, 2**33 * 10**9])
modes = st.sampled_from([0o644, 0o755, 0o4755, 0o2755, 0o1777, 0, 0o7777])
xattrs = st.dictionaries(
    st.sampled_from(["user.note", "user.ü", "trusted.overlay.opaque", "user.overlay.whiteout", "security.selinux"]),
    st.binary(max_size=20),
    max_size=3,
)


@st.composite
def files(draw: st.DrawFn, names: st.SearchStrategy[str]) -> Member:
    """A file with or without holes."""
    member = Member(
        draw(names), mode=draw(modes), uid=draw(owners), gid=draw(owners), mtime=draw(times), xattrs=draw(xattrs)
    )
    if draw(st.integers(0, 4)) == 0:
        holes, size = draw(sparse_parts())
        return replace(member, holes=holes, size=size)
    return replace(member, content=draw(st.binary(max_size=1500)))


@st.composite
def folders(draw: st.DrawFn, names: st.SearchStrategy[str]) -> Member:
    return Member(
        draw(names), tar.FOLDER, mode=draw(modes), uid=draw(owners), gid=draw(owners), mtime=draw(times),
        xattrs=draw(xattrs),
    )  # fmt: skip


@st.composite
def links(draw: st.DrawFn, names: st.SearchStrategy[str], targets: st.SearchStrategy[str]) -> Member:
    """A hard link; or a symbolic one, to anything."""
    if draw(st.booleans()):
        return Member(draw(names), tar.HARDLINK, target=draw(targets))
    target = draw(st.one_of(targets, st.sampled_from(["/etc/passwd", "../../..", "t" * 150])))
    return Member(draw(names), tar.SYMLINK, target=target, uid=draw(owners), gid=draw(owners), mtime=draw(times))


@st.composite
def devices(draw: st.DrawFn, names: st.SearchStrategy[str]) -> Member:
    kind = draw(st.sampled_from([tar.CHAR, tar.BLOCKDEV, tar.FIFO]))
    device = (1, draw(st.integers(3, 9))) if kind != tar.FIFO else (0, 0)
    return Member(draw(names), kind, mode=draw(modes), device=device, mtime=draw(times))
