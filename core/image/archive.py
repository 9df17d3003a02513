"""docker-archive (``docker save``) and OCI-archive → images, described but not yet stored.

Both are tars of JSON documents and blobs. The archive is read where it was spooled; its members are never unpacked by
name, only read, so a name in it can do no harm.
"""

from __future__ import annotations

import hashlib
import io
import posixpath
from typing import Any, BinaryIO, NamedTuple, cast

from core import oci
from core.errors import Corrupt, DockyardError
from core.image import documents, reference, streams, tar
from core.image.content import check_digest

_MAX_MEMBERS = 100_000
#: A member's name and what it links to: PATH_MAX.
_MAX_NAME = 4096
_BLOBS = "blobs/sha256/"
_REF_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


class Member(NamedTuple):
    """What is kept of an entry. ``kind`` as of :class:`core.image.tar.Entry`, "" for a sparse file."""

    name: str
    kind: bytes
    target: str
    offset: int
    size: int


class Found(NamedTuple):
    """One image in an archive: its config as it is written there, its names, the members that are its layers."""

    config_data: bytes
    config: oci.Image
    names: list[str]
    layers: list[Member]


class Archive:
    """An open archive. Use as a context manager."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = streams.decompress(file)
        self._members: dict[str, Member] = {}

    def __enter__(self) -> Archive:
        try:
            if not self._file.seekable():
                raise Corrupt("a compressed archive must be unpacked before it is read")
            for entry in tar.entries(self._file):
                member = _member(entry)
                self._members[posixpath.normpath(member.name)] = member
                if len(self._members) > _MAX_MEMBERS:
                    raise Corrupt(f"the archive has more than {_MAX_MEMBERS} members")
        except Corrupt as error:
            raise Corrupt(
                f"not an image archive: {error.message}", hint="docker save, skopeo and podman save make them"
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._members.clear()

    def images(self) -> list[Found]:
        """Every image of the archive. Corrupt when there is no manifest, or when one lies."""
        if "manifest.json" in self._members:
            return self._docker()
        if "index.json" in self._members:
            return self._oci()
        raise Corrupt(
            "the archive has neither manifest.json nor index.json",
            hint="is it cut short? A root file system is brought in with `dockyard import`",
        )

    def open(self, member: Member) -> BinaryIO:
        """The content of a layer's member. A sparse one could be endless and cost nothing: none is written so."""
        if member.kind != tar.FILE:
            raise Corrupt(f"archive member {member.name!r} is not a plain file")
        return cast(BinaryIO, _Window(self._file, member.offset, member.size))

    @staticmethod
    def is_named(member: Member, digest: str) -> bool:
        """Whether a blob is called by this digest."""
        return posixpath.normpath(member.name) == f"{_BLOBS}{digest[7:]}"

    def verify(self, member: Member) -> None:
        """Corrupt when a layer that is named by its digest has another one. Of any other the DiffID tells."""
        name = posixpath.normpath(member.name)
        if not name.startswith(_BLOBS):
            return
        digester = hashlib.sha256()
        with self.open(member) as file:
            while chunk := file.read(streams.CHUNK):
                digester.update(chunk)
        if digester.hexdigest() != name.removeprefix(_BLOBS):
            raise Corrupt(f"blob {name} is not what its name says: its digest is sha256:{digester.hexdigest()}")

    def _read(self, name: str) -> bytes:
        member = self._member(name)
        if member.size > documents.MAX_DOCUMENT:
            raise Corrupt(f"archive member {name!r} is larger than {documents.MAX_DOCUMENT} bytes")
        data = self.open(member).read()
        if len(data) != member.size:
            raise Corrupt(f"the archive ends in the middle of {name!r}")
        return data

    def _member(self, name: str) -> Member:
        if not isinstance(name, str):
            raise Corrupt(f"the archive names a member by {name!r:.80}")
        member = self._members.get(posixpath.normpath(name))
        for _ in range(8):
            if member is None:
                break
            if member.kind in (tar.SYMLINK, tar.HARDLINK):
                # Old `docker save` writes a layer that occurs twice as a link to the first.
                base = posixpath.dirname(member.name) if member.kind == tar.SYMLINK else ""
                member = self._members.get(posixpath.normpath(posixpath.join(base, member.target)))
                continue
            return member
        raise Corrupt(f"the archive has no member {name!r}", hint="is it cut short?")

    # --- docker-archive ----------------------------------------------------------------------------

    def _docker(self) -> list[Found]:
        listed = documents.parse(self._read("manifest.json"), "manifest.json")
        if not isinstance(listed, list) or not listed:
            raise Corrupt("manifest.json lists no image")
        found = []
        for item in listed:
            data = self._read(documents.member(item, "Config", str, "manifest.json"))
            config = documents.image(data, f"config {item['Config']!r}")
            members = [self._member(name) for name in documents.member(item, "Layers", list, "manifest.json")]
            _check_count(config, len(members))
            names = item.get("RepoTags") or []
            if not isinstance(names, list):
                raise Corrupt("manifest.json: RepoTags is not a list")
            found.append(Found(data, config, [_name(name) for name in names], members))
        return found

    # --- OCI-archive -------------------------------------------------------------------------------

    def _oci(self) -> list[Found]:
        index = documents.manifest(self._read("index.json"), "index.json")
        if "manifests" not in index:
            raise Corrupt("index.json is not an index")
        found: dict[str, Found] = {}
        for descriptor in index["manifests"]:
            if documents.is_attestation(descriptor):
                continue
            image = self._image(descriptor)
            names = _names(descriptor.get("annotations") or {})
            known = found.get(descriptor["digest"])
            merged = [*(known.names if known else []), *names]
            found[descriptor["digest"]] = image._replace(names=merged)
        if not found:
            raise Corrupt("index.json lists no image")
        return list(found.values())

    def _image(self, descriptor: dict[str, Any], depth: int = 0) -> Found:
        if depth > 4:
            raise Corrupt("the archive's indexes are nested too deep")
        document = documents.manifest(self._blob(descriptor), f"manifest {descriptor['digest']}")
        claimed, said = descriptor.get("mediaType"), document.get("mediaType")
        if claimed and said and claimed != said:
            raise Corrupt(f"manifest {descriptor['digest']} says it is {said!r:.80}, its index {claimed!r:.80}")
        if "manifests" in document:
            return self._image(documents.choose(document, f"index {descriptor['digest']}"), depth + 1)
        data = self._blob(document["config"])
        config = documents.image(data, f"config {document['config']['digest']}")
        members = [self._layer(item["digest"]) for item in document["layers"]]
        for member, item in zip(members, document["layers"], strict=True):
            if member.size != item["size"]:
                raise Corrupt(f"layer {item['digest']} has {member.size} bytes, its manifest says {item['size']}")
        _check_count(config, len(members))
        return Found(data, config, [], members)

    def _layer(self, digest: str) -> Member:
        """A layer's member; no link, since :meth:`verify` goes by the name."""
        member = self._member(self._blob_name(digest))
        if posixpath.normpath(member.name) != self._blob_name(digest):
            raise Corrupt(f"blob {digest} is a link to {member.name!r}")
        return member

    @staticmethod
    def _blob_name(digest: str) -> str:
        return _BLOBS + check_digest(digest)

    def _blob(self, descriptor: dict[str, Any]) -> bytes:
        data = self._read(self._blob_name(descriptor["digest"]))
        found = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if found != descriptor["digest"] or len(data) != descriptor["size"]:
            raise Corrupt(f"blob {descriptor['digest']} has the digest {found} and {len(data)} bytes")
        return data


class _Window(io.RawIOBase):
    """A part of a file as a file."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file, self._start, self._size = file, start, size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        left = self._size - self._at
        self._file.seek(self._start + self._at)
        data = self._file.read(min(size, left) if size >= 0 else left)
        self._at += len(data)
        return data

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        assert whence == io.SEEK_SET
        self._at = min(position, self._size)
        return self._at


def _member(entry: tar.Entry) -> Member:
    if len(entry.name) > _MAX_NAME or len(entry.linkname) > _MAX_NAME:
        raise Corrupt(f"a member's name is longer than {_MAX_NAME} characters: {entry.name[:40]!r}…")
    kind = b"" if entry.sparse else entry.kind
    return Member(entry.name, kind, entry.linkname, entry.offset, entry.size)


def _check_count(config: oci.Image, count: int) -> None:
    expected = len(config["rootfs"]["diff_ids"])
    if count != expected:
        raise Corrupt(f"the image's config names {expected} layers, its manifest {count}")


def _names(annotations: dict[str, Any]) -> list[str]:
    for key in _REF_NAMES:
        value = annotations.get(key)
        if isinstance(value, str) and value:
            try:
                return [_name(value)]
            except DockyardError:
                # ``ref.name`` is free text: a bare tag, or anything.
                continue
    return []


def _name(text: Any) -> str:
    if not isinstance(text, str):
        raise Corrupt(f"the archive names an image {text!r}")
    return reference.parse(text).familiar
