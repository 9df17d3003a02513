"""Registries for the tests: real ones, ones that ask for tokens, and ones that fail on demand.

All listen on loopback of a network namespace, mostly that of an engine (``engine.netns``), are context managers, and
know the name their images have: ``registry.name("team/app:1")`` → ``127.0.0.1:PORT/team/app:1``.

``server``    ``Registry(base, netns)``: Debian's docker-registry, plain, or with TLS and a password
``proxy``     ``Proxy(upstream)``: passes all on and keeps a record of it (``.seen``)
``faults``    ``FaultProxy(upstream)``: ``proxy.when(pattern, Fault(cut=1000), times=2)``
``tokens``    ``TokenProxy(upstream)``: demands bearer tokens by scope, and gives them
``fake``      ``FakeRegistry(netns)``: gives out what a real one would refuse to keep
``build``     images and indexes from layers, right or lying; ``hostile`` has those that mean harm
``loopback``  what all servers of this package have in common
"""
