"""The tables of images and snapshots::

    images (id, config, created, size, parent, tagged)
       │ 1
       ├───< image_layers (image_id, position, diff_id) >───1 layers (diff_id, folder, size)
       ├───< tags (name, image_id, protected)                 ├───1 leases (diff_id, taken)
       ├───< digests (name, image_id)                         └───< layer_blobs (digest, diff_id, size, media_type)
       └───< manifests (digest, image_id, media_type, data)              └───< blob_sources (digest, repository)
    snapshots (key, image_id)          no foreign key: an image may be removed by force under a stopped container

``images.parent`` is the id of the image it was made from, as far as that is known here, else ""; ``images.tagged`` is
when it last got a name (nanoseconds, 0: never). ``layers.folder`` names a folder below ``<root>/layers``. A layer
exists exactly as long as a row names it. ``tags.protected``: prune leaves it. ``digests.name`` is
``repository@sha256:…``, by which a registry has it. ``leases.taken`` is when a pull finished a layer whose image is
not here yet (nanoseconds). ``layer_blobs`` are the compressed forms of a layer that registries have, ``blob_sources``
where (``domain/path``).
"""

from __future__ import annotations

MIGRATIONS: list[tuple[int, str]] = [
    (
        1,
        """
        CREATE TABLE images (
            id      TEXT PRIMARY KEY,
            config  TEXT NOT NULL,
            created INTEGER NOT NULL,
            size    INTEGER NOT NULL
        );
        CREATE TABLE layers (
            diff_id TEXT PRIMARY KEY,
            folder  TEXT NOT NULL UNIQUE,
            size    INTEGER NOT NULL
        );
        CREATE TABLE image_layers (
            image_id TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
            position INTEGER NOT NULL,
            diff_id  TEXT NOT NULL REFERENCES layers (diff_id),
            PRIMARY KEY (image_id, position)
        ) WITHOUT ROWID;
        CREATE INDEX image_layers_by_layer ON image_layers (diff_id);
        CREATE TABLE tags (
            name     TEXT PRIMARY KEY,
            image_id TEXT NOT NULL REFERENCES images (id)
        ) WITHOUT ROWID;
        CREATE INDEX tags_by_image ON tags (image_id);
        CREATE TABLE snapshots (
            key      TEXT PRIMARY KEY,
            image_id TEXT NOT NULL,
            lower    TEXT NOT NULL
        ) WITHOUT ROWID;
        """,
    ),
    (
        2,
        """
        ALTER TABLE images ADD COLUMN parent TEXT NOT NULL DEFAULT '';
        ALTER TABLE images ADD COLUMN tagged INTEGER NOT NULL DEFAULT 0;
        """,
    ),
    (
        3,
        """
        ALTER TABLE tags ADD COLUMN protected INTEGER NOT NULL DEFAULT 0;
        CREATE TABLE digests (
            name     TEXT PRIMARY KEY,
            image_id TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE
        ) WITHOUT ROWID;
        CREATE INDEX digests_by_image ON digests (image_id);
        CREATE TABLE manifests (
            digest     TEXT PRIMARY KEY,
            image_id   TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
            media_type TEXT NOT NULL,
            data       BLOB NOT NULL
        );
        CREATE INDEX manifests_by_image ON manifests (image_id);
        CREATE TABLE leases (
            diff_id TEXT PRIMARY KEY REFERENCES layers (diff_id) ON DELETE CASCADE,
            taken   INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE layer_blobs (
            digest     TEXT PRIMARY KEY,
            diff_id    TEXT NOT NULL REFERENCES layers (diff_id) ON DELETE CASCADE,
            size       INTEGER NOT NULL,
            media_type TEXT NOT NULL
        ) WITHOUT ROWID;
        CREATE INDEX layer_blobs_by_layer ON layer_blobs (diff_id);
        CREATE TABLE blob_sources (
            digest     TEXT NOT NULL REFERENCES layer_blobs (digest) ON DELETE CASCADE,
            repository TEXT NOT NULL,
            PRIMARY KEY (digest, repository)
        ) WITHOUT ROWID;
        """,
    ),
]
