"""The flags of ``run`` and ``create`` as Docker's create request."""

from __future__ import annotations

import posix

from tui.cli.errors import CliError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tui.cli.flags import Options

#: HostConfig's member → the flag that is its value as given.
_PLAIN = {
    "BlkioWeight": "blkio-weight",
    "CapAdd": "cap-add",
    "CapDrop": "cap-drop",
    "CgroupnsMode": "cgroupns",
    "ContainerIDFile": "cidfile",
    "CpuPeriod": "cpu-period",
    "CpuQuota": "cpu-quota",
    "CpuShares": "cpu-shares",
    "CpusetCpus": "cpuset-cpus",
    "CpusetMems": "cpuset-mems",
    "DeviceCgroupRules": "device-cgroup-rule",
    "GroupAdd": "group-add",
    "IpcMode": "ipc",
    "Memory": "memory",
    "MemoryReservation": "memory-reservation",
    "MemorySwap": "memory-swap",
    "MemorySwappiness": "memory-swappiness",
    "NanoCpus": "cpus",
    "OomKillDisable": "oom-kill-disable",
    "OomScoreAdj": "oom-score-adj",
    "PidMode": "pid",
    "PidsLimit": "pids-limit",
    "Privileged": "privileged",
    "ReadonlyRootfs": "read-only",
    "ShmSize": "shm-size",
    "UTSMode": "uts",
    "UsernsMode": "userns",
    "VolumeDriver": "volume-driver",
}
_STREAMS = ("stdin", "stdout", "stderr")


def request(options: Options, *, detach: bool = False) -> dict[str, Any]:
    """The body of POST /containers/create. Raises UsageError or CliError naming the flag."""
    config = _config(options)
    attached = attached_streams(options, detach)
    for stream in _STREAMS:
        config[f"Attach{stream.capitalize()}"] = stream in attached
    config["StdinOnce"] = config["OpenStdin"] and "stdin" in attached
    networks = options["network"]
    host: dict[str, Any] = {"NetworkMode": networks[0] if networks else "default", "AutoRemove": options["rm"]}
    host.update({member: options[flag] for member, flag in _PLAIN.items() if options.given(flag)})
    if options.given("init"):
        host["Init"] = options["init"]
    if options["tty"]:
        from tui.cli.terminal import size

        host["ConsoleSize"] = list(size())
    if options["restart"] not in ("", "no"):
        if options["rm"]:
            raise CliError("conflicting options: cannot specify both --restart and --rm", 125)
        host["RestartPolicy"] = restart_policy(options["restart"])
    _files(options, host)
    _rest(options, config, host)
    if options["security-opt"]:
        _security(options["security-opt"], host)
    if options["log-driver"] or options["log-opt"]:
        host["LogConfig"] = {"Type": options["log-driver"], "Config": _pairs("log-opt", options["log-opt"])}
    if options["ulimit"]:
        host["Ulimits"] = [_ulimit(text) for text in options["ulimit"]]
    return {**config, "HostConfig": host}


def attached_streams(options: Options, detach: bool) -> tuple[str, ...]:
    """The streams the client attaches to: ``-a``, else output, and input with ``-i``."""
    if detach:
        return ()
    chosen = tuple(name.lower() for name in options["attach"])
    for name in chosen:
        if name not in _STREAMS:
            raise UsageError(
                f'invalid argument "{name}" for "-a, --attach" flag: valid streams are STDIN, STDOUT and STDERR'
            )
    return chosen or (_STREAMS if options["interactive"] else _STREAMS[1:])


def _config(options: Options) -> dict[str, Any]:
    image, *command = options.args
    config: dict[str, Any] = {
        "Image": image,
        "Hostname": options["hostname"],
        "Domainname": options["domainname"],
        "User": options["user"],
        "WorkingDir": options["workdir"],
        "Tty": options["tty"],
        "OpenStdin": options["interactive"],
        "Env": environment(options["env-file"], options["env"]),
        "Labels": _labels(options),
    }
    if command:
        config["Cmd"] = command
    if options.given("entrypoint"):
        config["Entrypoint"] = [options["entrypoint"]]
    if options["stop-signal"]:
        config["StopSignal"] = options["stop-signal"]
    if options.given("stop-timeout"):
        config["StopTimeout"] = options["stop-timeout"]
    anonymous = [text for text in options["volume"] if ":" not in text]
    if anonymous:
        config["Volumes"] = {path: {} for path in anonymous}
    return config


_REST = (
    "annotation", "device", "device-read-bps", "device-read-iops", "device-write-bps", "device-write-iops", "sysctl",
)  # fmt: skip
_NETWORK = (
    "add-host", "dns", "dns-option", "dns-search", "expose", "ip", "ip6", "link", "link-local-ip", "mac-address",
    "network-alias", "publish", "publish-all",
)  # fmt: skip
_HEALTH = (
    "health-cmd", "health-interval", "health-retries", "health-start-interval", "health-start-period",
    "health-timeout", "no-healthcheck", "restart-unhealthy",
)  # fmt: skip


def _rest(options: Options, config: dict[str, Any], host: dict[str, Any]) -> None:
    """What few runs give has a module of its own: it costs the others nothing."""
    if any(options[flag] for flag in _REST):
        from tui.cli import hardware

        hardware.add(options, host)
    networks = options["network"]
    plain = not networks or (len(networks) == 1 and networks[0] and "=" not in networks[0])
    if not plain or any(options[flag] for flag in _NETWORK):
        from tui.cli import endpoints

        endpoints.add(options, config, host)
    if any(options[flag] for flag in _HEALTH):
        from tui.cli import health

        health.add(options, config, host)


def _files(options: Options, host: dict[str, Any]) -> None:
    if options["tmpfs"]:
        host["Tmpfs"] = {}
        for text in options["tmpfs"]:
            path, _, rest = text.partition(":")
            host["Tmpfs"][path] = rest
    if options["volume"] or options["mount"]:
        from tui.cli.mounts import is_bind, mount, volume

        binds = [text for text in options["volume"] if is_bind(text)]
        host["Mounts"] = [*map(volume, binds), *map(mount, options["mount"])]
        host["Binds"] = [text for text in options["volume"] if ":" in text and not is_bind(text)]
    if options["volumes-from"]:
        host["VolumesFrom"] = options["volumes-from"]


def environment(files: list[str], given: list[str]) -> list[str]:
    """Files first, then ``-e``; a bare name takes this process's value. Raises UsageError or CliError."""
    found = [line for path in files for line in _file_lines(path, "env", _variable)]
    for text in given:
        name, equals, _ = text.partition("=")
        if not name:
            raise UsageError(f'invalid argument "{text}" for "-e, --env" flag: invalid environment variable: {text}')
        own = None if equals else own_variable(name)
        found.append(text if own is None else f"{name}={own}")
    return found


def own_variable(name: str) -> str | None:
    """This process's environment variable, None where there is none."""
    value = posix.environ.get(name.encode("utf-8", "surrogateescape"))
    return None if value is None else value.decode("utf-8", "surrogateescape")


def _variable(name: str, equals: str, value: str) -> str | None:
    if equals:
        return f"{name}={value}"
    own = own_variable(name)
    return None if own is None else f"{name}={own}"


def _label(name: str, equals: str, value: str) -> str | None:
    return f"{name}={value}"


def _file_lines(path: str, kind: str, convert: Any) -> list[str]:
    """The entries of an environment or label file: comments and empty lines left out."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise CliError(f"dockyard: cannot read the {kind} file {path}: {error.strerror}", 125) from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CliError(f"dockyard: invalid {kind} file ({path}): it is not UTF-8 text", 125) from None
    found = []
    for line in text.split("\n"):
        line = line.removesuffix("\r").lstrip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not name:
            raise CliError(f"dockyard: invalid {kind} file ({path}): no variable name on line '{line}'", 125)
        if any(c.isspace() for c in name):
            raise CliError(f"dockyard: invalid {kind} file ({path}): variable '{name}' contains whitespaces", 125)
        entry = convert(name, equals, value)
        if entry is not None:
            found.append(entry)
    return found


def _labels(options: Options) -> dict[str, str]:
    entries = [line for path in options["label-file"] for line in _file_lines(path, "label", _label)]
    labels = {}
    for text in entries + options["label"]:
        name, _, value = text.partition("=")
        if not name:
            raise UsageError(f'invalid argument "{text}" for "-l, --label" flag: invalid label format: "{text}"')
        labels[name] = value
    return labels


def _pairs(flag: str, texts: list[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise UsageError(f'invalid argument "{text}" for "--{flag}" flag: write NAME=VALUE')
        pairs[name] = value
    return pairs


def restart_policy(text: str) -> dict[str, Any]:
    """``NAME[:COUNT]``; Docker's command line refuses the same things in the same words."""
    name, colon, count = text.partition(":")
    if colon and not name:
        raise CliError("invalid restart policy format: no policy provided before colon", 125)
    try:
        return {"Name": name, "MaximumRetryCount": int(count) if count else 0}
    except ValueError:
        raise CliError("invalid restart policy format: maximum retry count must be an integer", 125) from None


def _ulimit(text: str) -> dict[str, Any]:
    name, _, limits = text.partition("=")
    soft, _, hard = limits.partition(":")
    try:
        return {"Name": name, "Soft": int(soft), "Hard": int(hard or soft)}
    except ValueError:
        raise UsageError(
            f'invalid argument "{text}" for "--ulimit" flag: write NAME=SOFT[:HARD], as in nofile=1024:2048'
        ) from None


def _security(options: list[str], host: dict[str, Any]) -> None:
    """Seccomp profiles are files of the client's: their content is sent."""
    host["SecurityOpt"] = []
    for option in options:
        key, _, value = option.partition("=") if "=" in option else option.partition(":")
        if key == "systempaths" and value == "unconfined":
            host["MaskedPaths"], host["ReadonlyPaths"] = [], []
        elif key == "seccomp" and value not in ("", "unconfined", "builtin"):
            host["SecurityOpt"].append(f"seccomp={_profile(value)}")
        else:
            host["SecurityOpt"].append(option)


def _profile(path: str) -> str:
    from tui.cli.jsonlite import decode, show

    try:
        with open(path, "rb") as file:
            return show(decode(file.read()))
    except OSError as error:
        raise CliError(f"opening seccomp profile ({path}) failed: {error.strerror}", 125) from None
    except ValueError as error:
        raise CliError(f"compacting json for seccomp profile ({path}) failed: {error}", 125) from None
