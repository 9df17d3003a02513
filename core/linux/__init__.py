"""Mechanism: what the kernel can do, and nothing about what should be done.

Synchronous, small, without policy; no asyncio, no database. Everything here may run in the zygote's children, between
clone3 and execve inside a hostile file system, so it imports only light parts of the standard library.
"""
