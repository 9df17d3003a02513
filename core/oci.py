"""The OCI documents this engine reads and writes, as typed dictionaries.

Runtime specification 1.2 (config.md, config-linux.md) and image specification 1.1. They stay plain
dictionaries at run time: JSON in, JSON out, nothing to import, and a bundle made from them can be run by
runc or crun. Only the members this engine uses are listed.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict

# --- image specification ---------------------------------------------------------------------------

MEDIA_INDEX = "application/vnd.oci.image.index.v1+json"
MEDIA_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
MEDIA_CONFIG = "application/vnd.oci.image.config.v1+json"
MEDIA_LAYER = "application/vnd.oci.image.layer.v1.tar"
MEDIA_LAYER_GZIP = MEDIA_LAYER + "+gzip"
MEDIA_LAYER_ZSTD = MEDIA_LAYER + "+zstd"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"


class Platform(TypedDict):
    """image-spec image-index.md, ``platform``."""

    architecture: str
    os: str
    variant: NotRequired[str]


class Descriptor(TypedDict):
    """image-spec descriptor.md: what a blob is, its digest (``sha256:…``) and its size in bytes."""

    mediaType: str
    digest: str
    size: int
    platform: NotRequired[Platform]
    annotations: NotRequired[dict[str, str]]


class Manifest(TypedDict):
    """image-spec manifest.md."""

    schemaVersion: int
    mediaType: NotRequired[str]
    config: Descriptor
    layers: list[Descriptor]
    annotations: NotRequired[dict[str, str]]


class Healthcheck(TypedDict, total=False):
    """Docker's HEALTHCHECK in an image's config; times in nanoseconds."""

    Test: list[str]
    Interval: int
    Timeout: int
    StartPeriod: int
    StartInterval: int
    Retries: int


class ImageConfig(TypedDict, total=False):
    """The ``config`` member of an image: the defaults for a container (image-spec config.md)."""

    User: str
    ExposedPorts: dict[str, dict[str, str]] | None
    Env: list[str] | None
    Entrypoint: list[str] | None
    Cmd: list[str] | None
    Volumes: dict[str, dict[str, str]] | None
    WorkingDir: str
    Labels: dict[str, str] | None
    StopSignal: str
    Healthcheck: Healthcheck | None
    Shell: list[str] | None
    OnBuild: list[str] | None


class RootFS(TypedDict):
    """``type`` is always ``layers``; ``diff_ids`` are digests of the uncompressed layer tars, base first."""

    type: str
    diff_ids: list[str]


class History(TypedDict, total=False):
    """One line of an image's history."""

    created: str
    created_by: str
    author: str
    comment: str
    empty_layer: bool


class Image(TypedDict):
    """image-spec config.md, the whole document; its sha256 is the image's id."""

    architecture: str
    os: str
    variant: NotRequired[str]
    created: NotRequired[str]
    author: NotRequired[str]
    config: NotRequired[ImageConfig]
    rootfs: RootFS
    history: NotRequired[list[History]]


# --- runtime specification -------------------------------------------------------------------------


class User(TypedDict):
    """runtime-spec config.md ``process.user``."""

    uid: int
    gid: int
    umask: NotRequired[int]
    additionalGids: NotRequired[list[int]]


class Capabilities(TypedDict, total=False):
    """Names as ``CAP_CHOWN``."""

    bounding: list[str]
    effective: list[str]
    inheritable: list[str]
    permitted: list[str]
    ambient: list[str]


class Rlimit(TypedDict):
    """``type`` as ``RLIMIT_NOFILE``."""

    type: str
    soft: int
    hard: int


class ConsoleSize(TypedDict):
    """Rows and columns."""

    height: int
    width: int


class Process(TypedDict):
    """runtime-spec config.md ``process``; also the document of an exec."""

    terminal: NotRequired[bool]
    consoleSize: NotRequired[ConsoleSize]
    user: User
    args: list[str]
    env: list[str]
    cwd: str
    capabilities: NotRequired[Capabilities]
    rlimits: NotRequired[list[Rlimit]]
    noNewPrivileges: NotRequired[bool]
    oomScoreAdj: NotRequired[int]
    apparmorProfile: NotRequired[str]


class Mount(TypedDict):
    """runtime-spec config.md ``mounts``; ``options`` as in fstab (``rbind``, ``ro``, ``rslave`` …)."""

    destination: str
    type: NotRequired[str]
    source: NotRequired[str]
    options: NotRequired[list[str]]


class Root(TypedDict):
    """``path`` of the root file system, and whether it ends up read-only."""

    path: str
    readonly: NotRequired[bool]


class Namespace(TypedDict):
    """``type`` is pid, network, mount, ipc, uts, user or cgroup; with ``path`` it is joined, else created."""

    type: str
    path: NotRequired[str]


class Device(TypedDict):
    """A node to make in /dev (``type`` c, b or p)."""

    path: str
    type: str
    major: NotRequired[int]
    minor: NotRequired[int]
    fileMode: NotRequired[int]
    uid: NotRequired[int]
    gid: NotRequired[int]


class DeviceRule(TypedDict):
    """One line of the device allow-list; a missing number means all."""

    allow: bool
    type: NotRequired[str]
    major: NotRequired[int]
    minor: NotRequired[int]
    access: NotRequired[str]


class Memory(TypedDict, total=False):
    """Bytes; -1 means no limit. ``swap`` is memory + swap, as in cgroup v1."""

    limit: int
    reservation: int
    swap: int
    swappiness: int
    disableOOMKiller: bool


class Cpu(TypedDict, total=False):
    """``shares`` 2…262144; ``quota`` and ``period`` in microseconds."""

    shares: int
    quota: int
    period: int
    cpus: str
    mems: str


class Pids(TypedDict):
    """-1 or 0 means no limit."""

    limit: int


class Throttle(TypedDict):
    """``rate`` in bytes or operations a second."""

    major: int
    minor: int
    rate: int


class BlockIO(TypedDict, total=False):
    """``weight`` 10…1000."""

    weight: int
    throttleReadBpsDevice: list[Throttle]
    throttleWriteBpsDevice: list[Throttle]
    throttleReadIOPSDevice: list[Throttle]
    throttleWriteIOPSDevice: list[Throttle]


class Resources(TypedDict, total=False):
    """runtime-spec config-linux.md ``resources``."""

    devices: list[DeviceRule]
    memory: Memory
    cpu: Cpu
    pids: Pids
    blockIO: BlockIO
    unified: dict[str, str]


class SeccompArg(TypedDict):
    """``op`` as ``SCMP_CMP_EQ``."""

    index: int
    value: int
    valueTwo: NotRequired[int]
    op: str


class SeccompRule(TypedDict):
    """One rule of a profile."""

    names: list[str]
    action: str
    errnoRet: NotRequired[int]
    args: NotRequired[list[SeccompArg]]


class Seccomp(TypedDict):
    """runtime-spec config-linux.md ``seccomp``."""

    defaultAction: str
    defaultErrnoRet: NotRequired[int]
    architectures: NotRequired[list[str]]
    syscalls: NotRequired[list[SeccompRule]]


class Linux(TypedDict, total=False):
    """runtime-spec config-linux.md."""

    namespaces: list[Namespace]
    devices: list[Device]
    cgroupsPath: str
    resources: Resources
    seccomp: Seccomp
    sysctl: dict[str, str]
    maskedPaths: list[str]
    readonlyPaths: list[str]
    rootfsPropagation: str
    mountLabel: str


class Spec(TypedDict):
    """The whole ``config.json`` of a bundle."""

    ociVersion: str
    process: Process
    root: Root
    hostname: NotRequired[str]
    domainname: NotRequired[str]
    mounts: list[Mount]
    linux: Linux
    annotations: NotRequired[dict[str, str]]
