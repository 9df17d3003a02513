"""``network create ls inspect rm connect disconnect prune``."""

from __future__ import annotations

from tui.cli import output
from tui.cli.addresses import version
from tui.cli.endpoints import any_ip, hardware, ipv4, ipv6, link
from tui.cli.engine import call
from tui.cli.errors import ApiError, CliError, UsageError
from tui.cli.rows import Noun, labels, natural
from tui.cli.transport import quote, target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Interface, IPv6Interface
    from typing import Any

    from tui.cli.flags import Options

    Item = dict[str, Any]


def _path(ref: str) -> str:
    """``/networks/REF``, whatever was typed as the name; ApiError when that is nothing."""
    if not ref.strip():
        error = ApiError(400, "invalid network name or ID: value is empty")
        error.message = error.reason  # Docker's client says it, not its engine
        raise error
    return "/networks/" + quote(ref).replace("/", "%2F")


def _each(options: Options, flag: str) -> list[str]:
    """The values of a flag that may be repeated and may be separated by commas."""
    from tui.cli.mounts import comma_separated

    return [value for text in options[flag] for value in (comma_separated(text) if text else [])]


def _checked(flag: str, text: str, check: Callable[[str], str]) -> str:
    try:
        return check(text)
    except ValueError as error:
        raise UsageError(f'invalid argument "{text}" for "--{flag}" flag: {error}') from None


# --- create ----------------------------------------------------------------------------------------


def create(options: Options) -> int:
    """Make a network and print its id."""
    found = call("POST", "/networks/create", create_body(options))
    if found.get("Warning"):
        output.err(f"WARNING: {found['Warning']}\n")
    output.out(found["Id"] + "\n")
    return 0


def create_body(options: Options) -> Item:
    """What Docker's client sends for the same flags. Raises UsageError and CliError in its words."""
    body: Item = {
        "Name": options.args[0],
        "Driver": options["driver"],
        "Scope": "",
        "IPAM": {
            "Driver": options["ipam-driver"],
            "Options": _pairs(options["ipam-opt"]),
            "Config": _pools(options),
        },
        "Internal": options["internal"],
        "Attachable": options["attachable"],
        "Ingress": False,
        "ConfigOnly": False,
        "ConfigFrom": None,
        "Options": _pairs(options["opt"]),
        "Labels": _pairs([_label(text) for text in options["label"]]),
    }
    for member, flag in (("EnableIPv4", "ipv4"), ("EnableIPv6", "ipv6")):
        if options.given(flag):
            body[member] = options[flag]
    return body


def _pairs(texts: list[str]) -> dict[str, str]:
    return {key: value for key, _, value in (text.partition("=") for text in texts)}


def _label(text: str) -> str:
    name = text.partition("=")[0].lstrip()
    why = f"invalid label '{text}': empty name" if not name else ""
    if any(c.isspace() for c in name):
        why = f"label '{name}' contains whitespaces"
    if why:
        raise UsageError(f'invalid argument "{text}" for "--label" flag: {why}')
    return text


class _Pool:
    """One subnet with what belongs to it, as it was typed."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.network = _cidr(text, "invalid subnet: ").network
        self.config: Item = {"Subnet": text}

    def holds(self, address: str) -> bool:
        """Whether the address, or the range that starts with it, lies in this subnet."""
        from ipaddress import ip_address

        return bool(version(address)) and ip_address(address) in self.network


def _cidr(text: str, before: str = "") -> IPv4Interface | IPv6Interface:
    """An address with the length of its prefix. Raises CliError."""
    from ipaddress import ip_interface

    address, _, length = text.partition("/")
    longest = {4: 32, 6: 128}.get(version(address), -1)
    if not (length.isascii() and length.isdecimal() and len(length) <= 3 and int(length) <= longest):
        raise CliError(f"{before}invalid CIDR address: {text}")
    return ip_interface(f"{address}/{int(length)}")


def _pools(options: Options) -> list[Item]:
    """IPAM.Config: each range, gateway and auxiliary address goes to the subnet that it lies in."""
    subnets, ranges, gateways = (_each(options, flag) for flag in ("subnet", "ip-range", "gateway"))
    if len(subnets) < max(len(ranges), len(gateways)):
        raise CliError("every ip-range or gateway must have a corresponding subnet")
    pools: list[_Pool] = []
    for text in subnets:
        pool = _Pool(text)
        if any(pool.network.version == other.network.version and pool.network.overlaps(other.network)
               for other in pools):  # fmt: skip
            raise CliError("multiple overlapping subnet configuration is not supported")
        pools.append(pool)
    for text in ranges:
        _cidr(text)
        pool = _pool_of(pools, text.partition("/")[0], f"range {text}")
        if "IPRange" in pool.config:
            both = f"{text}, {pool.config['IPRange']}"
            raise CliError(f"cannot configure multiple ranges ({both}) on the same subnet ({pool.text})")
        pool.config["IPRange"] = text
    for text in gateways:
        pool = _pool_of(pools, text, f"gateway {text}")
        if "Gateway" in pool.config:
            both = f"{text}, {pool.config['Gateway']}"
            raise CliError(f"cannot configure multiple gateways ({both}) for the same subnet ({pool.text})")
        pool.config["Gateway"] = text
    for text in options["aux-address"]:
        name, _, address = text.partition("=")
        if not name or not version(address):
            raise UsageError(f'invalid argument "{text}" for "--aux-address" flag: write NAME=ADDRESS')
        pool = _pool_of(pools, address, f"aux-address {address}")
        pool.config.setdefault("AuxiliaryAddresses", {})[name] = address
    return [pool.config for pool in pools]


def _pool_of(pools: list[_Pool], address: str, what: str) -> _Pool:
    for pool in pools:
        if pool.holds(address):
            return pool
    raise CliError(f"no matching subnet for {what}")


# --- connect and disconnect ------------------------------------------------------------------------


def connect(options: Options) -> int:
    """Connect a container, running or not, to a network."""
    call("POST", f"{_path(options.args[0])}/connect", connect_body(options))
    return 0


def connect_body(options: Options) -> Item:
    """The request; what was not given is left out. Raises UsageError and CliError in Docker's words."""
    address: Item = {}
    for member, flag, check in (("IPv4Address", "ip", ipv4), ("IPv6Address", "ip6", ipv6)):
        if options[flag]:
            address[member] = _checked(flag, options[flag], check)
    local = [_checked("link-local-ip", text, any_ip) for text in _each(options, "link-local-ip")]
    if local:
        address["LinkLocalIPs"] = local
    settings: Item = {
        "IPAMConfig": address,
        "Links": [_checked("link", text, link) for text in options["link"]],
        "Aliases": _each(options, "alias"),
        "DriverOpts": _driver_options(_each(options, "driver-opt")),
        "GwPriority": options["gw-priority"],
    }
    if options["mac-address"]:
        settings["MacAddress"] = _checked("mac-address", options["mac-address"], hardware)
    return {"Container": options.args[1], "EndpointConfig": {k: v for k, v in settings.items() if v}}


def _driver_options(texts: list[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise CliError("invalid key/value pair format in driver options")
        found[key.strip()] = value.strip()
    return found


def disconnect(options: Options) -> int:
    """Take a container off a network; with ``-f`` also one that does not answer, or is gone."""
    call("POST", f"{_path(options.args[0])}/disconnect", disconnect_body(options))
    return 0


def disconnect_body(options: Options) -> Item:
    """The request."""
    return {"Container": options.args[1], "Force": options["force"]}


# --- ls, inspect, rm, prune ------------------------------------------------------------------------


def ls(options: Options) -> int:
    """List networks by name."""
    from tui.cli.ps import filters

    found = call("GET", target("/networks", {"filters": filters(options["filter"])})) or []
    items = sorted(found, key=lambda item: natural(item["Name"]))
    truncate = not options["no-trunc"]
    if options["quiet"] and options["format"] in ("", "table"):
        output.out("".join([_id(item, truncate) + "\n" for item in items]))
        return 0
    from tui.cli.formatting import print_rows

    print_rows(noun(), items, options["format"] or "table", truncate=truncate)
    return 0


def _id(item: Item, truncate: bool) -> str:
    identifier: str = item["Id"]
    return identifier[:12] if truncate else identifier


def _word(member: str) -> Callable[[Item, bool], str]:
    return lambda item, truncate: "true" if item.get(member) else "false"


def _created(item: Item, truncate: bool) -> str:
    """The moment as Go writes one: ``2026-11-27 06:21:19.34782692 +0000 UTC``."""
    day, _, rest = item["Created"].partition("T")
    clock, offset = (rest[:-1], "+0000") if rest.endswith("Z") else (rest[:-6], rest[-6:].replace(":", ""))
    if "." in clock:
        clock = clock.rstrip("0").rstrip(".")
    return f"{day} {clock} {offset} {'UTC' if rest.endswith('Z') else offset}"


def noun() -> Noun:
    """The fields of ``network ls``."""
    return Noun(
        "*network.networkContext",
        "table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
        {
            "CreatedAt": ("CREATED AT", _created),
            "Driver": ("DRIVER", lambda item, truncate: item["Driver"]),
            "ID": ("NETWORK ID", _id),
            "IPv4": ("IPV4", _word("EnableIPv4")),
            "IPv6": ("IPV6", _word("EnableIPv6")),
            "Internal": ("INTERNAL", _word("Internal")),
            "Labels": ("LABELS", labels),
            "Label": ("", lambda item, truncate, name: (item.get("Labels") or {}).get(name, "")),
            "Name": ("NAME", lambda item, truncate: item["Name"]),
            "Scope": ("SCOPE", lambda item, truncate: item["Scope"]),
        },
        hidden=("Label",),
    )


def inspect(options: Options) -> int:
    """Print every network named; the missing ones are told after."""
    from tui.cli.inspect import show

    query = {"verbose": "true"} if options["verbose"] else {}
    return show(options.args, options["format"], lambda name: call("GET", target(_path(name), query)))


def rm(options: Options) -> int:
    """Remove networks; with ``-f`` one that does not exist is no failure."""
    code = 0
    for name in options.args:
        try:
            call("DELETE", _path(name))
        except ApiError as error:
            if error.status == 404 and options["force"]:
                continue
            output.err(error.message + "\n")
            code = 1
        else:
            output.out(name + "\n")
    return code


def prune(options: Options) -> int:
    """Remove the networks without containers that somebody made; asks unless ``-f``."""
    from tui.cli.prune import agree
    from tui.cli.ps import filters

    if not options["force"]:
        agree("This will remove all custom networks not used by at least one container.")
    found = call("POST", target("/networks/prune", {"filters": filters(options["filter"])}))
    if found["NetworksDeleted"]:
        output.out("Deleted Networks:\n" + "".join([name + "\n" for name in found["NetworksDeleted"]]) + "\n")
    return 0
