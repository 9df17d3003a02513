"""The files of a container, as tars go in and out, and as they differ from the image.

view      a root file system to look into: that of a running container, or one mounted for the moment
lookup    a path in that root: what is there, where a link leads
sinks     where a tar goes: a client's connection, a file
pack      files → tar
unpack    tar → files of a container
changes   the upper folder against what lies below: diff, and the layer that commit makes

Everything here works on files that a container made: hostile names, links and devices, changing while they are read.
Paths are looked up by openat2 inside the root; what was looked up is held by descriptor.
"""
