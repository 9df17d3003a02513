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
pausing      pause and unpause; what a dead daemon froze and did not record
restarting   starts containers again by their policy
update       new limits, another policy, another name
pruning      removes what is down
archives     cp, diff, export, in the view of core.archive
commit       an image from a container's changes
sizes        what a container wrote; usage: what lies on the disk in all
processes    top
execs        other processes in running containers
probing      runs the probes of health checks
inspect      the record as Docker's JSON
explain      why a container ended, in words
stats        what it uses, measured on one beat
logs         reading and following its output
"""
