"""Everything a person touches in a terminal. This file imports nothing: every part is loaded when needed.

``cli``       the command ``dockyard``
``app``       ``run(socket_path)``: the first picture at once, then the workstation
``text``      the same overview as plain text, for a pipe
``wire``      HTTP/1.1 over a Unix socket: requests, heads, bodies (no asyncio); ``client`` is its asyncio side
``rows``      Docker's list items → rows; ``explain``: exit codes → sentences; ``frame``: rows → styled lines
``actions``   the one table of actions: keys, help, palette and footer come from it
``config``    ``~/.config/dockyard/config.toml``
``driver``    the terminal: cell diff, frames skipped while output is backed up, hang-up
``handover``  the terminal given to a shell and taken back
``workstation`` and ``screens``, ``widgets``: Textual's side
"""
