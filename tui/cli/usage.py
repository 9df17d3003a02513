"""``system df`` and ``system prune``: what lies on the disk, and taking away what is not needed."""

from __future__ import annotations

import time

from tui.cli import output, rows
from tui.cli.engine import call
from tui.cli.rows import Noun
from tui.cli.tables import columns
from tui.cli.transport import target
from tui.cli.units import human_size as _human

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tui.cli.flags import Options

    Item = dict[str, Any]

#: Digits of a size: one more than lists have, as in Docker.
_DIGITS = 4
_UP = ("running", "paused", "restarting")


def human_size(size: float) -> str:
    """A size with :data:`_DIGITS` digits."""
    return _human(size, _DIGITS)


def df(options: Options) -> int:
    """Disk use by kind; with ``-v`` each thing by itself."""
    found = call("GET", "/system/df")
    if options["verbose"] and not options["format"]:
        output.out(_verbose(found))
        return 0
    from tui.cli.formatting import print_rows

    print_rows(_kinds_noun(), kinds(found), options["format"] or "table", truncate=True)
    return 0


def kinds(found: Item) -> list[Item]:
    """One row for each kind: how many, how many in use, bytes, and bytes that could be freed."""
    images, containers = found["Images"] or [], found["Containers"] or []
    volumes = found["Volumes"] or []
    needed = sum(i["Size"] - i["SharedSize"] for i in images if i["Containers"] and i["SharedSize"] >= 0)
    layers = found["LayersSize"]
    written = sum(c.get("SizeRw") or 0 for c in containers)
    down = sum(c.get("SizeRw") or 0 for c in containers if c["State"] not in _UP)
    sizes = [max(0, v["UsageData"]["Size"]) for v in volumes]
    unused = [max(0, v["UsageData"]["Size"]) for v in volumes if not v["UsageData"]["RefCount"]]
    return [
        _kind("Images", len(images), sum(bool(i["Containers"]) for i in images), layers, layers - needed),
        _kind("Containers", len(containers), sum(c["State"] in _UP for c in containers), written, down),
        _kind("Local Volumes", len(volumes), len(volumes) - len(unused), sum(sizes), sum(unused)),
        *_beyond_docker(found),
        _kind("Build Cache", len(found.get("BuildCache") or ()), 0, found.get("BuilderSize") or 0, 0, percent=False),
    ]


def _beyond_docker(found: Item) -> list[Item]:
    """Logs, and what broken-off pulls left when they left something; nothing from an engine that does not tell."""
    logs, interrupted = found.get("Logs"), found.get("Interrupted") or {}
    rows_ = []
    if logs is not None:
        rows_.append(_kind("Logs", len(logs), len(logs), sum(log["Size"] for log in logs), 0, percent=False))
    if interrupted.get("Size"):
        size = interrupted["Size"]
        rows_.append(_kind("Interrupted Pulls", interrupted["Count"], 0, size, size))
    return rows_


def _kind(name: str, total: int, active: int, size: int, free: int, *, percent: bool = True) -> Item:
    share = f" ({free * 100 // size}%)" if percent and size > 0 else ""
    return {"Type": name, "TotalCount": total, "Active": active, "Size": size, "Reclaimable": human_size(free) + share}


def _kinds_noun() -> Noun:
    return Noun(
        "*formatter.diskUsageImagesContext",
        "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
        {
            "Active": ("ACTIVE", lambda item, truncate: str(item["Active"])),
            "Reclaimable": ("RECLAIMABLE", lambda item, truncate: item["Reclaimable"]),
            "Size": ("SIZE", lambda item, truncate: human_size(item["Size"])),
            "TotalCount": ("TOTAL", lambda item, truncate: str(item["TotalCount"])),
            "Type": ("TYPE", lambda item, truncate: item["Type"]),
        },
    )


def _verbose(found: Item) -> str:
    now = time.time()
    images = [("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS")]
    for item in found["Images"] or ():
        repository, _, tag = (item["RepoTags"] or ["<none>:<none>"])[0].rpartition(":")
        size, shared = item["Size"], max(0, item["SharedSize"])
        created = rows.ago(item["Created"], now) if item["Created"] > 0 else "N/A"
        images.append(
            (repository, tag, item["Id"][7:19], created, _human(size), human_size(shared),
             human_size(size - shared), str(item["Containers"]))
        )  # fmt: skip
    containers = [("CONTAINER ID", "IMAGE", "COMMAND", "LOCAL VOLUMES", "SIZE", "CREATED", "STATUS", "NAMES")]
    containers += [
        (item["Id"][:12], rows.image(item, True), rows.command(item, True),
         str(sum(mount.get("Driver") == "local" for mount in item.get("Mounts") or ())),
         _human(item.get("SizeRw") or 0), rows.ago(item["Created"], now), item["Status"], rows.names(item))
        for item in found["Containers"] or ()
    ]  # fmt: skip
    volumes = [("VOLUME NAME", "LINKS", "SIZE")]
    volumes += [
        (item["Name"], str(item["UsageData"]["RefCount"]), human_size(max(0, item["UsageData"]["Size"])))
        for item in found["Volumes"] or ()
    ]
    logs = [("CONTAINER ID", "NAME", "LOG SIZE")]
    logs += [(log["Container"][:12], log["Name"], human_size(log["Size"])) for log in found.get("Logs") or ()]
    logged = f"Logs space usage:\n\n{columns(logs)}\n" if "Logs" in found else ""
    return (
        f"Images space usage:\n\n{columns(images)}\nContainers space usage:\n\n{columns(containers)}\n"
        f"Local Volumes space usage:\n\n{columns(volumes)}\n{logged}"
        f"Build cache usage: {human_size(found.get('BuilderSize') or 0)}\n\n"
        + columns([("CACHE ID", "CACHE TYPE", "SIZE", "CREATED", "LAST USED", "USAGE", "SHARED")])
    )


def prune(options: Options) -> int:
    """Remove what is not needed: containers that are down, images nobody uses, with ``--volumes`` volumes."""
    from tui.cli.prune import agree, reclaimed
    from tui.cli.ps import filters

    kinds_ = ["all stopped containers"]
    kinds_ += ["all anonymous volumes not used by at least one container"] if options["volumes"] else []
    kinds_ += (
        ["all images without at least one container associated to them"] if options["all"] else ["all dangling images"]
    )
    if not options["force"]:
        wanted = "".join([f"  - {kind}\n" for kind in kinds_])
        if options["filter"]:
            wanted += "\n  Items to be pruned will be filtered with:\n"
            wanted += "".join([f"  - {text}\n" for text in options["filter"]])
        agree(f"This will remove:\n{wanted}")
    freed = 0
    given = options["filter"]
    found = call("POST", target("/containers/prune", {"filters": filters(given)}))
    freed += _told("Deleted Containers", found["ContainersDeleted"], found["SpaceReclaimed"])
    if options["volumes"]:
        found = call("POST", target("/volumes/prune", {"filters": filters(_without(given, "until"))}))
        freed += _told("Deleted Volumes", found["VolumesDeleted"], found["SpaceReclaimed"])
    dangling = f"dangling={'false' if options['all'] else 'true'}"
    found = call("POST", target("/images/prune", {"filters": filters([*given, dangling])}))
    lines = [
        f"{word.lower()}: {entry[word]}"
        for entry in found["ImagesDeleted"] or ()
        for word in ("Untagged", "Deleted")
        if word in entry
    ]
    freed += _told("Deleted Images", lines, found["SpaceReclaimed"])
    output.out(reclaimed(freed))
    return 0


def _without(given: list[str], key: str) -> list[str]:
    """Volumes have no age: a filter by it cannot be meant for them."""
    return [text for text in given if text.partition("=")[0] != key]


def _told(title: str, lines: list[str] | None, freed: int) -> int:
    if lines:
        output.out(f"{title}:\n" + "".join([line + "\n" for line in lines]) + "\n")
    return freed
