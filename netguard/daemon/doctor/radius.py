"""Hears what the NASes send, live or out of a capture, and knocks at their CoA ports; judged in core/doctor/nas.py.

Live it reads a copy of the packets from the wire: whether a request is signed, when it was sent again
and what was never answered is in no log of FreeRADIUS.
"""

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address
from pathlib import Path

from netguard.adapters import clock, machine, radius_client, tap
from netguard.core import radius
from netguard.core.doctor import products
from netguard.core.doctor.frames import ETHERNET, RAW, Frame, datagram, frames, macs
from netguard.core.doctor.heard import PORTS, Client, Ear, Neighbours
from netguard.core.doctor.nas import Probe
from netguard.core.plan import Plan, SitePlan
from netguard.core.policy import Nas
from netguard.core.radius import Attributes, Type
from netguard.errors import BadValue, UsageError

# How often whoever watches is told how it goes: after so many seconds, so many frames of a capture.
_TICK, _EVERY = 0.5, 20_000
# After Ctrl-C, in seconds: for what has come already.
_LAST = 0.05
# No tablet has it: the group bit of the first byte is clear, the rest is nobody's.
_NOBODY = "02-00-00-00-00-00"
_PROBES = 16


def clients(plan: Plan, folder: Path | None, only: str | None) -> list[Client]:
    """Return the NASes of a plan, with their secrets where they can be read."""
    found = [_client(site, nas, folder) for site in plan.sites for nas in site.nas]
    if only is None:
        return found
    chosen = [client for client in found if client.name == only]
    if not chosen:
        known = ", ".join(client.name for client in found)
        raise UsageError(f"the rules know no NAS '{only}', they know: {known}")
    return chosen


def _client(site: SitePlan, nas: Nas, folder: Path | None) -> Client:
    return Client(
        name=nas.name,
        site=site.name,
        address=nas.address,
        vendor=nas.vendor,
        message_authenticator=nas.message_authenticator,
        ssid=site.ssid,
        ssid_needed=site.refuse_other_networks,
        interim=site.interim,
        secret=machine.radius_secret(folder / f"{nas.secret_file}.conf") if folder else None,
    )


def tablets(plan: Plan) -> dict[str, str]:
    """Return the names of tablets by MAC."""
    return {str(binding.mac): binding.tablet for binding in plan.bindings}


def listen(
    ear: Ear,
    neighbours: Neighbours,
    interfaces: list[str],
    seconds: float,
    said: Callable[[float], None],
) -> int:
    """Listen for so long, or until Ctrl-C; returns how many packets the kernel could not hand over."""
    wire = tap.Tap(sorted(PORTS), interfaces)
    begin, wall = clock.monotonic(), clock.now().timestamp()
    ear.begin = wall
    lost = 0

    def take(patience: float) -> None:
        for caught in wire.caught(patience, wall - begin):
            if caught.is_frame:
                pair = macs(Frame(caught.at, ETHERNET, caught.packet))
                if pair is not None:
                    neighbours.take(pair)
            elif (one := datagram(Frame(caught.at, RAW, caught.packet))) is not None:
                ear.take(one)

    try:
        while (past := clock.monotonic() - begin) < seconds:
            said(past)
            take(min(_TICK, seconds - past))
            lost += wire.dropped()
    except KeyboardInterrupt:
        # What was heard so far is the answer, what has come and was not looked at yet included.
        take(_LAST)
    finally:
        wire.close()
        ear.finish(wall + clock.monotonic() - begin)
    return lost


def read(ear: Ear, neighbours: Neighbours, path: Path, said: Callable[[float], None]) -> None:
    """Read a capture, or what there is of it until Ctrl-C; `said` hears which share is read.

    Raises UsageError where it is none, or damaged.
    """
    try:
        with path.open("rb") as file:
            size = max(1, path.stat().st_size)
            for number, frame in enumerate(frames(file.read)):
                if number % _EVERY == 0:
                    said(min(1.0, file.tell() / size))
                if (one := datagram(frame)) is not None:
                    ear.take(one)
                if (pair := macs(frame)) is not None:
                    neighbours.take(pair)
    except KeyboardInterrupt:
        # What was read so far is the answer.
        pass
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    except BadValue as error:
        raise UsageError(f"{path}: {error.text}") from error
    ear.finish(ear.end)


# the CoA ports


def probe(asked: list[Client]) -> dict[str, Probe]:
    """Knock at the CoA port of each NAS, a few at a time."""
    with ThreadPoolExecutor(_PROBES) as pool:
        return dict(zip((c.name for c in asked), pool.map(_probe, asked), strict=True))


def _probe(client: Client) -> Probe:
    if client.address.prefixlen != client.address.max_prefixlen:
        return Probe("", why="its access points are a network, none of them is named: not asked")
    if client.secret is None:
        return Probe("", why="its secret is not known here: not asked")
    port = products.coa_port(client.vendor)
    address = client.address.network_address
    now = int(clock.now().timestamp())
    attributes = (*_own_address(address), *_nobody(now))
    outcome, cause = radius_client.disconnect_nobody(
        (str(address), port), client.secret, attributes
    )
    return Probe(outcome, port, cause)


def _own_address(address: object) -> Attributes:
    if isinstance(address, IPv4Address):
        return ((int(Type.NAS_IP_ADDRESS), address.packed),)
    return ()


def _nobody(now: int) -> Attributes:
    """Return what names a session that cannot exist: only attributes that every product understands."""
    return (
        radius.text(Type.CALLING_STATION_ID, _NOBODY),
        radius.text(Type.ACCT_SESSION_ID, f"netguard-doctor-{secrets.token_hex(8)}"),
        radius.number(Type.EVENT_TIMESTAMP, now),
    )
