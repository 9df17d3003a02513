"""Images on this machine: content-addressed, shared, never half there.

    reference    names of images, as people write them and in full
    platforms    linux/arm64/v8, and which of an index's is meant
    schema       the tables of images, layers and snapshots
    content      blobs named by their digest
    documents    manifests, indexes, configs: bounded and checked before anything believes them
    layers       one layer's tar → a folder that overlayfs can lie on
    archive      docker-archive and OCI-archive → blobs, layers, configs
    changes      Dockerfile instructions for ``import --change``
    intake       an upload: spooled to a file without a name, unpacked aside
    streams      decompression within bounds, hashing, one pass
    tar          the entries of a hostile tar
    trees        deleting a tree of any depth
    recipe       how a layer's tar was written, so that it can be written again
    saving       images → docker-archive and OCI layout in one tar
    pruning      removing images that nobody uses
    deletable    whether an image may go
    model        what an image is; the configs that this engine writes
    store        what is here, by which names; load, import, remove
    host         the embedded image ``host``: a sandbox of this server
    layerstore   the unpacked layers that are here, and who needs them
    provenance   what registries have of the images here
    registry     pull and push
    tree         what each layer adds, changes, removes and hides
    snapshots    a container's writable view of an image

Of a layer the extracted folder and a recipe are kept, not the tar it came in: blobs are the images' configs. The DiffID
is verified when it comes in and when it goes out. A power cut right after a load may take files of its layers: they are
not synced one by one.

An image appears in one transaction, after all that it is made of was verified and is in place. What a dead daemon left
half done lies in ``tmp`` or is named by no row, and is swept at the next start.
"""
