"""Networks for the tests of networks.

``namespace``  ``NetNs``: a network namespace of the tests' own; call a function or run a command in it
``lan``        ``Lan``: a neighbour, and an uplink, of an engine's namespace
``servers``    TCP, UDP and DNS servers inside any namespace, served by this process
``clients``    the other side: what a client in a namespace gets from a server
``dns``        messages of RFC 1035, as much as the tests ask and answer
``echo``       a program for containers: answers who asked, over TCP and UDP
``boxes``      containers that serve, and the view from inside them
``firewalls``  other programs' firewalls, from the rule sets in ``data/``
``state``      what a namespace holds, to be compared before and after
``dockerd``    Docker's own daemon in a namespace, to hold the same tests against it
"""
