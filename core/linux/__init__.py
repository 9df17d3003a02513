"""Mechanism: what the kernel can do, and nothing about what should be done.

Synchronous, small, without policy; no asyncio, no database. Everything here may run in the zygote's children, between
clone3 and execve inside a hostile file system, so it imports only light parts of the standard library and, inside,
only :mod:`core.errors` and :mod:`core.oci`.

How a container's first process comes to be, and who does it::

    process      protect_self: once, before anything else; seal_imports: before the first fork
    mounts       overlay_detached: the root file system as a mount fd, made by the monitor
    syscalls     clone3: the child, in its namespaces
      cgroups    (placement, cgroup_limits, cgroups_v1, cgroup_files, bpf) its limits; cgroup_view what it sees of them
      netlink    its loopback
      rootfs     sources, root, mounts, pivot, masks, sysctls, working directory; tells the order at its top
      paths      targets of mounts inside the root
      devices    /dev
      console    the terminal, from inside
      userdb     its user, from its own /etc/passwd
      privileges limits, identity, capabilities, the filter, in the order the kernel demands
    elf          why execve refused

Beside that way: ``seccomp`` (``seccomp_compiler``; ``seccomp_default`` and ``syscall_table`` are data) makes
filters in the daemon, the child only loads bytes; ``features`` says at start what this kernel lacks and what it
costs; ``inotify`` watches files; ``inodeflags`` tells a file system where to put a tree.

``ctypes`` stands in ``syscalls``, ``bpf`` and ``inotify`` alone. Paths inside a container are opened below a root's fd
(``syscalls.open_in_root``), mounts go onto fds, and what is security relevant (the null device, a procfs, a devpts) is
looked at by fd before it is used.
"""
