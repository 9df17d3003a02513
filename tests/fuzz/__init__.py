"""Bytes that nobody wrote, for what reads images.

``python -m tests.fuzz layers`` and ``… documents`` mutate a corpus for ``--seconds`` (60), from a ``--seed``; an input
that breaks a promise is written to a file, and its path is told. ``--input FILE`` tries one again.

``mutate``    one step from an input to another
``targets``   what is fed, the corpus it begins with, and what it promises
"""
