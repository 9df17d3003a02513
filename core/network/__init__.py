"""Networks: what containers are attached to, how they find one another, and how they are reached.

::

    model      a network, an endpoint (one container on one network), a published port: frozen rows
    store      their tables; the only writer, a unique address per network
    ipam       pools, subnets that overlap nothing, addresses
    options    what -o, --subnet and the like may say, checked
    bridge     the host's side of a network: bridges, parents, forwarding (by pyroute2; not on a start's way)
    attach     one container's side: veth, macvlan, ipvlan, addresses and routes (a few netlink messages)
    firewall   all networks and published ports → one nftables rule set; pure
    rules      that rule set in the kernel: applied, watched, put back when somebody flushed it
    foreign    other programs' firewalls: what they drop of ours, what of theirs our ports go around
    names      who is called what: the tables that the resolvers in the monitors read, /etc/hosts, resolv.conf
    ports      -p and -P: which ports of the host, held by bound sockets
    service    networks as a person sees them: create, list, remove, prune

Knows nothing of containers but their ids: ``core.container.networking`` is what brings both together.
"""
