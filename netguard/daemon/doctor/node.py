"""The facts about the node itself, for core/doctor/node.py."""

import asyncio
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from netguard.adapters import clock, machine, network, nft, radius_client
from netguard.core import sni
from netguard.core.doctor import features, node
from netguard.core.doctor.findings import Finding, failed, ok, unchecked
from netguard.core.doctor.node import Disk, InForce, Port, Secret, Server, Table, Wanted
from netguard.core.foreign import concern
from netguard.core.hours import AHEAD, openings
from netguard.core.links import thresholds
from netguard.core.plan import Plan
from netguard.daemon.doctor.checks import Check
from netguard.daemon.doctor.known import Known
from netguard.errors import EnforcementError, NetguardError, NotReachable
from netguard.render import held, nft_names, nftables
from netguard.render.freeradius import self_address
from netguard.rules.folder import read_folder

# So many tablets are compared with the kernel within the time that there is.
COMPARED = 2000
# Problems that guard names and that another check is about.
_ELSEWHERE = frozenset({"radius", "radius-clients", "sni", "network", "store", "dns"})
_OF_INTERFACE = (
    ("net/ipv4/conf/{}/accept_redirects", "a tablet could change our routes"),
    ("net/ipv4/conf/{}/accept_source_route", "a tablet could choose the way of its packets"),
    ("net/ipv4/conf/{}/proxy_arp", "we would answer for other machines"),
    ("net/ipv6/conf/{}/accept_ra", "a tablet could become our router"),
)


def checks(known: Known) -> list[Check]:
    """Return the checks of the node."""
    return [
        Check((node.GUARD,), lambda: _guard(known)),
        Check((node.DNS,), lambda: _dns(known)),
        Check((node.WATCH,), lambda: _watch(known)),
        Check((node.RADIUS,), lambda: _radius(known)),
        Check((node.DHCP,), lambda: _dhcp(known)),
        Check((node.TIME,), lambda: _time(known)),
        Check((node.NAMES,), lambda: _names(known)),
        Check((node.PLAN,), lambda: _in_force(known)),
        Check((node.RULESET,), lambda: _table(known), 4.0),
        Check((node.BELT,), lambda: _belt(known)),
        Check((node.SYSCTL,), lambda: _sysctls(known)),
        Check((node.FOREIGN,), _foreign),
        Check((node.CONNECTIONS,), lambda: _connections(known)),
        Check((features.CODE,), _features),
        Check((node.SETTINGS,), lambda: _settings(known)),
        Check((node.SECRETS,), lambda: _secrets(known)),
        Check((node.EDITED,), lambda: _edited(known)),
        Check((node.DISK,), lambda: _disks(known)),
        Check((node.STORES,), lambda: _stores(known)),
        Check((node.CERTIFICATES,), lambda: _certificates(known)),
        Check((node.PROGRAMS,), _programs),
        Check((node.FEEDS,), lambda: _feeds(known)),
    ]


# processes


def _guard(known: Known) -> list[Finding]:
    return node.daemon(node.GUARD, known.daemon("guard", known.guard.get(), []))


def _dns(known: Known) -> list[Finding]:
    status = known.dns.get()
    if isinstance(status, NetguardError):
        return node.daemon(node.DNS, known.daemon("dns", status, []))
    guard = known.says(known.guard)
    told = [
        text
        for key, text in status["problems"].items()
        # Resolvers are asked by ourselves (NG-D207).
        if not key.startswith("resolver")
        # The table that blocks has no sets to fill, and NG-D110 names the switch.
        and not (key == "kernel" and guard and guard["fence_blocked"])
    ]
    plan = known.plan.get()
    gateways = [str(g) for s in plan.sites for g in s.gateways if g.version == 4] if plan else []
    user = known.settings.users.dns
    ports = [_port(known, protocol, 53, user, g) for g in gateways for protocol in ("udp", "tcp")]
    told += [f"nobody listens on {port}" for port in ports if not port.holder]
    told += [f"{p} is held by {p.holder}" for p in ports if p.holder and p.holder != p.wanted]
    return node.daemon(node.DNS, known.daemon("dns", status, told))


def _watch(known: Known) -> list[Finding]:
    status = known.watch.get()
    if isinstance(status, NetguardError):
        return node.daemon(node.WATCH, known.daemon("watch", status, []))
    told = [text for key, text in status["problems"].items() if key != "store"]
    return node.daemon(node.WATCH, known.daemon("watch", status, told))


def _radius(known: Known) -> list[Finding]:
    node_ = known.settings
    user, (host, own) = node_.users.radius, node_.radius_self
    # Its unit may give it others than the usual two (NETGUARD_RADIUS_AUTH_PORT): what it holds counts.
    taken = {e.port for e in known.listeners.get() if (e.protocol, e.user) == ("udp", user)} - {own}
    numbers = sorted(taken) if len(taken) > 1 else [1812, 1813]
    ports = [_port(known, "udp", number, user) for number in numbers]
    ports.append(_port(known, "udp", own, user, host))
    trouble = known.guard_says("radius", "radius-clients")
    if not trouble and all(port.holder for port in ports):
        try:
            secret = radius_client.read_secret(node_.paths.radius)
            radius_client.alive(node_.radius_self, self_address(0), secret)
        except NotReachable as error:
            if "may not be read" in str(error):
                return [unchecked(node.RADIUS, str(error), "sudo netguard doctor")]
            trouble = [f"it listens and does not answer us: {error}"]
    seen = Server("FreeRADIUS", "netguard-radius", tuple(ports), tuple(trouble))
    return node.server(node.RADIUS, seen)


def _dhcp(known: Known) -> list[Finding]:
    known.needed()
    ports = (_port(known, "udp", 67, known.settings.users.dhcp),)
    return node.server(node.DHCP, Server("dnsmasq", "netguard-dhcp", ports))


def _time(known: Known) -> list[Finding]:
    plan = known.needed()
    if not any(service.local == "ntp" for service in plan.services):
        return [ok(node.TIME, "not used: no group may use a service of local: ntp")]
    ports = (_port(known, "udp", 123, known.settings.users.time),)
    return node.server(node.TIME, Server("chronyd", "netguard-time", ports))


def _names(known: Known) -> list[Finding]:
    wanted = sni.ports(known.needed())
    if not wanted:
        return [ok(node.NAMES, "not used: no service is sni: strict")]
    user = known.settings.users.sni
    ports = tuple(_port(known, "tcp", number, user) for number in sorted(wanted.values()))
    trouble = tuple(known.guard_says("sni"))
    return node.server(node.NAMES, Server("HAProxy", "netguard-sni", ports, trouble))


def _port(known: Known, protocol: str, number: int, wanted: str, address: str = "") -> Port:
    every = {"0.0.0.0", "::"}  # noqa: S104  # what the kernel shows for all addresses
    held = [
        each
        for each in known.listeners.get()
        if (each.protocol, each.port) == (protocol, number)
        and (not address or each.address in {address, *every})
    ]
    ours = [each for each in held if each.user == wanted]
    holder = (ours or held)[0] if held else None
    where = address or (holder.address if holder else "any address")
    return Port(where, protocol, number, wanted, holder.user if holder else "")


# plan and kernel


def _in_force(known: Known) -> list[Finding]:
    guard = known.says(known.guard)
    if guard is None:
        current = known.copies.current()
        if current is None:
            return node.in_force(InForce(None))
        applied, _ = current
        return [ok(node.PLAN, f"plan {applied.number} since {applied.at}, as it is stored")]
    applied, dns = guard["applied"], known.says(known.dns)
    problems = [text for key, text in guard["problems"].items() if key not in _ELSEWHERE]
    if dns is not None:
        problems += known.guard_says("dns")
    seen = InForce(
        number=applied["number"] if applied else None,
        at=applied["at"] if applied else "",
        blocked=guard["fence_blocked"],
        waiting_until=guard["waiting"]["until"] if guard["waiting"] else "",
        problems=tuple(problems),
        same_names=dns is None or guard["plan"] is None or dns["plan"] == guard["plan"],
    )
    return node.in_force(seen)


def _table(known: Known) -> list[Finding]:
    try:
        policies = asyncio.run(nft.policies(nft_names.FAMILY, nft_names.TABLE))
    except EnforcementError as error:
        return [unchecked(node.RULESET, str(error), "sudo netguard doctor")]
    if policies is None:
        return node.table(Table(there=False))
    drops = policies.get("forward") == "drop"
    guard = known.says(known.guard)
    if guard is None:
        return _compared(known, drops=drops)
    drift = guard["drift"][-1] if guard["drift"] else None
    last = f"{drift['what']} by {drift['by']} at {drift['at']}" if drift else ""
    unrepaired = last if drift and not drift["repaired"] else ""
    return node.table(Table(True, drops, (), unrepaired, guard["drifts"], last))


def _compared(known: Known, *, drops: bool) -> list[Finding]:
    """Compare the elements by ourselves while guard is away, where everything it went by is known."""
    count = known.tablets.get()
    if count > COMPARED:
        text = f"guard is away, and {count} tablets take too long to compare here"
        return [unchecked(node.RULESET, text, "netguard prove --live")]
    plan = known.whole.get()
    blocked = (known.settings.paths.state / "fence-blocked").exists()
    if not drops or plan is None or blocked or not all(site.dhcp for site in plan.sites):
        return node.table(Table(True, drops))
    read = asyncio.run(nft.read(nft_names.FAMILY, nft_names.TABLE, frozenset()))
    wrong = _faults(plan, read.rows) if read is not None else []
    return node.table(Table(True, drops, tuple(wrong)))


def _faults(plan: Plan, rows: list[dict[str, Any]]) -> list[str]:
    """Compare with what guard has loaded on one of the days that its openings last for."""
    now = clock.now()
    days = range(AHEAD if any(group.hours for group in plan.groups) else 1)
    found: list[str] = []
    for day in days:
        found = held.faults(plan, openings(plan, now - timedelta(days=day)), rows)
        if not found:
            break
    return found


def _belt(known: Known) -> list[Finding]:
    from netguard.adapters.netlink import PRIORITY  # noqa: PLC0415  # late, as above

    names = [name for site in known.needed().sites for name in site.interfaces]
    wanted = [(family, name) for family in ("IPv4", "IPv6") for name in names]
    return node.belt(wanted, network.belt(PRIORITY, nftables.BELT_MARK))


def _sysctls(known: Known) -> list[Finding]:
    plan = known.needed()
    wanted = [
        Wanted("net/ipv4/ip_forward", 1, False, "nothing of the tablets is forwarded"),
        Wanted("net/netfilter/nf_conntrack_acct", 1, False, "running calls are no sign of life"),
    ]
    wanted += [
        Wanted(path.format(name.replace("/", ".")), 0, False, why)
        for site in plan.sites
        for name in site.interfaces
        for path, why in _OF_INTERFACE
    ]
    wanted += [
        Wanted(
            f"net/ipv4/neigh/default/gc_thresh{number}",
            value,
            True,
            "too few neighbours for all tablets",
        )
        for number, value in enumerate(thresholds(known.tablets.get()), 1)
    ]
    return node.sysctls({each.path: machine.sysctl(each.path) for each in wanted}, wanted)


def _foreign() -> list[Finding]:
    hooks = asyncio.run(nft.foreign_hooks(nft_names.FAMILY, nft_names.TABLE))
    rows = [(f"{h.table}, chain {h.chain} ({h.hook})", concern(h.type, h.hook)) for h in hooks]
    return node.foreign(rows)


def _features() -> list[Finding]:
    """Let the kernel judge a small script of each feature; all at once first, for most have them all."""

    async def missing() -> dict[str, str]:
        try:
            await nft.check(features.together())
        except EnforcementError:
            return {f: words for f in features.FEATURES if (words := await refused(f))}
        return {}

    async def refused(feature: str) -> str:
        try:
            await nft.check(features.FEATURES[feature][0])
        except EnforcementError as error:
            if "CAP_NET_ADMIN" in str(error):
                raise
            return str(error).splitlines()[0]
        return ""

    return features.judge(asyncio.run(missing()))


def _connections(known: Known) -> list[Finding]:
    tablets = known.tablets.get()
    used = machine.sysctl("net/netfilter/nf_conntrack_count")
    most = machine.sysctl("net/netfilter/nf_conntrack_max")
    return node.connections(used, most, tablets)


# files


def _settings(known: Known) -> list[Finding]:
    path = known.settings_file
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return [unchecked(node.SETTINGS, f"{path}: {error.strerror}")]
    if mode & 0o022:
        text = f"{path} has mode {mode & 0o777:04o}: others may write it"
        return [failed(node.SETTINGS, text, f"chmod go-w {path}")]
    return [ok(node.SETTINGS, f"{path} is read; node {known.settings.node}")]


def _secrets(known: Known) -> list[Finding]:
    paths = known.settings.paths
    plan = known.needed()
    names = sorted({nas.secret_file for site in plan.sites for nas in site.nas})
    seen = [
        Secret(str(path), *machine.secret(path))
        for path in (paths.radius_secrets / f"{name}.conf" for name in names)
    ]
    rest = [paths.radius / radius_client.SECRET_FILE]
    if paths.watch_secrets.is_dir():
        rest += sorted(
            p for p in paths.watch_secrets.iterdir() if not p.name.endswith((".crt", ".pem"))
        )
    seen += [Secret(str(path), *machine.private(path)) for path in rest]
    if os.geteuid() != 0 and any("denied" in each.problem for each in seen):
        return [
            unchecked(node.SECRETS, "they may not be read by this user", "sudo netguard doctor")
        ]
    return node.secrets(seen)


def _edited(known: Known) -> list[Finding]:
    current = known.copies.current()
    if current is None or not current[0].folder:
        return node.edited("", None)
    applied, _ = current
    try:
        differs: bool | None = read_folder(Path(applied.folder)).digest != applied.rules
    except (NetguardError, OSError):
        differs = None
    return node.edited(applied.folder, differs)


def _disks(known: Known) -> list[Finding]:
    paths = known.settings.paths
    seen: dict[int, Disk] = {}
    for path in (paths.state, paths.radius_log, known.settings.watch_state, paths.run):
        try:
            device, room = path.stat().st_dev, machine.room(path)
        except OSError:
            continue
        seen.setdefault(
            device,
            Disk(str(path), room.free, room.size, room.inodes, room.inodes_of, room.read_only),
        )
    if not seen:
        return [unchecked(node.DISK, f"{paths.state} cannot be read")]
    return node.disks(list(seen.values()))


def _stores(known: Known) -> list[Finding]:
    # Late: it takes a third of a second, beside those who wait for answers.
    from netguard.adapters.store import GUARD, WATCH, looking  # noqa: PLC0415

    files_ = {
        known.settings.paths.state / "guard.db": GUARD,
        known.settings.watch_state / "watch.db": WATCH,
    }
    found = {str(path): looking.look(path, kind) for path, kind in files_.items()}
    if os.geteuid() != 0 and any("denied" in why for why in found.values()):
        return [unchecked(node.STORES, "they may not be read by this user", "sudo netguard doctor")]
    watch = known.says(known.watch)
    told = known.guard_says("store")
    told += [watch["problems"]["store"]] if watch and "store" in watch["problems"] else []
    return node.stores(found, told)


def _certificates(known: Known) -> list[Finding]:
    settings = known.settings
    paths = [settings.paths.watch_secrets / "receivers.pem"]
    if settings.syslog_tls is not None:
        paths.append(settings.paths.watch_secrets / "tls.crt")
    if settings.paths.resolver_authorities is not None:
        paths.append(settings.paths.resolver_authorities)
    there = [path for path in paths if path.name != "receivers.pem" or path.exists()]
    return node.certificates({str(path): machine.ends_in(path, clock.now()) for path in there})


def _programs() -> list[Finding]:
    return node.programs(
        {
            "nft": machine.version("nft", "--version"),
            "freeradius": machine.version("freeradius", "-v"),
        }
    )


def _feeds(known: Known) -> list[Finding]:
    from netguard.daemon.asking import owner_of  # noqa: PLC0415  # late, as above

    watch = known.says(known.watch)
    if watch is None:
        return [unchecked(node.FEEDS, "watch does not answer (NG-D103)")]
    away = {"guard": known.says(known.guard) is None, "dns": known.says(known.dns) is None}
    return node.feeds(
        {
            feed: (row["stale"], row["heard"], row["skew"])
            for feed, row in watch["feeds"].items()
            # Of a NAS the engine tells when it is silent, and `doctor radius` judges its clock.
            if not away.get(owner_of(feed), False) and not feed.startswith("nas:")
        }
    )
