"""The lab's access point and controller: asks FreeRADIUS for each tablet and does what the answer says.

Runs in the namespace `ap`. It speaks real RADIUS over UDP: an Access-Request per association, the port
into the bridge of the VLAN that the Accept names, then an Accounting-Start; a Stop when the tablet leaves.
A roam behaves as hostapd 2.10 was seen to do it: a request and a Start at the new access point, and
nothing from the old one. Commands come as one JSON object a line over a UNIX socket.
"""

import argparse
import json
import os
import socket
import socketserver
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from ipaddress import IPv4Address
from pathlib import Path
from threading import Lock, Timer
from time import monotonic
from typing import Any

from netguard.adapters import clock
from netguard.core import psk, radius
from netguard.core.radius import Attributes, Code, Packet, Status, Type
from netguard.errors import BadValue, NetguardError
from netguard.lab import das, shapes, topology

TRIES, PATIENCE = 3, 1.0
# hostapd tells of the end of a session that was thrown off the air after this.
_STOP_AFTER = 0.4
CALL_PATIENCE = 20.0
# Whoever names the access point itself: areas of the rules list names.
TELLER = "meraki"
SYSLOG_PORT = 5514
CAUSES = {"user": 1, "lost-carrier": 2, "idle": 4, "admin": 6}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the controller is set up with."""

    name: str
    address: str
    server: str
    secret: str
    ssid: str
    vendor: str
    vlans: list[int]
    macs: dict[str, str]
    aps: list[str]
    auth_port: int = 1812
    acct_port: int = 1813


@dataclass(slots=True)
class Station:
    """One device as the controller sees it."""

    host: str
    mac: str
    state: str = "away"  # away, joined, rejected
    vlan: int | None = None
    ap: str = ""
    ssid: str = ""
    vendor: str = ""
    session: str = ""
    since: float = 0.0
    # The Wi-Fi key that came with the last Accept.
    key: str = ""


@dataclass(slots=True)
class Controller:
    """The state of the controller; one exchange at a time per station."""

    settings: Settings
    habits: das.Habits = field(default_factory=das.Habits)
    stations: dict[str, Station] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)
    door: das.Port = field(init=False)
    identifier: int = 0
    sessions: int = 0

    def __post_init__(self) -> None:
        self.stations = {h: Station(h, mac) for h, mac in self.settings.macs.items()}
        self.door = das.Port(self, self.settings.address)

    def join(
        self, host: str, ap: str = "", ssid: str = "", vendor: str = "", mac: str = ""
    ) -> dict[str, Any]:
        """Associate: ask, follow the answer, tell accounting; `mac` is its address from now on."""
        station = self._station(host)
        station.mac = mac or station.mac
        station.ap = ap or station.ap or self.settings.aps[0]
        station.ssid = ssid or self.settings.ssid
        station.vendor = vendor or self.settings.vendor
        if station.vendor not in shapes.VENDORS:
            raise NetguardError(
                f"unknown vendor '{station.vendor}', known: {', '.join(shapes.VENDORS)}"
            )
        before = monotonic()
        reply = self._ask(station)
        took = round((monotonic() - before) * 1000, 1)
        answer, vlan = self._judge(reply)
        if answer == "accept" and vlan is not None:
            topology.admit(topology.port_of(host), vlan)
            station.state, station.vlan, station.since = "joined", vlan, monotonic()
            self.sessions += 1
            station.session = f"{self.sessions:08x}"
            accounted = self._account(station, Status.START)
        else:
            topology.dismiss(topology.port_of(host))
            station.state, station.vlan, station.session = "rejected", None, ""
            accounted = False
        return {**self._shown(station), "answer": answer, "ms": took, "accounted": accounted}

    def leave(self, host: str, cause: str = "user") -> dict[str, Any]:
        """Take the tablet off the air and say so to accounting."""
        station = self._station(host)
        was = station.state
        topology.dismiss(topology.port_of(host))
        accounted = False
        if was == "joined":
            extra = (
                radius.number(Type.ACCT_TERMINATE_CAUSE, CAUSES.get(cause, 1)),
                radius.number(Type.ACCT_SESSION_TIME, int(monotonic() - station.since)),
            )
            accounted = self._account(station, Status.STOP, extra)
        station.state, station.vlan, station.session = "away", None, ""
        return {**self._shown(station), "was": was, "accounted": accounted}

    def roam(self, host: str, ap: str = "") -> dict[str, Any]:
        """Move to another access point: a new request and a Start there, no Stop here."""
        station = self._station(host)
        others = [name for name in self.settings.aps if name != station.ap]
        return self.join(host, ap or (others or self.settings.aps)[0], station.ssid, station.vendor)

    def interim(self, host: str) -> dict[str, Any]:
        """Send an Interim-Update for a tablet that is here."""
        station = self._station(host)
        accounted = station.state == "joined" and self._account(station, Status.INTERIM_UPDATE)
        return {**self._shown(station), "accounted": accounted}

    def tell(
        self,
        mac: str,
        ap: str,
        status: str,
        session: str = "1",
        cause: str = "",
        packets: int = 0,
        delay: int = 0,
    ) -> dict[str, Any]:
        """Send the accounting of a device that has no host in the lab."""
        station = Station("", mac, ap=ap, ssid=self.settings.ssid, vendor=TELLER, session=session)
        kind = {"start": Status.START, "stop": Status.STOP, "interim": Status.INTERIM_UPDATE}
        extra: list[radius.Attribute] = []
        if cause:
            extra.append(radius.number(Type.ACCT_TERMINATE_CAUSE, CAUSES[cause]))
        if packets:
            extra.append(radius.number(Type.ACCT_INPUT_PACKETS, packets))
        if delay:
            extra.append(radius.number(Type.ACCT_DELAY_TIME, delay))
        if status == "start":
            self._ask(station)
        return {"accounted": self._account(station, kind[status], tuple(extra))}

    def syslog(self, text: str) -> dict[str, Any]:
        """Send one line of the controller's log to the appliance."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind((self.settings.address, 0))
            sender.sendto(text.encode(), (self.settings.server, SYSLOG_PORT))
        return {"sent": len(text)}

    def restart(self) -> dict[str, Any]:
        """Say that the controller has started again: every session of it is over (RFC 2866 5.1)."""
        identifier, secret = self._next(), self.secret
        attributes = (
            (int(Type.NAS_IP_ADDRESS), IPv4Address(self.settings.address).packed),
            radius.text(Type.NAS_IDENTIFIER, self.settings.name),
            radius.number(Type.ACCT_STATUS_TYPE, Status.ACCOUNTING_ON),
            radius.text(Type.ACCT_SESSION_ID, "00000000"),
        )
        request = radius.accounting_request(identifier, secret, attributes)
        reply = self._exchange(request, identifier, request[4:20], self.settings.acct_port)
        return {"accounted": reply is not None and reply.code == Code.ACCOUNTING_RESPONSE}

    def vanish(self, host: str) -> dict[str, Any]:
        """Take a device off the air without a word, as out of range or without power."""
        station = self._station(host)
        topology.dismiss(topology.port_of(host))
        station.state, station.vlan, station.session = "away", None, ""
        return self._shown(station)

    def behave(self, **habits: str | int) -> dict[str, Any]:
        """Change habits; without one, be as a controller should again."""
        self.habits = das.Habits(**habits)  # type: ignore[arg-type]  # its own fields refuse what is none
        self.door.set(open_=self.habits.disconnects)
        return asdict(self.habits)

    @property
    def identity(self) -> tuple[str, str]:
        """Return how it names itself: NAS-Identifier and NAS-IP-Address."""
        return self.settings.name, self.settings.address

    def disconnect(self, mac: str, session: str) -> int:
        """Throw a device off the air that somebody named; returns how many such there are."""
        found = [
            station
            for station in self.stations.values()
            if station.state == "joined"
            and (mac == station.mac or (not mac and session == station.session))
            and session in {"", station.session}
        ]
        if len(found) == 1:
            Timer(_STOP_AFTER, self._end, (found[0].host,)).start()
        return len(found)

    def _end(self, host: str) -> None:
        with self.lock:
            self.leave(host, cause="admin")

    def status(self) -> dict[str, Any]:
        """Return every station."""
        return {"stations": [self._shown(station) for station in self.stations.values()]}

    def _station(self, host: str) -> Station:
        if host not in self.stations:
            raise NetguardError(f"no device '{host}', known: {', '.join(self.stations)}")
        return self.stations[host]

    def _shown(self, station: Station) -> dict[str, Any]:
        shown = asdict(station)
        del shown["since"]
        if not station.key:
            del shown["key"]
        return shown

    def _judge(self, reply: Packet | None) -> tuple[str, int | None]:
        """Turn a reply into an answer; an Accept without a VLAN we have is no way in."""
        if reply is None:
            return "timeout", None
        if reply.code != Code.ACCESS_ACCEPT:
            return "reject", None
        vlan = radius.vlan_of(reply)
        if vlan is None or int(vlan) not in self.settings.vlans:
            return f"accept with the unknown VLAN {vlan}", None
        return "accept", int(vlan)

    @property
    def ahead(self) -> int:
        """Return how many seconds its clock is ahead."""
        return self.habits.ahead

    @property
    def secret(self) -> bytes:
        """Return the shared secret as this controller knows it."""
        return (self.habits.secret or self.settings.secret).encode()

    def _place(self, station: Station) -> Attributes:
        found = shapes.attributes(
            station.vendor,
            station.mac,
            bssid=bssid_of(station.ap),
            ap=station.ap,
            ssid=station.ssid,
            nas=self.settings.name,
            address=IPv4Address(self.settings.address).packed,
        )
        if self.habits.name_ssid:
            return found
        called = int(Type.CALLED_STATION_ID)
        return tuple((k, v.partition(b":")[0] if k == called else v) for k, v in found)

    def _ask(self, station: Station) -> Packet | None:
        authenticator, secret = os.urandom(16), self.secret
        identifier = self._next()
        request = radius.access_request(
            identifier,
            authenticator,
            secret,
            self._place(station),
            shapes.password(station.vendor, station.mac),
            sign=self.habits.sign,
        )
        reply = self._exchange(request, identifier, authenticator, self.settings.auth_port)
        sent = psk.all_said(reply, authenticator, secret) if reply is not None else {}
        values = [value for each in sent.values() for _, value in each]
        station.key = values[-1].decode(errors="replace").removeprefix("psk=") if values else ""
        return reply

    def _account(self, station: Station, status: Status, extra: Attributes = ()) -> bool:
        if not self.habits.account:
            return False
        identifier, secret = self._next(), self.secret
        stamp = int(clock.now().timestamp()) + self.habits.ahead
        attributes = (
            *self._place(station),
            radius.number(Type.EVENT_TIMESTAMP, stamp),
            radius.number(Type.ACCT_STATUS_TYPE, status),
            radius.text(Type.ACCT_SESSION_ID, station.session),
            *extra,
        )
        request = radius.accounting_request(identifier, secret, attributes)
        reply = self._exchange(request, identifier, request[4:20], self.settings.acct_port)
        return reply is not None and reply.code == Code.ACCOUNTING_RESPONSE

    def _exchange(
        self, request: bytes, identifier: int, authenticator: bytes, port: int
    ) -> Packet | None:
        """Send, and send again as a NAS does; whatever is not a true reply is not one."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nas:
            # Not connected: a NAS hears no ICMP error either, it waits and sends again.
            server = self.settings.server, port
            nas.bind((self.settings.address, 0))
            nas.settimeout(PATIENCE)
            for _ in range(TRIES):
                try:
                    nas.sendto(request, server)
                    data, peer = nas.recvfrom(radius.MAX_PACKET)
                    if peer != server:
                        continue
                    reply = radius.decode(data)
                    radius.verify_reply(reply, identifier, authenticator, self.secret)
                except (OSError, BadValue) as error:
                    sys.stderr.write(f"no good reply on port {port}: {error}\n")
                else:
                    return reply
        return None

    def _next(self) -> int:
        self.identifier = (self.identifier + 1) % 256
        return self.identifier


def bssid_of(ap: str) -> str:
    """Return a BSSID for an access point's name, always the same one."""
    digits = sha256(ap.encode()).hexdigest()[:6]
    return f"70:3a:0e:{digits[:2]}:{digits[2:4]}:{digits[4:]}"


def answer(controller: Controller, line: bytes) -> dict[str, Any]:
    """Do what one line asks for."""
    verbs: dict[str, Callable[..., dict[str, Any]]] = {
        "join": controller.join,
        "leave": controller.leave,
        "roam": controller.roam,
        "interim": controller.interim,
        "tell": controller.tell,
        "restart": controller.restart,
        "syslog": controller.syslog,
        "behave": controller.behave,
        "vanish": controller.vanish,
        "status": controller.status,
    }
    try:
        asked = json.loads(line)
        verb = verbs[asked.pop("verb")]
        with controller.lock:
            return {"ok": True, **verb(**asked)}
    except (NetguardError, ValueError, KeyError, TypeError) as error:
        return {"ok": False, "error": str(error) or repr(error)}


def call(path: Path, verb: str, words: Mapping[str, str | int] | None = None) -> dict[str, Any]:
    """Ask the controller, or another process of the lab that answers lines of JSON."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
            caller.settimeout(CALL_PATIENCE)
            caller.connect(str(path))
            caller.sendall(json.dumps({"verb": verb, **(words or {})}).encode() + b"\n")
            with caller.makefile("rb") as reader:
                reply: dict[str, Any] = json.loads(reader.readline())
    except (OSError, ValueError) as error:
        raise NetguardError(f"{path.stem} of the lab does not answer: {error}") from error
    if not reply.pop("ok"):
        raise NetguardError(str(reply["error"]))
    return reply


def serve(path: Path, answer_line: Callable[[bytes], dict[str, Any]]) -> None:
    """Answer lines of JSON on a UNIX socket until ended."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            reply = answer_line(self.rfile.readline(65536))
            self.wfile.write(json.dumps(reply).encode() + b"\n")

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

    path.unlink(missing_ok=True)
    with Server(str(path), Handler) as server:
        path.chmod(0o600)
        server.serve_forever()


def main() -> int:
    """Run the controller."""
    parser = argparse.ArgumentParser(description="access point and controller of the lab")
    parser.add_argument("--settings", type=Path, required=True)
    parser.add_argument("--socket", type=Path, required=True)
    words = parser.parse_args()
    controller = Controller(Settings(**json.loads(words.settings.read_text())))
    controller.door.set(open_=True)
    serve(words.socket, lambda line: answer(controller, line))
    return 0


if __name__ == "__main__":
    sys.exit(main())
