"""guard's part in hearing tablets for free: renewals that dnsmasq has written down, and grown flows.

watch asks for it over the socket; it may not read conntrack or the lease file itself.
"""

from pathlib import Path

from netguard.adapters import clock, conntrack
from netguard.core.heartbeats import Flows, read_leases
from netguard.core.plan import Plan
from netguard.daemon.process import warn
from netguard.errors import EnforcementError
from netguard.render.dhcp import LEASE

_LARGEST = 4 * 1024 * 1024


class Heartbeats:
    """What tablets were heard to send; one look at a time."""

    def __init__(self, leases: Path) -> None:
        self._leases = leases
        self._flows = Flows()
        self._trouble = ""

    def look(self, plan: Plan) -> dict[str, dict[str, float]]:
        """Return, for each feed, how many seconds ago a tablet was heard, by MAC.

        A feed that cannot be read is left out: that is not the same as nobody heard.
        """
        looks = {"dhcp": self._renewed(plan), "flows": self._grown(plan)}
        return {feed: heard for feed, heard in looks.items() if heard is not None}

    def _renewed(self, plan: Plan) -> dict[str, float] | None:
        try:
            with self._leases.open("rb") as file:
                text = file.read(_LARGEST).decode("ascii", "replace")
        except OSError:
            return None
        now = clock.now().timestamp()
        tablets = {binding.mac for binding in plan.bindings}
        ages = {mac: now - (end - LEASE) for mac, end in read_leases(text).items()}
        # Given before the clock was set, it tells nothing.
        return {str(mac): age for mac, age in ages.items() if mac in tablets and 0 <= age <= LEASE}

    def _grown(self, plan: Plan) -> dict[str, float] | None:
        try:
            grown = self._flows.grown(conntrack.flows())
        except (EnforcementError, OSError) as error:
            if str(error) != self._trouble:
                warn("flows cannot be read: tablets are not heard by them", why=str(error))
            self._trouble = str(error)
            return None
        self._trouble = ""
        return {str(b.mac): 0.0 for b in plan.bindings if str(b.address) in grown}
