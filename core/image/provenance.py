"""What registries have of the images here: manifests as they came, the compressed forms of layers, and where those are.

It spares a push what is there already, and lets an image leave with the manifest it came with, byte for byte.
"""

from __future__ import annotations

from typing import NamedTuple

from core.db import Database


class Blob(NamedTuple):
    """A layer as a registry keeps it; ``size`` in bytes."""

    digest: str
    size: int
    media_type: str


class Manifest(NamedTuple):
    """An image's manifest, the exact bytes that its digest is of."""

    digest: str
    media_type: str
    data: bytes


class Provenance:
    """Owns the tables manifests, layer_blobs and blob_sources. Rows go with their image or layer."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add_manifest(self, image_id: str, manifest: Manifest) -> None:
        """The image came or left with this manifest."""
        self._db.execute(
            "INSERT OR REPLACE INTO manifests VALUES (?, ?, ?, ?)",
            (manifest.digest, image_id, manifest.media_type, manifest.data),
        )

    def manifests(self, image_id: str) -> list[Manifest]:
        """All manifests of an image that are known, the newest first."""
        rows = self._db.execute(
            "SELECT digest, media_type, data FROM manifests WHERE image_id = ? ORDER BY rowid DESC", (image_id,)
        )
        return [Manifest(row["digest"], row["media_type"], bytes(row["data"])) for row in rows]

    def add_blob(self, diff_id: str, blob: Blob, repository: str) -> None:
        """``repository`` (``domain/path``) has this form of the layer, which is here."""
        with self._db.transaction():
            self._db.execute("INSERT OR IGNORE INTO layer_blobs VALUES (?, ?, ?, ?)", (blob.digest, diff_id, *blob[1:]))
            self._db.execute("INSERT OR IGNORE INTO blob_sources VALUES (?, ?)", (blob.digest, repository))

    def forget_source(self, digest: str, repository: str) -> None:
        """The repository has the blob no more."""
        self._db.execute("DELETE FROM blob_sources WHERE digest = ? AND repository = ?", (digest, repository))

    def blobs(self, diff_id: str) -> list[Blob]:
        """The forms of a layer that are known."""
        rows = self._db.execute("SELECT digest, size, media_type FROM layer_blobs WHERE diff_id = ?", (diff_id,))
        return [Blob(row["digest"], row["size"], row["media_type"]) for row in rows]

    def sources(self, digest: str, domain: str) -> list[str]:
        """Paths of the repositories of one registry that had the blob when it was last seen."""
        rows = self._db.execute("SELECT repository FROM blob_sources WHERE digest = ?", (digest,))
        found = [str(row["repository"]) for row in rows]
        return [name.removeprefix(f"{domain}/") for name in found if name.startswith(f"{domain}/")]
