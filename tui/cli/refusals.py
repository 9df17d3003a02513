"""Why a flag of Docker's is refused: the reason that follows its name in the message."""

from __future__ import annotations

_WINDOWS = "it is for Windows containers"
_REALTIME = "real-time scheduling of groups is not offered by version 2 of cgroups, and by few kernels on version 1"

#: Flag → reason; the same for every verb.
REASONS = {
    **dict.fromkeys("cpu-count cpu-percent io-maxbandwidth io-maxiops isolation".split(), _WINDOWS),
    **dict.fromkeys(("cpu-rt-period", "cpu-rt-runtime"), _REALTIME),
    **dict.fromkeys(
        "availability cluster group limit-bytes required-bytes secret sharing topology-preferred "
        "topology-required type".split(),
        "it is for volumes of a swarm",
    ),
    **dict.fromkeys(("config-from", "config-only"), "networks of settings alone are for a swarm"),
    **dict.fromkeys(("ingress", "scope"), "it is for a swarm"),
    "blkio-weight-device": "current kernels have no weight for a single device",
    "cgroup-parent": "containers stay in the engine's own group, where its monitors can end them",
    "checkpoint": "checkpoints need CRIU, which is not used",
    "checkpoint-dir": "checkpoints need CRIU, which is not used",
    "disable-content-trust": "signed images of Docker's notary are not used",
    "insecure": "say plain-http = true for the registry in the engine's configuration file",
    "gpus": "no driver of GPU devices is known: give the nodes by --device",
    "kernel-memory": "kernels since 5.16 have no limit of their own for kernel memory",
    "platform": "an image here is of one platform only",
    "runtime": "containers are run by the engine itself",
    "storage-opt": "the size of a container's layer is not limited",
    "tree": "an image here is of one platform only",
    "use-api-socket": "with the engine's socket a container is root on this machine: mount it by --volume",
    "volume-driver": "only the driver local is known",
}


def reason(flag: str) -> str:
    """``: `` and why, or nothing for a flag whose name says it all."""
    why = REASONS.get(flag, "")
    return f": {why}" if why else ""
