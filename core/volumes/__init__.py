"""Data that outlives its containers.

store     the table ``volumes`` and the folders ``<root>/volumes/NAME/_data``
options   ``-o type=tmpfs|none,o=…,device=…`` of the driver ``local``
copyup    the image's content into an empty volume, on first use
tree      copying and measuring trees that somebody else made

A volume knows no container: who uses it is told by :mod:`core.container.volumes`, which also tells the events.
"""
