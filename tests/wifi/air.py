"""Real radios in the guest: hostapd for access points, wpa_supplicant for tablets, and how far they hear.

Runs inside the virtual machine only. The access points stand in the lab's `ap` host, behind its trunk; each
tablet takes one radio into its own namespace. Who hears whom is hwsim's group, a bit mask: two radios hear
each other where their masks share a bit. What real hostapd does was measured: late Stops of the old access
point, answers that are kept for 30 s, no Stop at all when the power fails.
"""

import os
import re
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

from netguard.errors import NetguardError
from netguard.lab.hospital import Hospital

PASSPHRASE = "lent tablets of the ward"
WARD, LOBBY, GONE = 1, 2, 64
# hostapd asks idle stations after this; plan for up to twice as long (docs of hostapd, and measured).
INACTIVE = 20
INTERIM = 5
# Seconds until something that does not happen is a failure: the guest may share its processors with others.
PATIENCE = 120.0
# wpa_supplicant leaves a network alone for ever longer once a handshake broke; a person taps it again.
NUDGE = 15.0
_ACCESS_POINT = """\
interface={interface}
driver=nl80211
ctrl_interface={folder}/ctrl
ssid={ssid}
hw_mode=g
channel=1
wpa=2
wpa_key_mgmt=WPA-PSK
rsn_pairwise=CCMP
wpa_passphrase={passphrase}
macaddr_acl=2
nas_identifier={name}
own_ip_addr={address}
auth_server_addr={server}
auth_server_port=1812
auth_server_shared_secret={secret}
acct_server_addr={server}
acct_server_port=1813
acct_server_shared_secret={secret}
radius_acct_interim_interval={interim}
radius_das_port={das}
radius_das_client={server} {secret}
radius_das_time_window=300
radius_das_require_event_timestamp=1
dynamic_vlan=2
vlan_file={folder}/{interface}.vlan
vlan_tagged_interface=trunk
vlan_bridge=br
vlan_naming=1
ap_isolate=1
ap_max_inactivity={inactive}
wpa_pairwise_update_count=10
"""
_STATION = """\
ctrl_interface={folder}/ctrl
network={{
  ssid="{ssid}"
  psk="{passphrase}"
  key_mgmt=WPA-PSK
  scan_freq=2412
}}
"""


class Silence(NetguardError):
    """Something did not happen on the air in time."""


@dataclass(slots=True)
class Station:
    """A tablet, or what pretends to be one."""

    host: str
    phy: str
    process: subprocess.Popen[bytes] | None = None


@dataclass(slots=True)
class AccessPoint:
    """One hostapd with one radio."""

    name: str
    phy: str
    interface: str
    das: int
    process: subprocess.Popen[bytes] | None = None
    bssid: str = ""


@dataclass(slots=True)
class Air:
    """The radios of one lab."""

    lab: Hospital
    server: str
    address: str
    secret: str
    folder: Path
    points: dict[str, AccessPoint] = field(default_factory=dict)
    stations: dict[str, Station] = field(default_factory=dict)
    free: list[str] = field(default_factory=list)

    @classmethod
    def over(cls, lab: Hospital) -> "Air":
        """Take the place of the lab's stand-in for a controller."""
        lab.stop("nas")
        text = (lab.layout.folder / "secrets" / "nas-wlc-1.conf").read_text()
        folder = Path("/run/wifi")
        (folder / "ctrl").mkdir(parents=True, exist_ok=True)
        names = sorted(each.name for each in Path("/sys/class/ieee80211").iterdir())
        secret = text.partition("= ")[2].strip()
        air = cls(lab, lab.record.nas_gateway, "10.1.2.10", secret, folder, free=names)
        for host in lab.record.macs:
            air.inside("ap", "ip", "link", "del", f"p-{host}")
        return air

    # what it is made of

    def namespace(self, host: str) -> str:
        return self.lab.layout.namespace(host)

    def inside(self, host: str, *words: str, check: bool = True) -> str:
        done = subprocess.run(
            ["ip", "netns", "exec", self.namespace(host), *words],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        if check and done.returncode:
            raise Silence(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def _spawn(self, host: str, log: str, *words: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{log}.log").open("ab") as out:
            return subprocess.Popen(
                ["ip", "netns", "exec", self.namespace(host), *words],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def _radio(self, host: str, interface: str, mac: str = "") -> str:
        phy = self.free.pop(0)
        subprocess.run(["iw", "phy", phy, "set", "netns", "name", self.namespace(host)], check=True)
        shown = self.inside(host, "iw", "dev")
        held = shown.partition(f"phy#{phy.removeprefix('phy')}\n")[2]
        old = held.partition("Interface ")[2].split()[0]
        self.inside(host, "ip", "link", "set", old, "down")
        if old != interface:
            self.inside(host, "ip", "link", "set", old, "name", interface)
        if mac:
            self.inside(host, "ip", "link", "set", interface, "address", mac)
        return phy

    def hears(self, phy: str, mask: int) -> None:
        """Set which other radios one hears."""
        Path(f"/sys/kernel/debug/ieee80211/{phy}/hwsim/group").write_text(str(mask))

    # access points

    def stand(self, name: str, mask: int, ssid: str = "CHU-TABLETTES") -> AccessPoint:
        """Put an access point up."""
        number = len(self.points)
        interface = f"ap{number}"
        point = AccessPoint(name, self._radio("ap", interface), interface, 3799 + number)
        self.points[name] = point
        (self.folder / f"{interface}.vlan").write_text(f"*  {interface}.#\n")
        (self.folder / f"{interface}.conf").write_text(
            _ACCESS_POINT.format(
                interface=interface, folder=self.folder, ssid=ssid, passphrase=PASSPHRASE, name=name,
                address=self.address, server=self.server, secret=self.secret, interim=INTERIM,
                das=point.das, inactive=INACTIVE,
            )
        )  # fmt: skip
        self.hears(point.phy, mask)
        self.power_on(name)
        return point

    def take_keys(self, name: str) -> None:
        """Let an access point take a key of each tablet from RADIUS, and no passphrase beside it (docs/psk.md)."""
        conf = self.folder / f"{self.points[name].interface}.conf"
        lines = [
            line for line in conf.read_text().splitlines() if not line.startswith("wpa_passphrase")
        ]
        conf.write_text("\n".join([*lines, "wpa_psk_radius=2", ""]))

    def power_on(self, name: str) -> None:
        point = self.points[name]
        self._end(point.process, signal.SIGKILL)
        conf = str(self.folder / f"{point.interface}.conf")
        point.process = self._spawn("ap", point.interface, "hostapd", "-t", conf)
        self.until(f"{name} comes up", lambda: "state=ENABLED" in self._asked(point, "status"))
        shown = self.inside("ap", "ip", "-o", "link", "show", point.interface)
        point.bssid = shown.partition("link/ether ")[2].split()[0]

    def power_cut(self, name: str) -> None:
        """Take the power: no goodbye on the air, no Stop, no Accounting-Off."""
        point = self.points[name]
        self.hears(point.phy, GONE << 1)
        self._end(point.process, signal.SIGKILL)
        point.process = None

    def restart(self, name: str, mask: int) -> None:
        """Stop hostapd in order and start it again."""
        point = self.points[name]
        self._end(point.process, signal.SIGTERM)
        self.hears(point.phy, mask)
        self.power_on(name)

    def _asked(self, point: AccessPoint, *words: str) -> str:
        control = ("hostapd_cli", "-p", str(self.folder / "ctrl"), "-i", point.interface)
        return self.inside("ap", *control, *words, check=False)

    def has(self, name: str, mac: str) -> bool:
        """Say whether an access point has a station, authorized."""
        return "[AUTHORIZED]" in self._asked(self.points[name], "sta", mac)

    def vlan(self, name: str, mac: str) -> int | None:
        """Return the VLAN into which an access point has put a station; None where it has none."""
        text = self._asked(self.points[name], "sta", mac)
        found = re.search(r"^vlan_id=(\d+)$", text, re.MULTILINE)
        return int(found[1]) if found and "[AUTHORIZED]" in text else None

    # tablets

    def carry(self, host: str, mac: str, mask: int, ssid: str = "CHU-TABLETTES") -> Station:
        """Give a host a radio with this address, and let it look for a network."""
        phy = self._radio(host, "wlan0", mac)
        station = self.stations[host] = Station(host, phy)
        self.hears(phy, mask)
        self.switch_on(host, ssid)
        return station

    def switch_on(
        self, host: str, ssid: str = "CHU-TABLETTES", passphrase: str = PASSPHRASE
    ) -> None:
        self._end(self.stations[host].process, signal.SIGKILL)
        conf = self.folder / f"{host}.wpa"
        conf.write_text(
            _STATION.format(folder=self.folder / host, ssid=ssid, passphrase=passphrase)
        )
        (self.folder / host / "ctrl").mkdir(parents=True, exist_ok=True)
        self.inside(host, "ip", "link", "set", "wlan0", "up")
        words = ("wpa_supplicant", "-t", "-i", "wlan0", "-D", "nl80211", "-c", str(conf))
        self.stations[host].process = self._spawn(host, host, *words)

    def switch_off(self, host: str) -> None:
        """Switch the radio off in order: a deauthentication is sent."""
        self._end(self.stations[host].process, signal.SIGTERM)
        self.stations[host].process = None
        self.inside(host, "ip", "link", "set", "wlan0", "down")

    def moves(self, host: str, mask: int) -> None:
        """Carry a tablet: from now on it hears these."""
        self.hears(self.stations[host].phy, mask)

    def roam(self, host: str, to: str) -> None:
        """Let a tablet go over to another access point, as its own system would decide once it hears it."""

        def leaves() -> bool:
            self._told(host, "scan")
            sleep(1.5)
            return self._told(host, "roam", self.points[to].bssid).startswith("OK")

        self.until(f"{host} hears {to}", leaves)

    def state(self, host: str) -> str:
        """Return what wpa_supplicant says of itself."""
        return self._told(host, "status").partition("wpa_state=")[2].partition("\n")[0]

    def _told(self, host: str, *words: str) -> str:
        control = ("wpa_cli", "-p", str(self.folder / host / "ctrl"), "-i", "wlan0")
        return self.inside(host, *control, *words, check=False)

    def arrives(self, host: str, mac: str, *points: str) -> float:
        """Wait until one of these access points has let a tablet in; returns after how long. Raises Silence."""
        start = tapped = monotonic()
        while not any(self.has(point, mac) for point in points):
            now = monotonic()
            if now - start > PATIENCE:
                raise Silence(
                    f"{host} at {' or '.join(points)}: not within {PATIENCE:.0f} s, it is {self.state(host)}"
                )
            if now - tapped > NUDGE:
                tapped = now
                self._told(host, "enable_network", "0")
            sleep(0.2)
        return monotonic() - start

    # waiting, ending

    def until(self, what: str, happened, seconds: float | None = None) -> float:
        """Wait until something has happened; returns after how long. Raises Silence."""
        start, most = monotonic(), PATIENCE if seconds is None else seconds
        while not happened():
            if monotonic() - start > most:
                raise Silence(f"{what}: not within {most:.0f} s")
            sleep(0.2)
        return monotonic() - start

    def _end(self, process: subprocess.Popen[bytes] | None, number: int) -> None:
        if process is None or process.poll() is not None:
            return
        os.killpg(process.pid, number)
        process.wait(20)

    def down(self) -> None:
        """End everything that was started here."""
        for each in (*self.stations.values(), *self.points.values()):
            self._end(each.process, signal.SIGKILL)
