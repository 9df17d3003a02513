"""Containers: the record, its life, and what watches it.

status       the states and the legal ways between them; the frozen record
config       Docker's create request → checked, typed options
mounts       --volume, --mount, --tmpfs → mounts of the OCI spec
specgen      record + image config → OCI spec and monitor config (pure)
restart      policies: whether and when it starts again (pure)
health       checks: when to probe, what an answer means (pure)
store        the table ``containers``
service      create, start, stop, kill, wait, remove: the transitions, each with its undo
supervisor   what the monitors say: exits, recovery after a daemon's death
execs        other processes in running containers
probing      runs the probes of health checks
inspect      the record as Docker's JSON
explain      why a container ended, in words
stats        what it uses
logs         reading and following its output
"""
