"""The one table of verbs and flags. The parser, the help and the tests all read it.

A verb's flags are text, turned into :class:`tui.cli.flags.Flag` only for the verb that is run. Names, letters and
kinds are Docker's. ``!`` marks what Docker has and Dockyard refuses by name.
"""

from __future__ import annotations

from tui.cli.flag_tables import (
    ATTACH_FLAGS,
    COMMIT_FLAGS,
    CONTAINER_PRUNE_FLAGS,
    CP_FLAGS,
    CREATE_FLAGS,
    DF_FLAGS,
    EVENTS_FLAGS,
    EXEC_FLAGS,
    EXPORT_FLAGS,
    FORMAT,
    HISTORY_FLAGS,
    IMAGE_PRUNE_FLAGS,
    IMAGE_TREE_FLAGS,
    IMAGES_FLAGS,
    IMPORT_FLAGS,
    INSPECT_FLAGS,
    LOAD_FLAGS,
    LOGIN_FLAGS,
    LOGS_FLAGS,
    MANIFEST_INSPECT_FLAGS,
    NETWORK_CONNECT_FLAGS,
    NETWORK_CREATE_FLAGS,
    NETWORK_INSPECT_FLAGS,
    NETWORK_LS_FLAGS,
    NETWORK_PRUNE_FLAGS,
    PS_FLAGS,
    PULL_FLAGS,
    PUSH_FLAGS,
    RM_FLAGS,
    RMI_FLAGS,
    RUN_FLAGS,
    SAVE_FLAGS,
    SEARCH_FLAGS,
    SERVE_FLAGS,
    START_FLAGS,
    STATS_FLAGS,
    STOP_FLAGS,
    SYSTEM_PRUNE_FLAGS,
    UPDATE_FLAGS,
    VOLUME_CREATE_FLAGS,
    VOLUME_LS_FLAGS,
    VOLUME_PRUNE_FLAGS,
)


class Verb:
    """``module`` has the function ``run(verb, options)`` or the one named after a colon; ``most`` -1: no limit."""

    __slots__ = ("function", "interspersed", "least", "module", "most", "name", "summary", "table", "usage")

    def __init__(self, name: str, usage: str, counts: tuple[int, int], where: str, summary: str, table: str) -> None:
        self.name = name
        self.usage = usage
        self.least, self.most = counts
        self.module, _, self.function = where.partition(":")
        self.summary = summary
        self.table = table
        self.interspersed = name not in ("run", "create", "exec", "top")


_MANY = "[OPTIONS] CONTAINER [CONTAINER...]"
_RUN = "[OPTIONS] IMAGE [COMMAND] [ARG...]"
_ONE = "[OPTIONS] CONTAINER"
_PORT = """CONTAINER [PRIVATE_PORT[/PROTO]]
        dockyard port add CONTAINER [[IP:]HOST_PORT:]PORT[/PROTO]...
        dockyard port rm CONTAINER [[IP:]HOST_PORT:]PORT[/PROTO]..."""
_LIFE = "tui.cli.lifecycle:"
_OBSERVE = "tui.cli.observe:"
_COPY = "tui.cli.copy:"
_SAVE = "tui.cli.archives:"
_SYSTEM = "tui.cli.system:"
_IMAGE = "tui.cli.images:"
_REGISTRY = "tui.cli.registries:"
_VOLUME = "tui.cli.volumes:"
_NETWORK = "tui.cli.network:"
_ROWS = (
    ("run", _RUN, (1, -1), "tui.cli.run:run", "Create and run a new container from an image", RUN_FLAGS),
    ("exec", "[OPTIONS] CONTAINER COMMAND [ARG...]", (2, -1), "tui.cli.execute:run",
     "Execute a command in a running container", EXEC_FLAGS),
    ("ps", "[OPTIONS]", (0, 0), "tui.cli.ps:run", "List containers", PS_FLAGS),
    ("logs", _ONE, (1, 1), "tui.cli.logs:run", "Fetch the logs of a container", LOGS_FLAGS),
    ("attach", _ONE, (1, 1), "tui.cli.attach:attach",
     "Attach local standard input, output, and error streams to a running container", ATTACH_FLAGS),
    ("commit", "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]", (1, 2), _COPY + "commit",
     "Create a new image from a container's changes", COMMIT_FLAGS),
    ("completion", "bash|zsh|fish", (1, 1), "tui.cli.completion:run", "Generate the completion script for a shell", ""),
    ("cp", "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-", (2, 2), _COPY + "cp",
     "Copy files/folders between a container and the local filesystem", CP_FLAGS),
    ("create", _RUN, (1, -1), "tui.cli.run:create", "Create a new container", CREATE_FLAGS),
    ("demo", "[OPTIONS]", (0, 0), "tui.cli.demo:run", "Start some containers to look at",
     "rm bool Remove what the demo made\n"),
    ("diff", "CONTAINER", (1, 1), _COPY + "diff", "Inspect changes to files or directories on a container's filesystem",
     ""),
    ("events", "[OPTIONS]", (0, 0), "tui.cli.events:run", "Get real time events from the server", EVENTS_FLAGS),
    ("export", _ONE, (1, 1), _COPY + "export", "Export a container's filesystem as a tar archive", EXPORT_FLAGS),
    ("history", "[OPTIONS] IMAGE", (1, 1), _SAVE + "history", "Show the history of an image", HISTORY_FLAGS),
    ("images", "[OPTIONS] [REPOSITORY[:TAG]]", (0, 1), _IMAGE + "images", "List images", IMAGES_FLAGS),
    ("import", "[OPTIONS] file|- [REPOSITORY[:TAG]]", (1, 2), _IMAGE + "import_rootfs",
     "Import the contents from a tarball to create a filesystem image", IMPORT_FLAGS),
    ("info", "[OPTIONS]", (0, 0), _SYSTEM + "info", "Display system-wide information", f"format,f string {FORMAT}\n"),
    ("inspect", "[OPTIONS] NAME|ID [NAME|ID...]", (1, -1), "tui.cli.inspect:run",
     "Return low-level information on objects", INSPECT_FLAGS),
    ("kill", _MANY, (1, -1), _LIFE + "kill", "Kill one or more running containers",
     "signal,s string Signal to send to the container\n"),
    ("load", "[OPTIONS]", (0, 0), _IMAGE + "load", "Load an image from a tar archive or STDIN", LOAD_FLAGS),
    ("port", _PORT, (1, -1), _OBSERVE + "port",
     "List port mappings or a specific mapping for the container; publish more, or take them away", ""),
    ("login", "[OPTIONS] [SERVER]", (0, 1), _REGISTRY + "login", "Authenticate to a registry", LOGIN_FLAGS),
    ("logout", "[SERVER]", (0, 1), _REGISTRY + "logout", "Log out from a registry", ""),
    ("pull", "[OPTIONS] NAME[:TAG|@DIGEST]", (1, 1), _REGISTRY + "pull", "Download an image from a registry",
     PULL_FLAGS),
    ("push", "[OPTIONS] NAME[:TAG]", (1, 1), _REGISTRY + "push", "Upload an image to a registry", PUSH_FLAGS),
    ("search", "[OPTIONS] TERM", (1, 1), _REGISTRY + "search", "Search a registry for images", SEARCH_FLAGS),
    ("pause", "CONTAINER [CONTAINER...]", (1, -1), _LIFE + "pause", "Pause all processes within one or more containers",
     ""),
    ("rename", "CONTAINER NEW_NAME", (2, 2), _LIFE + "rename", "Rename a container", ""),
    ("restart", _MANY, (1, -1), _LIFE + "restart", "Restart one or more containers", STOP_FLAGS),
    ("rm", _MANY, (1, -1), _LIFE + "rm", "Remove one or more containers", RM_FLAGS),
    ("rmi", "[OPTIONS] IMAGE [IMAGE...]", (1, -1), _IMAGE + "rmi", "Remove one or more images", RMI_FLAGS),
    ("save", "[OPTIONS] IMAGE [IMAGE...]", (1, -1), _SAVE + "save",
     "Save one or more images to a tar archive (streamed to STDOUT by default)", SAVE_FLAGS),
    ("serve", "[OPTIONS]", (0, 0), "tui.cli.launch:serve", "Run an engine in the foreground", SERVE_FLAGS),
    ("start", _MANY, (1, -1), "tui.cli.attach:start", "Start one or more stopped containers", START_FLAGS),
    ("stats", "[OPTIONS] [CONTAINER...]", (0, -1), _OBSERVE + "stats",
     "Display a live stream of container(s) resource usage statistics", STATS_FLAGS),
    ("stop", _MANY, (1, -1), _LIFE + "stop", "Stop one or more running containers", STOP_FLAGS),
    ("tag", "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", (2, 2), _SAVE + "tag",
     "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE", ""),
    ("top", "CONTAINER [ps OPTIONS]", (1, -1), _OBSERVE + "top", "Display the running processes of a container", ""),
    ("unpause", "CONTAINER [CONTAINER...]", (1, -1), _LIFE + "unpause",
     "Unpause all processes within one or more containers", ""),
    ("update", _MANY, (1, -1), "tui.cli.update:run", "Update configuration of one or more containers", UPDATE_FLAGS),
    ("version", "[OPTIONS]", (0, 0), _SYSTEM + "version", "Show the version information",
     f"format,f string {FORMAT}\n"),
    ("wait", "CONTAINER [CONTAINER...]", (1, -1), _LIFE + "wait",
     "Block until one or more containers stop, then print their exit codes", ""),
    ("container prune", "[OPTIONS]", (0, 0), "tui.cli.prune:containers", "Remove all stopped containers",
     CONTAINER_PRUNE_FLAGS),
    ("image prune", "[OPTIONS]", (0, 0), _SAVE + "prune", "Remove unused images", IMAGE_PRUNE_FLAGS),
    ("image protect", "IMAGE [IMAGE...]", (1, -1), _REGISTRY + "protect", "Keep names of images from prune", ""),
    ("image tree", "[OPTIONS] IMAGE", (1, 1), "tui.cli.tree:run",
     "Show an image layer by layer: files added, changed and removed, and what is hidden", IMAGE_TREE_FLAGS),
    ("image unprotect", "IMAGE [IMAGE...]", (1, -1), _REGISTRY + "unprotect", "Let prune take names of images again",
     ""),
    ("manifest inspect", "[OPTIONS] MANIFEST", (1, 2), _REGISTRY + "manifest_inspect",
     "Display an image manifest, or manifest list", MANIFEST_INSPECT_FLAGS),
    ("network connect", "[OPTIONS] NETWORK CONTAINER", (2, 2), _NETWORK + "connect",
     "Connect a container to a network", NETWORK_CONNECT_FLAGS),
    ("network create", "[OPTIONS] NETWORK", (1, 1), _NETWORK + "create", "Create a network", NETWORK_CREATE_FLAGS),
    ("network disconnect", "[OPTIONS] NETWORK CONTAINER", (2, 2), _NETWORK + "disconnect",
     "Disconnect a container from a network",
     "force,f bool Force the container to disconnect from a network\n"),
    ("network inspect", "[OPTIONS] NETWORK [NETWORK...]", (1, -1), _NETWORK + "inspect",
     "Display detailed information on one or more networks", NETWORK_INSPECT_FLAGS),
    ("network ls", "[OPTIONS]", (0, 0), _NETWORK + "ls", "List networks", NETWORK_LS_FLAGS),
    ("network prune", "[OPTIONS]", (0, 0), _NETWORK + "prune", "Remove all unused networks", NETWORK_PRUNE_FLAGS),
    ("network rm", "[OPTIONS] NETWORK [NETWORK...]", (1, -1), _NETWORK + "rm", "Remove one or more networks",
     "force,f bool Do not error if the network does not exist\n"),
    ("system df", "[OPTIONS]", (0, 0), "tui.cli.usage:df", "Show disk usage", DF_FLAGS),
    ("system prune", "[OPTIONS]", (0, 0), "tui.cli.usage:prune", "Remove unused data", SYSTEM_PRUNE_FLAGS),
    ("system dial-stdio", "", (0, 0), "tui.cli.dial:run", "Proxy the stdio stream to the daemon connection", ""),
    ("volume create", "[OPTIONS] [VOLUME]", (0, 1), _VOLUME + "create", "Create a volume", VOLUME_CREATE_FLAGS),
    ("volume ls", "[OPTIONS]", (0, 0), _VOLUME + "ls", "List volumes", VOLUME_LS_FLAGS),
    ("volume inspect", "[OPTIONS] VOLUME [VOLUME...]", (1, -1), _VOLUME + "inspect",
     "Display detailed information on one or more volumes", f"format,f string {FORMAT}\n"),
    ("volume rm", "[OPTIONS] VOLUME [VOLUME...]", (1, -1), _VOLUME + "rm", "Remove one or more volumes",
     "force,f bool Force the removal of one or more volumes\n"),
    ("volume prune", "[OPTIONS]", (0, 0), _VOLUME + "prune", "Remove unused local volumes", VOLUME_PRUNE_FLAGS),
)  # fmt: skip
VERBS = {row[0]: row for row in _ROWS}

#: Docker's noun forms: noun → (its own name for a verb → our verb).
_SAME = (
    "attach commit cp create diff exec export inspect kill logs pause port rename restart rm run start stats stop top "
    "unpause update wait"
)
NOUNS = {
    "container": {"ls": "ps", "list": "ps", "ps": "ps", "remove": "rm",
                  "prune": "container prune", **{name: name for name in _SAME.split()}},
    "image": {"ls": "images", "list": "images", "rm": "rmi", "remove": "rmi", "import": "import", "load": "load",
              "pull": "pull", "inspect": "inspect", "history": "history", "save": "save", "tag": "tag",
              "prune": "image prune", "protect": "image protect", "unprotect": "image unprotect", "push": "push",
              "tree": "image tree"},
    "manifest": {"inspect": "manifest inspect"},
    "network": {"connect": "network connect", "create": "network create", "disconnect": "network disconnect",
                "inspect": "network inspect", "ls": "network ls", "list": "network ls", "prune": "network prune",
                "rm": "network rm", "remove": "network rm"},
    "system": {"info": "info", "events": "events", "df": "system df", "prune": "system prune",
               "dial-stdio": "system dial-stdio"},
    "volume": {"create": "volume create", "ls": "volume ls", "list": "volume ls", "inspect": "volume inspect",
               "rm": "volume rm", "remove": "volume rm", "prune": "volume prune"},
}  # fmt: skip

#: Verbs and nouns of Docker's that do not exist here yet.
LATER = frozenset(
    "build builder buildx checkpoint compose config context node plugin secret service stack swarm trust".split()
) | {"volume update", "manifest annotate", "manifest create", "manifest push", "manifest rm"}


def find(name: str) -> Verb | None:
    """The verb called ``name``."""
    row = VERBS.get(name)
    return Verb(*row) if row else None
