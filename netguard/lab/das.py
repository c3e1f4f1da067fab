"""How the lab's controller may be set up wrong, and how it takes a Disconnect-Request: as hostapd 2.10 was seen to.

RFC 5176. Only the attributes that hostapd knows; a NAK with its Error-Cause for what it does not take; silence
for another secret, a request without Event-Timestamp, or one that is more than 300 s off.
"""

import hashlib
import socket
import sys
from dataclasses import dataclass
from ipaddress import IPv4Address
from threading import Thread
from typing import Protocol

from netguard.adapters import clock
from netguard.core import radius
from netguard.core.names import Mac
from netguard.core.radius import Code, Packet, Type
from netguard.errors import BadValue

PORT = 3799
_WINDOW = 300
_KNOWN = frozenset({1, 4, 31, 32, 44, 50, 55, 80, 89, 95})
_UNSUPPORTED, _OTHER_NAS, _BAD_VALUE, _NO_SESSION, _SEVERAL = 401, 403, 407, 503, 508


@dataclass(slots=True)
class Habits:
    """What a controller can be set up wrong in: the doctor has to find each."""

    sign: bool = True
    account: bool = True
    name_ssid: bool = True
    # Its clock is so many seconds ahead.
    ahead: int = 0
    secret: str = ""
    # Takes Disconnect-Requests.
    disconnects: bool = True


class Controller(Protocol):
    """Who is asked to throw a device off the air."""

    @property
    def secret(self) -> bytes:
        """Return the shared secret."""

    @property
    def ahead(self) -> int:
        """Return how many seconds its clock is ahead."""

    @property
    def identity(self) -> tuple[str, str]:
        """Return its NAS-Identifier and its NAS-IP-Address."""

    def disconnect(self, mac: str, session: str) -> int:
        """Do it where one session is meant; returns how many are."""


class Port:
    """The port, open or closed."""

    def __init__(self, controller: Controller, address: str) -> None:
        self._controller, self._address = controller, address
        self._socket: socket.socket | None = None
        self._server: Thread | None = None

    def set(self, *, open_: bool) -> None:
        """Open the port, or close it: then the kernel says so to whoever knocks."""
        if open_ == (self._socket is not None):
            return
        if self._socket is not None:
            one, self._socket = self._socket, None
            one.close()
            # While the thread still waits on it the port is taken.
            if self._server is not None:
                self._server.join()
            return
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.bind((self._address, PORT))
        one.settimeout(0.1)
        self._socket = one
        self._server = Thread(target=self._serve, args=(one,), daemon=True)
        self._server.start()

    def _serve(self, one: socket.socket) -> None:
        while self._socket is one:
            try:
                data, peer = one.recvfrom(radius.MAX_PACKET)
                reply = answer(self._controller, data, int(clock.now().timestamp()))
                if reply is not None:
                    one.sendto(reply, peer)
            except TimeoutError:
                continue
            except OSError:
                return


def answer(controller: Controller, data: bytes, now: int) -> bytes | None:
    """Return what is said to a request; None is silence."""
    secret = controller.secret
    try:
        packet = radius.decode(data)
    except BadValue as error:
        sys.stderr.write(f"a request that is none: {error}\n")
        return None
    stamp = packet.first(Type.EVENT_TIMESTAMP)
    late = stamp is None or abs(int.from_bytes(stamp) - now - controller.ahead) > _WINDOW
    if packet.code != Code.DISCONNECT_REQUEST or late:
        return None
    if not radius.is_accounting_signed(packet, secret):
        return None
    if {kind for kind, _ in packet.attributes} - _KNOWN:
        return _reply(packet, secret, Code.DISCONNECT_NAK, _UNSUPPORTED)
    if _is_for_another(packet, *controller.identity):
        return _reply(packet, secret, Code.DISCONNECT_NAK, _OTHER_NAS)
    mac = packet.first(Type.CALLING_STATION_ID) or b""
    session = packet.first(Type.ACCT_SESSION_ID) or b""
    try:
        named = str(Mac.parse(mac.decode("ascii", "replace"))) if mac else ""
    except BadValue:
        return _reply(packet, secret, Code.DISCONNECT_NAK, _BAD_VALUE)
    count = controller.disconnect(named, session.decode("ascii", "replace"))
    if count == 1:
        return _reply(packet, secret, Code.DISCONNECT_ACK, None)
    return _reply(packet, secret, Code.DISCONNECT_NAK, _SEVERAL if count else _NO_SESSION)


def _is_for_another(packet: Packet, name: str, address: str) -> bool:
    named, at = packet.first(Type.NAS_IDENTIFIER), packet.first(Type.NAS_IP_ADDRESS)
    return named not in {None, name.encode()} or at not in {None, IPv4Address(address).packed}


def _reply(packet: Packet, secret: bytes, code: Code, cause: int | None) -> bytes:
    """Make an answer, signed over the authenticator of the request (RFC 5176 2.3)."""
    body = b"" if cause is None else bytes([Type.ERROR_CAUSE, 6]) + cause.to_bytes(4)
    head = bytes([code, packet.identifier]) + (20 + len(body)).to_bytes(2)
    signature = hashlib.md5(
        head + packet.authenticator + body + secret, usedforsecurity=False
    ).digest()
    return head + signature + body
