"""How the lab's controller may be set up wrong, and how it takes a Disconnect-Request: as hostapd 2.10 was seen to.

RFC 5176. Only the attributes that hostapd knows; a NAK with its Error-Cause for what it does not take; silence
for another secret, a request without Event-Timestamp, or one that is more than 300 s off.
"""

import hashlib
import socket
import sys
from dataclasses import dataclass
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
_UNSUPPORTED, _BAD_VALUE, _NO_SESSION = 401, 407, 503


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

    def disconnect(self, mac: str, session: str) -> bool:
        """Do it; False where there is no such session."""


class Port:
    """The port, open or closed."""

    def __init__(self, controller: Controller, address: str) -> None:
        self._controller, self._address = controller, address
        self._socket: socket.socket | None = None

    def set(self, *, open_: bool) -> None:
        """Open the port, or close it: then the kernel says so to whoever knocks."""
        if open_ == (self._socket is not None):
            return
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            return
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.bind((self._address, PORT))
        one.settimeout(0.1)
        self._socket = one
        Thread(target=self._serve, args=(one,), daemon=True).start()

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
    mac = packet.first(Type.CALLING_STATION_ID) or b""
    session = packet.first(Type.ACCT_SESSION_ID) or b""
    try:
        named = str(Mac.parse(mac.decode("ascii", "replace"))) if mac else ""
    except BadValue:
        return _reply(packet, secret, Code.DISCONNECT_NAK, _BAD_VALUE)
    if controller.disconnect(named, session.decode("ascii", "replace")):
        return _reply(packet, secret, Code.DISCONNECT_ACK, None)
    return _reply(packet, secret, Code.DISCONNECT_NAK, _NO_SESSION)


def _reply(packet: Packet, secret: bytes, code: Code, cause: int | None) -> bytes:
    """Make an answer, signed over the authenticator of the request (RFC 5176 2.3)."""
    body = b"" if cause is None else bytes([Type.ERROR_CAUSE, 6]) + cause.to_bytes(4)
    head = bytes([code, packet.identifier]) + (20 + len(body)).to_bytes(2)
    signature = hashlib.md5(
        head + packet.authenticator + body + secret, usedforsecurity=False
    ).digest()
    return head + signature + body
