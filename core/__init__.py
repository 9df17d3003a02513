"""Dockyard's engine. Imports nothing from ``tui``.

The folders, as floors; each stands on those below it and knows nothing above::

    __main__      start the zygote, then the loop, the engine, the API
    engine        configuration and composition root: builds the services
    api/          Docker's HTTP API over a Unix socket, one module per resource
    container/    the record of what should run, the way of create, start, stop, remove; supervision
    archive/      files of containers as tars: views of a root, packing, unpacking, changes
    network/      networks, addresses, bridges, the firewall, names, published ports
    volumes/      named folders that outlive containers, and their first content
    runtime/      what runs outside the daemon (zygote, monitor, init), its messages, and the daemon's client of it
    image/        blobs, layers, snapshots, references, archives
    linux/        mechanism: system calls, mounts, privileges, seccomp, cgroups
    events        who is told what happened
    db oci faults the one database; the OCI documents; the points where tests make the daemon die
    moments       points in time as people write them
    errors        what went wrong, and what the caller can do

Six nouns: an *image* (immutable, content-addressed) has *snapshots* (a writable view of it); a *container* is the
record of what should run on one, a *task* is what is running; *networks* and *volumes* are given to it.

Four processes: the *daemon* (asyncio, policy, the only writer of the database), the *zygote* (single-threaded fork
server), one *monitor* per container (owns its streams, its resolver, its published ports and its end; outlives the
daemon) and *init* (the numbered steps between clone3 and execve). The daemon has threads and never forks without
exec; the zygote forks and never has threads.
"""
