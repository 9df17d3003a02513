"""``update``: new limits and a new restart policy for containers."""

from __future__ import annotations

from tui.cli import output
from tui.cli.engine import call
from tui.cli.errors import ApiError, CliError
from tui.cli.transport import container_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tui.cli.flags import Options

_NUMBERS = {
    "blkio-weight": "BlkioWeight",
    "cpu-period": "CpuPeriod",
    "cpu-quota": "CpuQuota",
    "cpu-shares": "CpuShares",
    "cpus": "NanoCpus",
    "cpuset-cpus": "CpusetCpus",
    "cpuset-mems": "CpusetMems",
    "memory": "Memory",
    "memory-reservation": "MemoryReservation",
    "memory-swap": "MemorySwap",
    "pids-limit": "PidsLimit",
}


def run(options: Options) -> int:
    """Change each container named; a failure is told and the others are changed all the same."""
    body = request(options)
    code = 0
    for name in options.args:
        try:
            found = call("POST", f"{container_path(name)}/update", body)
        except ApiError as error:
            output.err(error.message + "\n")
            code = 1
            continue
        for warning in found.get("Warnings") or ():
            output.err(f"WARNING: {warning}\n")
        output.out(name + "\n")
    return code


def request(options: Options) -> dict[str, Any]:
    """The body of the request; CliError when nothing is to be changed."""
    body = {member: options[flag] for flag, member in _NUMBERS.items() if options.given(flag)}
    if not body and not options.given("restart"):
        raise CliError("you must provide one or more flags when using this command")
    if not body.get("PidsLimit"):
        # 0 is unchanged here, and no limit in the API.
        body.pop("PidsLimit", None)
    if options.given("restart"):
        from tui.cli.create import restart_policy

        try:
            body["RestartPolicy"] = restart_policy(options["restart"])
        except CliError as error:
            raise CliError(error.message) from None
    return body
