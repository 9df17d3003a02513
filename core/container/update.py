"""New limits, a new restart policy, or another name for a container that exists, running or not.

The numbered points (``core.faults``)::

    rename   1 checked   2 row changed
    update   1 checked   2 limits written   3 record changed

A daemon that dies at 2 leaves a running container with the new limits and a record with the old: the next ``update``
starts from the record, and a restart of the container brings both together. The record is written second because it
is what the next start takes: it never has a limit that the kernel refused.
"""

from __future__ import annotations

import asyncio
from typing import Any

from core import faults
from core.container import restart, specgen
from core.container.config import check_container_name
from core.container.config.members import HOST_CONFIG, refuse_unsupported
from core.container.config.resources import check_resources
from core.container.service import ContainerService
from core.container.status import Container, Status
from core.container.supervisor import event_attributes
from core.errors import Conflict, DockyardError, InvalidArgument
from core.events import EventBus
from core.linux.cgroups import Cgroup
from core.runtime.client import Runtime

_LIMITS = (
    "Memory MemorySwap MemoryReservation NanoCpus CpuShares CpuPeriod CpuQuota CpusetCpus CpusetMems PidsLimit "
    "BlkioWeight"
).split()


def parse_update(body: Any) -> dict[str, Any]:
    """The members to change, of the request's JSON body; 0, "" and null mean unchanged, as Docker has it.
    Only PidsLimit has 0 for no limit.

    Raises InvalidArgument or Unsupported, naming the member.
    """
    if not isinstance(body, dict):
        raise InvalidArgument("the request's body must be a JSON object")
    refuse_unsupported(body)
    found = {key: HOST_CONFIG[key](key, body.get(key)) for key in (*_LIMITS, "RestartPolicy")}
    if not found["RestartPolicy"].get("Name"):
        found["RestartPolicy"] = None
    changes = {key: value for key, value in found.items() if value}
    if found["PidsLimit"] is not None:
        # The one number that has a null: 0 and less mean without a limit.
        changes["PidsLimit"] = max(0, found["PidsLimit"])
    return changes


def merged(host: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A HostConfig with the changes in it. Raises InvalidArgument or Conflict for what does not go together."""
    _check_cpu(host, changes)
    new = {**host, **changes}
    memory, swap = changes.get("Memory", 0), host["MemorySwap"]
    if memory and not changes.get("MemorySwap") and 0 < swap < memory:
        raise InvalidArgument(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
        )
    if "RestartPolicy" in changes:
        if host["AutoRemove"] and changes["RestartPolicy"]["Name"] != "no":
            raise InvalidArgument("Restart policy cannot be updated because AutoRemove is enabled for the container")
        new["RestartPolicy"] = restart.check_policy(changes["RestartPolicy"], host["AutoRemove"])
    check_resources(new)
    return new


def _merged(container: Container, changes: dict[str, Any]) -> dict[str, Any]:
    """As :func:`merged`, and the error says of which container."""
    try:
        return merged(container.host_config, changes)
    except InvalidArgument as error:
        text = f"Cannot update container {container.id}: {error.message}"
        raise InvalidArgument(text, hint=error.hint) from error


def _check_cpu(host: dict[str, Any], changes: dict[str, Any]) -> None:
    for member, words in (("CpuPeriod", "CPU Period"), ("CpuQuota", "CPU Quota")):
        if changes.get("NanoCpus") and host[member]:
            raise InvalidArgument(f"Conflicting options: Nano CPUs cannot be updated as {words} has already been set")
        if changes.get(member) and host["NanoCpus"]:
            raise InvalidArgument(f"Conflicting options: {words} cannot be updated as NanoCPUs has already been set")


class UpdateService:
    """``update`` and ``rename``."""

    def __init__(self, containers: ContainerService, runtime: Runtime, events: EventBus) -> None:
        self._containers = containers
        self._runtime = runtime
        self._events = events

    async def update(self, ref: str, changes: dict[str, Any]) -> list[str]:
        """Apply the changes to a container. Returns warnings for the person.

        Raises InvalidArgument for values that cannot be, Conflict for a limit below what it uses and for a container
        that is being removed; then nothing has changed.
        """
        async with self._containers.locked(ref) as container:
            if container.status is Status.REMOVING:
                raise Conflict(f"Cannot update container {container.id}: it is being removed")
            host = _merged(container, changes)
            faults.point("update", 1)
            warnings = await self._apply(container, host, changes) if container.status.is_up else []
            faults.point("update", 2)
            self._containers.store.update(container.id, host_config=host)
            faults.point("update", 3)
            self._events.publish("container", "update", container.id, event_attributes(container))
            return warnings

    async def rename(self, ref: str, name: str) -> None:
        """Give it another name. Conflict when another has it, InvalidArgument when it cannot be one."""
        name = name.removeprefix("/")
        if not name:
            raise InvalidArgument("Neither old nor new names may be empty")
        async with self._containers.locked(ref) as container:
            if name == container.name:
                raise InvalidArgument("Renaming a container with the same name as its current name")
            check_container_name(name)
            faults.point("rename", 1)
            renamed = self._containers.store.rename(container.id, name)
            faults.point("rename", 2)
            self._containers.networking.directory.renamed(renamed)
            attributes = event_attributes(renamed) | {"oldName": "/" + container.name}
            self._events.publish("container", "rename", container.id, attributes)

    async def _apply(self, container: Container, host: dict[str, Any], changes: dict[str, Any]) -> list[str]:
        wanted = limits(host, changes)
        if not wanted:
            return []
        group = self._runtime.cgroup(container.id)
        try:
            _check_use(group, wanted)
            if wanted.get("cpu", {}).get("cpus") or wanted.get("cpu", {}).get("mems"):
                group = await asyncio.to_thread(self._runtime.with_cpuset, container.id)
            return group.change(wanted)
        except DockyardError as error:
            raise Conflict(f"Cannot update container {container.id}: {error}") from error


def limits(host: dict[str, Any], changes: dict[str, Any]) -> Any:
    """The OCI resources that the changes touch, with what belongs to them; ``host`` is the merged HostConfig."""
    found: dict[str, Any] = dict(specgen.resources(host))
    found.pop("devices")
    found.pop("blockIO", None)
    if not changes.keys() & {"Memory", "MemorySwap", "MemoryReservation"}:
        found.pop("memory", None)
    elif "memory" in found:
        # Not to be had of a group in use.
        found["memory"].pop("disableOOMKiller", None)
    if not changes.keys() & {"NanoCpus", "CpuShares", "CpuPeriod", "CpuQuota", "CpusetCpus", "CpusetMems"}:
        found.pop("cpu", None)
    found.pop("pids", None)
    if "PidsLimit" in changes:
        found["pids"] = {"limit": changes["PidsLimit"] or -1}
    if "BlkioWeight" in changes:
        found["blockIO"] = {"weight": changes["BlkioWeight"]}
    return found


def _check_use(group: Cgroup, wanted: Any) -> None:
    """Version 1 refuses a limit below the use; version 2 takes it and kills, so it is compared before."""
    limit = wanted.get("memory", {}).get("limit", 0)
    usage = group.usage()
    needed = usage.memory - usage.memory_inactive_file
    if 0 < limit < needed:
        raise Conflict(
            f"--memory {limit} is below what the container uses ({needed} bytes)",
            hint="end what uses the memory, or give it more",
        )
