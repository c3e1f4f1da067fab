"""Tablets that behave like another device: guard hears what they ask DHCP for and what they send from.

The kernel copies their DHCP requests, and says which packets were refused for their sender. What is strange is kept
for an hour in `status`; watch makes an alert of it. Past ways are kept over restarts.
"""

import json
from collections import deque
from pathlib import Path
from typing import NamedTuple

from netguard.adapters import clock, files, nflog
from netguard.core import fingerprints
from netguard.core.denials import Denial
from netguard.core.fingerprints import Past
from netguard.core.plan import Binding, Plan
from netguard.daemon.process import say, warn
from netguard.errors import BadValue
from netguard.render.nftables import REQUEST_GROUP

_PACKET = 1500
# For so long one is told; a second of the same kind begins no new one.
TOLD_FOR = 3600.0
_MOST_TOLD = 200
# The ways of all tablets are one file: whoever asks in ever new ways does not have it written for each.
WRITE_INTERVAL = 5.0


class Suspicion(NamedTuple):
    """What is strange about one tablet."""

    tablet: str
    site: str
    kind: str
    at: float
    why: str


class Suspects:
    """What is known of the ways of each tablet, and what was strange of late."""

    def __init__(self, state: Path) -> None:
        self._path = state / "fingerprints.json"
        self._log: nflog.Log | None = None
        self._told: deque[Suspicion] = deque(maxlen=_MOST_TOLD)
        self._pasts: dict[str, Past] = {}
        self._unwritten, self._write_at, self._fault = False, 0.0, ""
        try:
            self._pasts = fingerprints.read(json.loads(self._path.read_text()))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, BadValue) as error:
            warn("the ways of tablets cannot be read, they are learned anew", why=repr(error))

    def listen(self) -> nflog.Log:
        """Begin to read what the kernel copies to us."""
        self._log = nflog.Log(REQUEST_GROUP, _PACKET, at_once=True)
        return self._log

    def close(self) -> None:
        """Stop reading; what is not written yet is."""
        if self._log is not None:
            self._log.close()
        if self._unwritten:
            self._write()

    def take(self, plan: Plan | None) -> None:
        """Read on; what is no tablet of the plan is not kept."""
        for logged in self._log.packets() if self._log is not None else ():
            asked = _request(logged)
            site = plan.site_of_interface.get(logged.interface) if plan is not None else None
            binding = (
                plan.binding.get((site.name, asked.mac))
                if plan is not None and site is not None and asked is not None
                else None
            )
            if asked is not None and binding is not None:
                self._hear(binding, asked.way)
        if self._unwritten and clock.monotonic() >= self._write_at:
            self._write()

    def _hear(self, binding: Binding, way: fingerprints.Way) -> None:
        now, mac = clock.now().timestamp(), str(binding.mac)
        past = self._pasts.setdefault(mac, Past(now))
        self._unwritten |= way not in past.ways
        why = past.tell(way, now)
        if why:
            self._note(Suspicion(binding.tablet, binding.site, "dhcp", now, why))

    def refused(self, plan: Plan | None, denial: Denial) -> None:
        """Take a refused packet: a tablet that sends from another tablet's place has a second address."""
        if plan is None or denial.mac is None or not denial.rule.endswith("anti-spoof"):
            return
        site = plan.site_of_interface.get(denial.interface)
        binding = plan.binding.get((site.name, denial.mac)) if site is not None else None
        if site is None or binding is None or binding.address in {None, denial.source}:
            return
        # From home it brings an address of home for a moment; one of ours it has been given by nobody.
        if any(n.version == denial.source.version and denial.source in n for n in site.networks):
            why = f"sends from {denial.source}, its own address is {binding.address}"
            at = denial.at.timestamp()
            self._note(Suspicion(binding.tablet, binding.site, "address", at, why))

    def _note(self, new: Suspicion) -> None:
        fresh = [each for each in self._told if new.at - each.at < TOLD_FOR]
        if any((e.tablet, e.kind) == (new.tablet, new.kind) for e in fresh):
            return
        self._told.append(new)
        say("suspect", tablet=new.tablet, kind=new.kind, why=new.why)

    def shown(self) -> list[dict[str, str]]:
        """Return what was strange within the last hour, as an answer."""
        now = clock.now().timestamp()
        return [
            {
                "tablet": e.tablet,
                "site": e.site,
                "kind": e.kind,
                "at": clock.stamp(e.at),
                "why": e.why,
            }
            for e in self._told
            if 0 <= now - e.at < TOLD_FOR
        ]

    def _write(self) -> None:
        """Write the ways of all; what fails is tried again, and warned of once."""
        self._write_at = clock.monotonic() + WRITE_INTERVAL
        try:
            text = json.dumps(fingerprints.write(self._pasts)) + "\n"
            files.write(self._path, text, 0o600)
        except OSError as error:
            if self._fault != str(error):
                warn("the ways of tablets could not be written down", why=str(error))
            self._fault = str(error)
            return
        self._unwritten, self._fault = False, ""


def _request(logged: nflog.Logged) -> fingerprints.Asked | None:
    """Read a request; None where the frame is not from whom the message names.

    Anybody can write another's MAC into a message, and would have its owner told as a clone. Tablets and we are
    on one link, with no relay between: a client's own frame always bears its own MAC.
    """
    asked = fingerprints.read_request(logged.packet)
    if asked is None or logged.hardware[:6].hex(":") != str(asked.mac):
        return None
    return asked
