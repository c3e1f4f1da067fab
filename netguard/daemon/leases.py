"""The addresses that the hospital's own DHCP has given to tablets, learned from its answers.

Kept over restarts: a tablet does not ask again because guard was away. Renewed leases change
nothing; a new address is part of the next plan, and one that has ended no longer is.
"""

import json
from pathlib import Path

from netguard.adapters import clock, files, nflog
from netguard.core.leases import LONGEST, Ack, read_ack, site_of
from netguard.core.names import Address, Mac, parse_address
from netguard.core.plan import Leases, Plan
from netguard.daemon.process import say, warn
from netguard.errors import BadValue
from netguard.render.nftables import LEASE_GROUP

# A whole answer; servers send 300 bytes and a little more.
_PACKET = 1500
# A tablet may go on for so long after its lease: its renewal may be on the way.
_GRACE = 60.0


class LeaseBook:
    """Who holds which address until when.

    On the monotonic clock, so that a clock that is set cuts nobody off; in the file by the wall clock,
    since nothing else outlives a reboot.
    """

    def __init__(self, state: Path) -> None:
        self._path = state / "leases.json"
        self._held: dict[tuple[str, Mac], tuple[Address, float]] = {}
        self._heard: dict[Mac, float] = {}
        self._log: nflog.Log | None = None
        self._read_file()
        self._known: Leases = self.addresses()

    def listen(self) -> nflog.Log:
        """Begin to read what the kernel copies to us."""
        self._log = nflog.Log(LEASE_GROUP, _PACKET, at_once=True)
        return self._log

    def close(self) -> None:
        """Stop reading."""
        if self._log is not None:
            self._log.close()

    def addresses(self) -> Leases:
        """Return the addresses in use now."""
        now = clock.monotonic()
        return {key: address for key, (address, until) in self._held.items() if until > now}

    def renewed(self) -> dict[str, float]:
        """Return how many seconds ago each tablet was given its lease, by MAC, since our start."""
        now = clock.monotonic()
        return {str(mac): now - at for mac, at in self._heard.items()}

    def take(self, plan: Plan | None) -> bool:
        """Read on; say whether who holds what has changed."""
        before = self._known
        acks = [read_ack(logged.packet) for logged in self._log.packets()] if self._log else []
        for ack in acks:
            if ack is not None and plan is not None:
                self._learn(plan, ack)
        self._known = self.addresses()
        if any(acks):
            self._write_file()
        return self._known != before

    def _learn(self, plan: Plan, ack: Ack) -> None:
        site = site_of(plan, ack)
        if site is None:
            warn("an answer of a DHCP server was not taken", mac=str(ack.mac), ip=str(ack.address))
            return
        now = clock.monotonic()
        self._heard[ack.mac] = now
        # One address, one tablet: whoever held it before has lost it.
        self._held = {
            key: (address, end)
            for key, (address, end) in self._held.items()
            if address != ack.address and end > now
        }
        self._held[site.name, ack.mac] = ack.address, now + ack.seconds + _GRACE
        say("lease", site=site.name, mac=str(ack.mac), ip=str(ack.address), seconds=ack.seconds)

    def _write_file(self) -> None:
        ahead = clock.now().timestamp() - clock.monotonic()
        rows = [
            [site, str(mac), str(ip), until + ahead]
            for (site, mac), (ip, until) in self._held.items()
        ]
        try:
            files.write(self._path, json.dumps(sorted(rows)) + "\n", 0o600)
        except OSError as error:
            warn("leases could not be written down, a restart would not know them", why=str(error))

    def _read_file(self) -> None:
        try:
            for site, mac, address, until in json.loads(self._path.read_text()):
                left = min(float(until) - clock.now().timestamp(), LONGEST + _GRACE)
                key = str(site), Mac.parse(mac)
                self._held[key] = parse_address(address), clock.monotonic() + left
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, BadValue) as error:
            warn("leases cannot be read, tablets get in when they renew", why=repr(error))
