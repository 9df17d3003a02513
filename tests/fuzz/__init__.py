"""Fuzzing of what reads images: ``python -m tests.fuzz layers|documents [--seconds N] [--seed N]`` (root).

Own mutations of a small corpus, guided by the lines of ``core/image`` that an input reaches: one that reaches a new
line joins the corpus. The same seed makes the same inputs. An input that ends in anything but a typed error, takes too
long or leaves its folder is written to ``build/fuzz`` and its path printed; the exit status is 1 then.

``mutate``   bytes → other bytes, with checksums of tars that fit again
``targets``  what is run on an input, and where the corpus begins
``run``      the loop
"""
