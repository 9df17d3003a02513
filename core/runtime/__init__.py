"""What runs outside the daemon, and the daemon's side of it.

Processes::

    daemon ──SpawnMonitor──▶ zygote ──fork──▶ monitor ──clone3──▶ init ──execve──▶ the container's program
       ▲                                         │  ╰──clone3──▶ an exec's program (as often as asked)
       ╰──────────── monitor.sock ───────────────╯

``zygote``    forks monitors; single-threaded, small, sealed against imports; leaves with the daemon
``monitor``   one per container: owns its streams, terminal, log, execs and its end; survives the daemon
``init``      the numbered steps from clone3 to execve; ``program`` is their last part, shared with execs
``reaper``    pid 1 of a container that was started with ``--init``
``streams``   output to log and clients, clients' input to the program; ``session`` is one client
``execs``     the other processes of a container; ``exitrecord`` what is left when it has ended
``protocol``  every message between them; ``poller`` the monitor's loop; ``control`` its connections
``client``    the daemon's side, with ``task``: the only modules here that know asyncio

Modules of the zygote's closure import only light parts of the standard library, and nothing late: after
pivot_root an import would read the container's files.
"""
