"""The workstation's widgets. Each draws lines of :mod:`tui.frame` itself; none lays out more than it shows."""
