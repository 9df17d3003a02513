"""A container's side of its networks: interfaces, addresses and routes in its network namespace.

The way of every start: 1 ms for a bridge. ``namespace`` is an fd of /proc/PID/ns/net. What is made in a namespace goes
with it; only a container that lives on has an interface taken away by name.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from core.errors import Conflict, DockyardError, KernelError, Unsupported
from core.linux import links, netns
from core.linux.netlink import Netlink, link_up
from core.network.model import Address, Endpoint, Network

#: Where a container's resolver is (``core.runtime.resolver``).
RESOLVER = "127.0.0.11"


@dataclass(frozen=True, slots=True)
class Plug:
    """One interface to be made. ``hairpin``: the container may reach its own published ports."""

    network: Network
    endpoint: Endpoint
    hairpin: bool = False


class Cables:
    """The route socket of the host's namespace, and what is done through it."""

    def __init__(self) -> None:
        self._netlink = Netlink()

    def close(self) -> None:
        """Close the socket."""
        self._netlink.close()

    def plug(self, namespace: int, plugs: Sequence[Plug], gateways: Sequence[tuple[Endpoint, Network]]) -> None:
        """Make the interfaces and configure them; ``gateways`` are the default routes' (IPv4, IPv6 may differ).

        Raises Conflict, Unsupported or KernelError; the caller then drops the namespace, or unplugs.
        """
        for plug in plugs:
            try:
                self._make(namespace, plug)
            except OSError as error:
                raise _as_ours(error, plug) from error
        try:
            netns.inside(namespace, lambda: _configure(plugs, gateways))
        except OSError as error:
            what = ", ".join(plug.network.name for plug in plugs)
            raise DockyardError(f"configure the interfaces of network {what}: {error.strerror}") from error

    def _make(self, namespace: int, plug: Plug) -> None:
        network, endpoint = plug.network, plug.endpoint
        device = socket.if_nametoindex(network.device)
        if network.driver == "bridge":
            request = links.veth(
                self._netlink, endpoint.host_interface, device, endpoint.interface, namespace, endpoint.mac,
                mtu=network.mtu,
            )  # fmt: skip
        else:
            request = _sub_interface(self._netlink, namespace, device, plug)
        self._netlink.run([request])
        isolated = is_isolated(network)
        if plug.hairpin or isolated:
            self.port(endpoint, hairpin=plug.hairpin, isolated=isolated)

    def port(self, endpoint: Endpoint, *, hairpin: bool, isolated: bool = False) -> None:
        """Settings of the bridge's port of an endpoint."""
        index = socket.if_nametoindex(endpoint.host_interface)
        self._netlink.run([links.bridge_port(self._netlink, index, hairpin=hairpin, isolated=isolated or None)])

    def replug(self, endpoint: Endpoint, network: Network, *, hairpin: bool) -> None:
        """Make the host's end a port of its bridge again: the bridge was deleted and is back. Raises OSError.

        An end that is gone stays gone.
        """
        try:
            index = socket.if_nametoindex(endpoint.host_interface)
        except OSError:
            return
        self._netlink.run([links.enslave(self._netlink, index, socket.if_nametoindex(network.device))])
        self.port(endpoint, hairpin=hairpin, isolated=is_isolated(network))


def is_isolated(network: Network) -> bool:
    """Whether its containers may not reach one another."""
    return network.driver == "bridge" and not network.flag("com.docker.network.bridge.enable_icc", True)


def _sub_interface(netlink: Netlink, namespace: int, parent: int, plug: Plug) -> bytes:
    network, endpoint = plug.network, plug.endpoint
    flags = 0
    if network.driver == "macvlan":
        mode = links.MACVLAN_MODES[network.options.get("macvlan_mode") or "bridge"]
    else:
        mode = links.IPVLAN_MODES[network.options.get("ipvlan_mode") or "l2"]
        flags = links.IPVLAN_FLAGS[network.options.get("ipvlan_flag") or "bridge"]
    return links.sub_interface(
        netlink, network.driver, parent, endpoint.interface, namespace, endpoint.mac, mode, mtu=network.mtu, flags=flags
    )


def _configure(plugs: Sequence[Plug], gateways: Sequence[tuple[Endpoint, Network]]) -> None:
    with Netlink() as netlink:
        requests = [link_up(netlink, 1)]
        for plug in plugs:
            endpoint, network = plug.endpoint, plug.network
            index = socket.if_nametoindex(endpoint.interface)
            if not network.ipv6:
                requests.append(links.without_link_local(netlink, index))
            requests.append(links.up(netlink, index))
            for text in endpoint.addresses:
                address = ip_address(text)
                requests.append(links.address(netlink, index, address, _length(network, address)))
        requests += _routes(netlink, gateways)
        netlink.run(requests)


def _length(network: Network, address: Address) -> int:
    fits = (subnet.prefix.prefixlen for subnet in network.subnets if address in subnet.prefix)
    return next(fits, 32 if address.version == 4 else 128)


def _routes(netlink: Netlink, gateways: Sequence[tuple[Endpoint, Network]]) -> list[bytes]:
    """One default route for each IP version: by the first endpoint that has a gateway of it."""
    requests = []
    for version in (4, 6):
        for endpoint, network in gateways:
            gateway = gateway_of(network, version)
            on_link = network.driver == "ipvlan" and network.options.get("ipvlan_mode") in ("l3", "l3s")
            has = endpoint.address4 if version == 4 else endpoint.address6
            if has and (gateway is not None or on_link):
                index = socket.if_nametoindex(endpoint.interface)
                requests.append(links.default_route(netlink, index, None if on_link else gateway, version))
                break
    return requests


def gateway_of(network: Network, version: int) -> Address | None:
    """Where packets for everywhere else go; None on an internal network."""
    if network.internal:
        return None
    return next((s.gateway for s in network.subnets if s.version == version and s.gateway is not None), None)


def reroute(namespace: int, gateways: Sequence[tuple[Endpoint, Network]]) -> None:
    """Set the default routes anew; the kernel took those of a removed interface away itself. Raises KernelError."""

    def work() -> None:
        with Netlink() as netlink:
            netlink.run(_routes(netlink, gateways))

    try:
        netns.inside(namespace, work)
    except OSError as error:
        raise KernelError("set the default route", "", error.errno or 0) from error


def unplug(namespace: int, endpoint: Endpoint) -> None:
    """Take an interface of a living container away; blocks for 20 ms. One that is gone is no error."""

    def work() -> None:
        with Netlink() as netlink:
            try:
                netlink.run([links.delete(netlink, socket.if_nametoindex(endpoint.interface))])
            except OSError as error:
                if error.errno != errno.ENODEV:
                    raise KernelError("remove the interface", endpoint.interface, error.errno or 0) from error

    netns.inside(namespace, work)


def open_namespace(pid: int) -> int:
    """The network namespace of a process, as an fd the caller closes. Raises OSError."""
    return netns.open_of(pid)


def _as_ours(error: OSError, plug: Plug) -> DockyardError:
    network = plug.network
    if error.errno == errno.EOPNOTSUPP:
        return Unsupported(f"network {network.name}: this kernel has no {network.driver} interfaces")
    if error.errno == errno.EBUSY:
        return Conflict(
            f"network {network.name}: the interface {network.device} is used in another way already",
            hint="one interface carries either macvlan or ipvlan networks, and passthru only one container",
        )
    if error.errno == errno.EEXIST:
        return Conflict(f"network {network.name}: interface {plug.endpoint.host_interface} exists already")
    text = error.strerror or "failed"
    return DockyardError(f"attach to network {network.name} ({network.device}): {text}")
