"""A question to our own FreeRADIUS, as a NAS would ask it: the proof that it answers as it should.

Only from the appliance to itself: FreeRADIUS listens on loopback too, and knows one client there
for each site, with a secret that nobody else has.
"""

import os
import re
import secrets
import socket
from pathlib import Path

from netguard.core import radius
from netguard.core.radius import Attributes, Packet
from netguard.errors import BadValue, NotReachable

SECRET_FILE = "self.conf"  # noqa: S105  # the name of a file
_SECRET = re.compile(r"secret = ([0-9a-f]{48})\n")
_TRIES = 3


def new_secret() -> str:
    """Return the text of a new secret's file, as FreeRADIUS includes it into a client."""
    return f"secret = {secrets.token_hex(24)}\n"


def read_secret(folder: Path) -> bytes:
    """Read the secret of our own questions. Raises NotReachable where there is none yet."""
    path = folder / SECRET_FILE
    try:
        match = _SECRET.fullmatch(path.read_text())
    except PermissionError as error:
        raise NotReachable(f"{path}: may not be read by this user, try as root") from error
    except OSError as error:
        raise NotReachable(f"{path}: {error.strerror}; is guard running?") from error
    if match is None:
        raise NotReachable(f"{path}: is no secret of ours, remove it and restart guard")
    return match[1].encode()


def ask(
    server: tuple[str, int],
    source: str,
    secret: bytes,
    attributes: Attributes,
    password: bytes,
    patience: float = 1.0,
) -> Packet:
    """Send an Access-Request and return the verified answer; a few tries, each with a new id.

    Raises NotReachable in silence, or when what answers does not know the secret.
    """
    return ask_whole(server, source, secret, attributes, password, patience)[0]


def ask_whole(
    server: tuple[str, int],
    source: str,
    secret: bytes,
    attributes: Attributes,
    password: bytes,
    patience: float = 1.0,
) -> tuple[Packet, bytes]:
    """Do the same, and return with the answer the request's authenticator: what is hidden is read with both."""
    reason = "no answer"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.bind((source, 0))
        sock.connect(server)
        for _ in range(_TRIES):
            identifier, authenticator = secrets.randbelow(256), os.urandom(16)
            request = radius.access_request(identifier, authenticator, secret, attributes, password)
            sock.settimeout(patience)
            try:
                sock.send(request)
                # A late answer to an earlier try has another id: it is read past.
                for _ in range(_TRIES):
                    reply = radius.decode(sock.recv(radius.MAX_PACKET))
                    if reply.identifier == identifier:
                        radius.verify_reply(reply, identifier, authenticator, secret)
                        return reply, authenticator
            except TimeoutError:
                continue
            except (BadValue, OSError) as error:
                reason = str(error)
    raise NotReachable(f"FreeRADIUS at {server[0]} port {server[1]}: {reason}")


def alive(server: tuple[str, int], source: str, secret: bytes, patience: float = 0.8) -> None:
    """Ask whether it is there (Status-Server, RFC 5997): no request, no line in the event log.

    Raises NotReachable in silence, or when what answers does not know the secret.
    """
    reason = "silence"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.bind((source, 0))
            sock.connect(server)
            sock.settimeout(patience)
            for _ in range(_TRIES):
                identifier, authenticator = secrets.randbelow(256), os.urandom(16)
                code = radius.Code.STATUS_SERVER
                sock.send(radius.signed(code, identifier, authenticator, secret, ()))
                try:
                    reply = radius.decode(sock.recv(radius.MAX_PACKET))
                except TimeoutError:
                    continue
                if radius.is_reply(reply, authenticator, secret):
                    return
                reason = "what answers was made with another secret"
        except (BadValue, OSError) as error:
            reason = str(error)
    raise NotReachable(f"{server[0]} port {server[1]}: {reason}")


def disconnect_nobody(
    server: tuple[str, int], secret: bytes, attributes: Attributes, patience: float = 1.0
) -> tuple[str, int | None]:
    """Send a Disconnect-Request (RFC 5176), for a session that cannot exist; twice where it is silent.

    Returns `ack`, `nak` with its Error-Cause, `refused` (ICMP), `forged` (another secret) or `silent`.
    """
    family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.connect(server)
            sock.settimeout(patience)
            for _ in range(2):
                request = radius.disconnect_request(secrets.randbelow(256), secret, attributes)
                sock.send(request)
                try:
                    reply = radius.decode(sock.recv(radius.MAX_PACKET))
                except TimeoutError:
                    continue
                if not radius.is_reply(reply, request[4:20], secret):
                    return "forged", None
                cause = reply.first(radius.Type.ERROR_CAUSE)
                word = "ack" if reply.code == radius.Code.DISCONNECT_ACK else "nak"
                return word, int.from_bytes(cause) if cause is not None else None
        except BadValue:
            return "forged", None
        except ConnectionRefusedError:
            return "refused", None
        except OSError:
            return "silent", None
    return "silent", None
