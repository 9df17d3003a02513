"""Registries: images come from there and go there (the OCI distribution specification, and Docker's habits).

    hosts        which servers stand for a registry: mirrors, plain HTTP, certificates
    credentials  who a client says it is
    auth         answers to ``WWW-Authenticate``: Basic, and tokens by GET and POST
    client       one registry's HTTP: attempts, redirects, errors in words
    failures     what a registry's refusal means
    manifests    a name → the manifest and the config of one platform
    ingest       blobs that are still coming, kept over breaks
    growing      a file that is read while it is written
    fetch        one blob into its file, by ranges where it broke off
    pull         an image: layers side by side, each unpacked while it comes
    compress     a layer's tar, made again and compressed, while it goes
    upload       one blob to the registry, in pieces where it broke off
    push         an image: what is there already is not sent
    progress     what a client is told meanwhile, in Docker's messages
    search       what a registry offers
    service      the above for the API

What a registry sends is hostile until its digest was checked: manifests are bounded, blobs go to a file of their own,
layers are unpacked aside and placed when both digests agree. Credentials go to the host they are meant for and to no
other: not to mirrors, not along redirects, not to an unrelated realm (CVE-2020-15157).
"""
