"""Checks of the network below: tunnel addresses, routes, MTUs, checksums, VXLAN's port, and the other VTEPs."""

from __future__ import annotations

from collections.abc import Iterator

from vtep_ryu.command.doctor import machine
from vtep_ryu.command.doctor.facts import Facts, Row, listed
from vtep_ryu.command.doctor.finding import Finding, error, fine, warning
from vtep_ryu.command.steps import wait_for

OVERHEAD = 50
"""What VXLAN over IPv4 takes of the MTU: inner Ethernet 14, VXLAN 8, UDP 8, IP 20 bytes."""

MOST_ROUTES = 64


def tunnel_ips(facts: Facts) -> Iterator[Finding]:
    """tunnel_ips is one address, of this machine, from which the other VTEPs are routed."""
    own = machine.addresses(facts.links)
    if not facts.links:
        yield error("tunnel_ips", "-", "the addresses of this machine are not known: ip(8) fails", "install iproute2")
        return
    for switch in facts.physical_switches():
        name, ips = switch["name"], listed(switch["tunnel_ips"])
        if len(ips) != 1:
            says = f"has {', '.join(ips) or 'none'}: one address is what other VTEPs expect"
            verdict = warning if ips else error
            yield verdict("tunnel_ips", name, says, f"vtep-ctl set Physical_Switch {name} tunnel_ips=ADDRESS")
        for ip in ips:
            yield _tunnel_ip(facts, name, ip, own)
        yield from _routes(facts, switch, own)


def _tunnel_ip(facts: Facts, name: str, ip: str, own: dict[str, str]) -> Finding:
    if not machine.is_usable(ip):
        says = f"{ip} is no IPv4 address that other VTEPs can send to: no tunnel can be made"
        return error("tunnel_ips", name, says, f"vtep-ctl set Physical_Switch {name} tunnel_ips=ADDRESS")
    if ip not in own:
        says = f"{ip} is no address of this machine: no tunnel can be made"
        return error("tunnel_ips", name, says, f"ip address add {ip}/PREFIX dev DEVICE, or set another in tunnel_ips")
    if machine.is_down(facts.links, own[ip]):
        return error("tunnel_ips", name, f"{ip} is at {own[ip]}, which is down", f"ip link set {own[ip]} up")
    return fine("tunnel_ips", name, f"{ip} is at {own[ip]}")


def _routes(facts: Facts, switch: Row, own: dict[str, str]) -> Iterator[Finding]:
    local = next(iter(listed(switch["tunnel_ips"])), "")
    if local not in own or machine.is_down(facts.links, own[local]):
        return
    remotes = [each for each in facts.remote_addresses(switch) if machine.is_usable(each)][:MOST_ROUTES]
    lost = [remote for remote in remotes if wait_for(machine.route(remote, local)) is None]
    for remote in lost:
        says = f"there is no route from {local} to the VTEP {remote}"
        yield error("routes", switch["name"], says, f"ip route add {remote} via GATEWAY, or dev DEVICE")
    if not lost:
        yield fine("routes", switch["name"], f"{len(remotes)} other VTEPs are routed")


def mtu(facts: Facts) -> Iterator[Finding]:
    """A frame of a port fits into a tunnel: the MTU below is larger by what VXLAN takes."""
    own = machine.addresses(facts.links)
    mtus = {link["ifname"]: link["mtu"] for link in facts.links}
    interfaces = {row["name"]: row for row in facts.ovs.rows("Interface")}
    for switch in facts.physical_switches():
        below = [(own[ip], mtus[own[ip]]) for ip in listed(switch["tunnel_ips"]) if ip in own]
        ports = {name for name, _, _ in facts.bindings(switch) if name in interfaces}
        found = [(port, size) for port in sorted(ports) for size in listed(interfaces[port]["mtu"])]
        if not below or not found:
            continue
        device, least = min(below, key=lambda each: int(each[1]))
        fits = least - OVERHEAD
        large = [(port, size) for port, size in found if size > fits]
        for port, size in large:
            says = f"{port} has MTU {size}, {device} {least}: what is above {fits} bytes does not fit into a tunnel"
            advice = f"an MTU of {size + OVERHEAD} for {device} and what is behind it, or {fits} for stations"
            yield warning("mtu", switch["name"], says, advice)
        if not large:
            yield fine("mtu", switch["name"], f"{device} has {least}, enough for all ports")


def vxlan_port(facts: Facts) -> Iterator[Finding]:
    """Nobody else takes VXLAN's datagrams."""
    others = machine.vxlan_devices(facts.links)
    for device in others:
        says = f"the kernel's device {device} takes UDP {machine.VXLAN_PORT}"
        yield error("vxlan_port", device, says, f"ip link del {device}, or give it another dstport")
    ours = any(link["ifname"].startswith(machine.KERNEL_VXLAN) for link in facts.links)
    if not others and machine.listens_for_vxlan() and not ours:
        says = f"another program has UDP {machine.VXLAN_PORT}"
        yield error("vxlan_port", "-", says, f"end it (ss -lunp 'sport = {machine.VXLAN_PORT}')")
    elif not others:
        yield fine("vxlan_port", "-", f"UDP {machine.VXLAN_PORT} is free for Open vSwitch")
    for row in facts.ovs.rows("Interface"):
        for why in listed(row["error"]) if row["type"] == "vxlan" else ():
            says = f"the tunnel port could not be made: {why}"
            yield error("vxlan_port", row["name"], says, "see ovs-vswitchd's log")


def checksums(facts: Facts) -> Iterator[Finding]:
    """What comes by a veth into the userspace datapath has its checksums: nobody there fills them in.

    Ends that are in another network namespace are not seen.
    """
    if any(row["other_config"].get("userspace-tso-enable") == "true" for row in facts.ovs.rows("Open_vSwitch")):
        return
    ends = machine.veth_ends(facts.links)
    ports, interfaces = facts.ovs.by_uuid("Port"), facts.ovs.by_uuid("Interface")
    for bridge in (row for row in facts.ovs.rows("Bridge") if row["datapath_type"] == "netdev"):
        rows = [interfaces[i] for p in listed(bridge["ports"]) if p in ports for i in listed(ports[p]["interfaces"])]
        senders = sorted(ends[row["name"]] for row in rows if row["name"] in ends)
        wrong = [name for name in senders if machine.leaves_checksums(name)]
        for name in wrong:
            says = f"{name} leaves checksums to its driver, and the userspace datapath fills none in"
            yield error("checksums", bridge["name"], says, f"ethtool -K {name} tx off")
        if senders and not wrong:
            yield fine("checksums", bridge["name"], f"complete from {', '.join(senders)}")


def locators(facts: Facts) -> Iterator[Finding]:
    """The other VTEPs answer: BFD where there is any, else a ping."""
    own = machine.addresses(facts.links)
    ips = {row["_uuid"]: row["dst_ip"] for row in facts.vtep.rows("Physical_Locator")}
    for switch in facts.physical_switches():
        local = next(iter(listed(switch["tunnel_ips"])), "")
        named, answered = facts.remote_addresses(switch), set[str]()
        remotes = [each for each in named if machine.is_usable(each)]
        for odd in sorted(set(named) - set(remotes)):
            says = f"dst_ip {odd} is no IPv4 address of a VTEP: nothing is sent there"
            yield error("locators", switch["name"], says, "have the NVC name the VTEP by its IPv4 address")
        for row in facts.vtep.rows("Tunnel"):
            remote, status = ips.get(row["remote"]), row["bfd_status"]
            if ips.get(row["local"]) != local or remote not in remotes or status.get("enabled") != "true":
                continue
            answered.add(remote)
            if status.get("forwarding") == "true":
                yield fine("locators", switch["name"], f"BFD with {remote} is up")
            else:
                says = f"BFD with {remote} is {status.get('state', 'down')}: {status.get('diagnostic', '')}"
                yield error("locators", switch["name"], says.rstrip(": "), "see whether it is on, and has BFD enabled")
        others = [remote for remote in remotes if remote not in answered]
        can_ask = local in own and not machine.is_down(facts.links, own[local])
        if can_ask and others and not machine.has_ping():
            yield warning("locators", switch["name"], "there is no ping(8) to ask them by", "install iputils-ping")
            continue
        quiet = wait_for(machine.silent(local, others)) if can_ask else []
        for remote in quiet:
            advice = "see whether it is on, and the way to it"
            yield warning("locators", switch["name"], f"{remote} answers no ping", advice)
        if can_ask and not quiet and others:
            yield fine("locators", switch["name"], f"{len(others)} other VTEPs answer a ping")
