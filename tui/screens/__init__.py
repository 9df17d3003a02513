"""The workstation's screens: containers, and what opens above them."""
