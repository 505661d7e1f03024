"""Ports of a host: who listens, and whether a service may take one. Linux, standard library only, Python 3.8."""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import os
import pwd
import re
import socket
import struct

from ansible.module_utils.serving.host.system import run_tool

INTERFACES = "/sys/class/net"
SIOCGIFADDR = 0x8915  # linux/sockios.h


def plain(address: str) -> str:
    """An address in one spelling: an IPv4 address that an IPv6 socket has (::ffff:10.0.0.5) is that IPv4 address."""
    found = ipaddress.ip_address(address.partition("%")[0])
    return str(getattr(found, "ipv4_mapped", None) or found)


def listeners(port: int) -> dict:
    """{socket inode: address} of what listens on a TCP port, from /proc/net/tcp and tcp6."""
    found = {}
    for name in ("tcp", "tcp6"):
        try:
            with open("/proc/net/%s" % name, encoding="ascii") as source:
                rows = [line.split() for line in source.readlines()[1:]]
        except OSError:
            continue
        for row in rows:
            address, _, number = row[1].rpartition(":")
            if row[3] == "0A" and int(number, 16) == port:
                raw = bytes.fromhex(address)  # words of four bytes, the last one first
                packed = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
                found[row[9]] = plain(str(ipaddress.ip_address(packed)))
    return found


def v6_only(port: int) -> set:
    """Inodes of the sockets that listen on a TCP port for IPv6 alone. /proc doesn't tell; where ss is missing, nobody does, and there are none."""
    text = run_tool(["ss", "-H", "-6", "-lnte", "sport = :%d" % port])[1]
    return set(re.findall(r"\bino:(\d+)\b.*\bv6only:1\b", text))


def covers(one: str, other: str, narrow: bool = False) -> bool:
    """Does a listener at one address get all callers of the other one? `narrow`: one that listens at :: for IPv6 alone."""
    if one == "::":
        return ":" in other or not narrow
    return one == other or (one == "0.0.0.0" and ":" not in other)  # noqa: S104 - compared, never bound


def numbers(address: str) -> list:
    """The addresses that an address or a name stands for; none where it can't be looked up, which whoever binds it says better."""
    try:
        rows = socket.getaddrinfo(address.strip("[]"), None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [plain(str(row[4][0])) for row in rows]


def rivals(address: str, port: int) -> set:
    """Inodes of the sockets that listen for callers of this address and port."""
    there = listeners(port)
    narrow = v6_only(port) if "::" in there.values() else set()
    return {
        inode
        for inode, at in there.items()
        if any(covers(one, at) or covers(at, one, inode in narrow) for one in numbers(address))
    }


def links(folder: str) -> set:
    """What the links of a folder point to; one that vanishes while we look is left out."""
    found = set()
    for name in os.listdir(folder):
        try:
            found.add(os.readlink(os.path.join(folder, name)))
        except FileNotFoundError:
            continue
    return found


def owners(inodes: set) -> list:
    """(pid, user, command) of the processes that hold these sockets, as far as we may look."""
    wanted = {"socket:[%s]" % inode for inode in inodes}
    found = []
    for pid in sorted((int(p) for p in os.listdir("/proc") if p.isdigit())):
        base = "/proc/%d" % pid
        try:
            if not wanted & links(base + "/fd"):
                continue
            with open(base + "/cmdline", "rb") as source:
                command = source.read().replace(b"\0", b" ").decode("utf-8", "replace").strip()
            uid = os.stat(base).st_uid
        except OSError:
            continue
        try:
            user = pwd.getpwuid(uid).pw_name
        except KeyError:
            user = "uid %d" % uid
        found.append((pid, user, command))
    return found


def can_bind(address: str, port: int) -> int:
    """0 if the port can be bound, else the errno."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
        try:
            probe.bind((address, port))
            probe.listen(1)
        except OSError as error:
            return error.errno or errno.EIO
    return 0


def ports_of(service: dict) -> list:
    """(address, port, remedy) of what a service listens on here. Of several hosts only the first has the API, and meets the others."""
    group, remedy = service.get("group"), "give the service another port"
    own = [(service["address"], service["port"], remedy)]
    if not group:
        return own
    if group["rank"]:
        return []
    return own + [
        (group["address"], group["ports"][name], "set hosts_port in the service's row") for name in ("master", "watch")
    ]


def port_problem(service: dict, running: dict) -> str | None:
    """Who sits on a port of the service. What it holds itself, and what another service of the plan holds and gives up, is free.

    `running`: the services of the plan whose processes live, by name (claims.Claim).
    """
    for address, port, remedy in ports_of(service):
        problem = problem_of(service["service"], address, port, remedy, running)
        if problem:
            return problem
    return None


def address_of(interface: str) -> str:
    """The IPv4 address of a network interface, for a sentence; empty where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            row = fcntl.ioctl(asked.fileno(), SIOCGIFADDR, struct.pack("256s", interface.encode()[:15]))
        except OSError:
            return ""
    return socket.inet_ntoa(row[20:24])


def problem_of(name: str, address: str, port: int, remedy: str, running: dict) -> str | None:
    if re.fullmatch(r"[\w-]+", address) and os.path.isdir(os.path.join(INTERFACES, address)):
        has = address_of(address)
        return "service '%s': address is '%s', a network interface of this host; write its IP address%s" % (
            name,
            address,
            ", " + has if has else "",
        )
    code = can_bind(address, port)
    if code == 0:
        return None
    if code == errno.EADDRNOTAVAIL or code < 0:  # negative: the name has no address
        what = "group_address" if "hosts_port" in remedy else "address"
        return "service '%s': this host has no address %s; set %s to one of its own" % (name, address, what)
    if code == errno.EACCES:
        return "service '%s': port %d may not be bound by this user; use one from 1024 up" % (name, port)
    who = owners(rivals(address, port))
    holder = next((claim for claim in running.values() if port in claim.ports), None)
    if holder is not None:
        ours = holder.pids()
        # A container's port is held by Docker's proxy, and a port that this user may not see is the holder's as far as known.
        who = [row for row in who if row[0] not in ours and not (holder.container and "docker-proxy" in row[2])]
        if not who:
            return None
    by = (
        "process %d of user %s: %s" % (who[0][0], who[0][1], who[0][2][:120])
        if who
        else "a process that this user may not see"
    )
    if who and "docker-proxy" in who[0][2]:
        by += " (docker ps shows its container; if there is none, `systemctl restart docker` frees it)"
    return "service '%s': port %d is taken by %s; end it, or %s" % (name, port, by, remedy)
