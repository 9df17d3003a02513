"""Run by its path, with ``python -IS``: Python never caches this file's bytecode, so it stays tiny."""

import sys

sys.path.insert(0, __file__.rpartition("/tui/")[0] or "/")

from tui.cli.main import main

main(sys.argv[1:])
