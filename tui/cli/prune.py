"""``container prune`` and its like: ask, remove what nobody uses, say what went and how much that frees."""

from __future__ import annotations

from tui.cli import output
from tui.cli.engine import call
from tui.cli.errors import Exit
from tui.cli.ps import filters
from tui.cli.transport import target
from tui.cli.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tui.cli.flags import Options


def agree(question: str) -> None:
    """Ask, and go on at ``y`` or ``yes``. Else that was all, as in Docker."""
    import posix

    output.out(f"WARNING! {question}\nAre you sure you want to continue? [y/N] ")
    if posix.read(0, 64).partition(b"\n")[0].strip().lower() not in (b"y", b"yes"):
        raise Exit(0)


def reclaimed(size: int) -> str:
    """The last line of every prune."""
    return f"Total reclaimed space: {human_size(size, 4)}\n"


def containers(options: Options) -> int:
    """Remove all containers that are down."""
    if not options["force"]:
        agree("This will remove all stopped containers.")
    found = call("POST", target("/containers/prune", {"filters": filters(options["filter"])}))
    if found["ContainersDeleted"]:
        output.out("Deleted Containers:\n" + "".join([name + "\n" for name in found["ContainersDeleted"]]) + "\n")
    output.out(reclaimed(found["SpaceReclaimed"]))
    return 0
