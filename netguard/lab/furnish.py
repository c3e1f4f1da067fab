"""What a lab's folder holds before anything starts: settings, secrets, configurations, and who owns what."""

import json
import os
import re
import secrets
import shutil
import subprocess
from pathlib import Path

from netguard.core.policy import Policy, Site
from netguard.lab import users, world, zones
from netguard.lab.layout import Layout, Record
from netguard.lab.nas import SYSLOG_PORT
from netguard.lab.nas import Settings as NasSettings

_NOBODY = 65534
# busybox' udhcpc calls it with the lease in the environment.
_DHCP_SCRIPT = """\
#!/bin/sh
case $1 in
deconfig) ip -4 addr flush dev "$interface" ;;
bound | renew)
    ip -4 addr flush dev "$interface"
    ip addr add "$ip/$mask" dev "$interface"
    for one in $router; do ip route replace default via "$one" dev "$interface"; break; done
    : > "$NG_LEASE_RESOLV"
    for one in $dns; do echo "nameserver $one" >> "$NG_LEASE_RESOLV"; done
    ;;
esac
"""
_WRAPPER = '#!/bin/sh\nexec {python} -m {module} "$@"\n'


def furnish(layout: Layout, record: Record, policy: Policy, site: Site) -> None:
    """Write all of it. The folder exists, and lab.json in it."""
    folder = layout.folder
    for name in ("code", "venv", "logs", "pids", "bin"):
        (folder / name).mkdir(mode=0o755)
    _owned(folder / "sockets", "root", "root", 0o700)
    _owned(folder / "hosts", "root", "root", 0o755)
    for host in (*world.TABLETS, world.STRANGER):
        layout.resolv(host).write_text("")
    # The daemons' own folders, as an installation has them (docs/settings.md). Set-group-id: what is
    # made inside belongs to the group that reads it.
    _owned(folder / "run", "root", "root", 0o1777)
    _owned(folder / "state", users.GUARD, users.GUARD, 0o755)
    _owned(folder / "state" / "watch", users.WATCH, users.WATCH, 0o750)
    _owned(folder / "state" / "dns", users.DNS, users.DNS, 0o750)
    _owned(folder / "radius", users.GUARD, users.RADIUS, 0o2750)
    _owned(folder / "radius-log", users.RADIUS, users.WATCH, 0o2750)
    _owned(folder / "radius-run", users.RADIUS, users.RADIUS, 0o755)
    _owned(folder / "radius-run" / "control", users.RADIUS, users.GUARD, 0o2750)
    _owned(folder / "dhcp", users.GUARD, users.DHCP, 0o2775)
    _owned(folder / "time", users.GUARD, users.TIME, 0o2775)
    _owned(folder / "sni", users.GUARD, users.SNI, 0o2770)
    _owned(folder / "secrets", "root", users.RADIUS, 0o750)
    _owned(folder / "watch-secrets", "root", users.WATCH, 0o750)
    _owned(folder / "alertmanager", _NOBODY, _NOBODY, 0o755)
    _write(layout.settings, settings(layout, record))
    _secrets(layout, record, site)
    _names(layout, policy)
    # FreeRADIUS starts with nobody admitted and no client; `apply` brings both.
    for name in ("tablets", "areas", "hours", "psk", "clients.conf"):
        _write(
            folder / "radius" / name,
            "# nothing is in force yet\n",
            users.GUARD,
            users.RADIUS,
            0o640,
        )
    _write(folder / "dhcp.sh", _DHCP_SCRIPT, mode=0o755)
    python = folder / "venv" / "bin" / "python"
    for name, module in (("netguard", "netguard"), ("probe", "netguard.lab.probe")):
        text = _WRAPPER.format(python=python, module=module)
        _write(folder / "bin" / name, text, mode=0o755)


def copy_rules(given: Path, copy: Path, zone: str) -> None:
    """Copy a rules folder, all its sites in one time zone, all alerts to the lab's own Alertmanager."""
    shutil.copytree(given, copy)
    sites = copy / "sites.yaml"
    sites.write_text(re.sub(r"(\btime-zone:\s*)[^\s,}#]+", rf"\g<1>{zone}", sites.read_text()))
    alerts = copy / "alerts.yaml"
    if alerts.exists():
        head, mark, receivers = alerts.read_text().partition("\nreceivers:\n")
        alerts.write_text(head + mark + _receivers(receivers))


def _receivers(text: str) -> str:
    """Return the same receivers, all of them the lab's one Alertmanager: nobody else is there."""
    channel = f'{{alertmanager: ["http://{world.ALERTMANAGER}:9093"]}}'
    return re.sub(r"(?m)^(  [a-z][a-z0-9-]*):.*$", rf"\g<1>: {channel}", text)


def settings(layout: Layout, record: Record) -> str:
    """Return the settings file of the lab's node."""
    folder = layout.folder
    return f"""\
# The node of lab '{layout.name}'. It goes when the lab goes.
version: 1
node: {record.node}
sites: [{record.site}]
paths:
  rules: "{record.rules}"
  state: {folder}/state
  run: {folder}/run
  radius: {folder}/radius
  radius-log: {folder}/radius-log
  radius-control: {folder}/radius-run/control/netguard.sock
  radius-secrets: {folder}/secrets
  watch-secrets: {folder}/watch-secrets
  dhcp: {folder}/dhcp
  time: {folder}/time
  sni: {folder}/sni
users:
  guard: {users.GUARD}
  dns: {users.DNS}
  watch: {users.WATCH}
  radius: {users.RADIUS}
  dhcp: {users.DHCP}
  time: {users.TIME}
  sni: {users.SNI}
listen:
  web: "127.0.0.1:{record.port}"
  syslog: "{record.nas_gateway}:{SYSLOG_PORT}"
speed: {record.speed}
"""


def _secrets(layout: Layout, record: Record, site: Site) -> None:
    """Make one secret per NAS, new for each lab; FreeRADIUS reads it, and guard to sign Disconnects."""
    first = next(iter(site.nas.values()))
    for nas in site.nas.values():
        secret = secrets.token_hex(16)
        path = layout.folder / "secrets" / f"{nas.secret_file}.conf"
        _write(path, f"secret = {secret}\n", "root", users.RADIUS, 0o640)
        if nas is first:
            what = NasSettings(
                name=nas.name,
                address=str(nas.address.network_address),
                server=record.nas_gateway,
                secret=secret,
                ssid=site.ssid,
                vendor=nas.vendor,
                vlans=vlans(site),
                macs=record.macs,
                aps=[ap for area in site.areas.values() for ap in area.aps],
            )
            plain = {key: getattr(what, key) for key in what.__slots__}
            _write(layout.folder / "nas.json", json.dumps(plain), mode=0o600)


def vlans(site: Site) -> list[int]:
    """Return the VLANs of a site, the tablets' first."""
    all_ = (site.vlan, site.quarantine_vlan, site.enrolment_vlan)
    return [int(vlan) for vlan in all_ if vlan is not None]


def _names(layout: Layout, policy: Policy) -> None:
    names = zones.names_of(policy)
    folder = layout.folder / "nsd"
    _owned(folder, _NOBODY, _NOBODY, 0o755)
    _write(folder / "root.zone", zones.root_zone(names))
    _write(folder / "nsd.conf", zones.nsd(str(folder), database=True))
    if not _nsd_takes(folder / "nsd.conf"):
        _write(folder / "nsd.conf", zones.nsd(str(folder), database=False))
    resolvers = [str(each.address) for each in policy.resolver.upstream]
    for name, addresses in (("unbound", resolvers), ("open-resolver", [world.OPEN_RESOLVER])):
        folder = layout.folder / name
        _owned(folder, _NOBODY, _NOBODY, 0o755)
        _write(folder / "unbound.conf", zones.unbound(addresses, str(folder)))


def _nsd_takes(path: Path) -> bool:
    words = ["nsd-checkconf", str(path)]
    return subprocess.run(words, capture_output=True, timeout=20, check=False).returncode == 0


def _owned(path: Path, user: str | int, group: str | int, mode: int) -> None:
    path.mkdir(parents=True, exist_ok=True)
    _give(path, user, group, mode)


def _write(
    path: Path, text: str, user: str | int = "root", group: str | int = "root", mode: int = 0o644
) -> None:
    # Made closed and opened up afterwards: a secret is never readable in between.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    _give(path, user, group, mode)


def _give(path: Path, user: str | int, group: str | int, mode: int) -> None:
    uid = user if isinstance(user, int) else users.ids(user)[0]
    gid = group if isinstance(group, int) else users.ids(group)[1]
    os.chown(path, uid, gid)
    path.chmod(mode)
