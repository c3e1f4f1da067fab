"""The second half of the demo: who walked out, who sleeps, whose battery is flat, and which AP is dead.

One story: all of it happens in one ward at once, on accounting through the real FreeRADIUS, and what
netguard says at its end has to be right for each of them.
"""

import datetime
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from netguard.core.policy import Policy, Tablet
from netguard.errors import NetguardError
from netguard.lab.device_management import DeviceManagement
from netguard.lab.hospital import Hospital
from netguard.lab.ward import Ward
from netguard.rules.folder import read_folder
from netguard.rules.load import load

EXIT = ("AP-LOB-01", "AP-LOB-02")
# In seconds of presence: until all are known, until a theft must be told, until it must be surer than at first,
# until the rest must not be told.
QUIET, THEFT, SURER, LATER = 1500.0, 600.0, 3600.0, 1800.0
# At sixty times the speed a stutter of ours is half a minute of silence of the controller, and for so long
# an outage is the better guess: how sure the engine is, is asked for when others were heard again.
HEARD_AGAIN = 60.0
# Until a dead feed must be told; and in seconds of ours, until an alert must have arrived.
SILENCE, DELIVERY = 3600.0, 20.0

Claim = Callable[[str, Callable[[], str]], None]


class Wrong(NetguardError):
    """What netguard says is not what happened."""


class Walkouts:
    """The story, and what is claimed of it."""

    def __init__(self, lab: Hospital) -> None:
        self.ward = Ward(lab)
        policy = rules_of(lab)
        # Both sites' tablets, those in the stock too: on the charger, and heard.
        self.crowd = list(policy.tablets.values())
        self.areas = {
            (site.name, area.name): area
            for site in policy.sites.values()
            for area in site.areas.values()
        }
        # Something happens to those at this site that lie on no shelf and are no hosts of their own.
        self.chosen = [
            t for t in self.crowd
            if t.home[0] == lab.record.site
            and not self.areas[t.home].expected_silent
            and t.id not in lab.record.tablets.values()
        ]  # fmt: skip
        self.cut: list[str] = []
        self.told = 0.0

    def all(self, claim: Claim) -> None:
        """Let it happen, and show each claim."""
        with self.ward.heard(), DeviceManagement(self.ward.lab) as mdm:
            claim(f"{len(self.crowd)} tablets are heard by RADIUS accounting", self.heard)
            self.happen()
            claim("one walks out through the lobby: taken", self.taken)
            claim("... and a real Alertmanager was told, with cause and why", self.told_outside)
            self.ward.wait(LATER)
            claim("... and the longer it is away the surer", self.surer)
            # Asked only once it is more likely than not.
            claim(
                "... and the device management, by a signed order",
                lambda: mdm.asked(self.thief_has, "begin"),
            )
            claim("... syslog alone says it is back: not believed", self.disputed)
            claim("... one that sleeps is not", lambda: self.not_taken(self.sleeper))
            claim("... one whose battery is flat is not", lambda: self.not_taken(self.flat))
            claim("... those of a dead access point are not", self.dead_ap)
            claim("... it comes back: the alert ends", self.returns)
            claim("... and ends at the Alertmanager, too", self.ended_outside)
            claim("... and at the device management", lambda: mdm.asked(self.thief_has, "end"))
        claim(f"the feed of {len(self.crowd)} tablets dies: one message, no theft", self.dead_feed)

    def heard(self) -> str:
        """Fill the ward, and look whether all are where they are."""
        self.ward.fill(self.crowd, self.areas)
        self.ward.wait(QUIET)
        wrong: list[str] = []

        def settled() -> bool:
            rows = {row["tablet"]: row for row in self.ward.lab.watch("tablets")["tablets"]}
            found = {t.id: (rows[t.id]["presence"], rows[t.id]["area"]) for t in self.crowd}
            wrong[:] = [
                f"{t.id} {' '.join(found[t.id])}" for t in self.crowd
                if found[t.id] not in self.expected(t)
            ]  # fmt: skip
            return not wrong

        if self.ward.until(settled, LATER) is None:
            raise Wrong(f"not present at home: {', '.join(wrong)}")
        return f"each in its area, {self.ward.speed} s of presence a second"

    def expected(self, tablet: Tablet) -> list[tuple[str, str]]:
        """Return what may be said of a tablet that is heard at home every five minutes."""
        at = tablet.home[1]
        # Beside an exit, half a minute without a frame is called quiet.
        edge = self.areas[tablet.home].edge
        return [("present", at), ("quiet", at)] if edge else [("present", at)]

    def happen(self) -> None:
        """One is carried out, one sleeps, one runs out of power, one access point dies."""
        self.thief_has, self.sleeper, self.flat = (t.id for t in self.chosen[:3])
        others = [self.ward.tablets[t.id].ap for t in self.chosen[3:]]
        self.ap = Counter(others).most_common(1)[0][0]
        # Until shortly before, all of them are in use.
        self.ward.leave(self.sleeper, "idle")
        self.ward.vanish(self.flat)
        self.cut = [id_ for id_ in self.ward.power_cut(self.ap) if id_ not in self._told]
        self.ward.stolen(self.thief_has, *EXIT)

    @property
    def _told(self) -> set[str]:
        return {self.thief_has, self.sleeper, self.flat}

    def taken(self) -> str:
        """Wait for the alert."""
        found: list[dict[str, Any]] = []

        def raised() -> bool:
            found[:] = self._open(self.thief_has, "taken")
            return bool(found)

        took = self.ward.until(raised, THEFT)
        if took is None:
            where = self.ward.whereabouts(self.thief_has)
            raise Wrong(f"{self.thief_has} is {where['presence']} {where['cause']}, not taken")
        self.ward.wait(HEARD_AGAIN)
        if not raised():
            raise Wrong(f"{self.thief_has} was called taken, and is not any more")
        alert = found[0]
        self.told = float(alert["probability"])
        reasons = ", ".join(r["name"] for r in alert["reasons"] if r["weight"] > 0)
        return (
            f"{self.thief_has} {alert['probability']:.0%} after {took:.0f} s, last at "
            f"{alert['area']}: {reasons}"
        )

    def told_outside(self) -> str:
        """Ask the Alertmanager for the theft."""
        found: list[dict[str, Any]] = []

        def arrived() -> bool:
            found[:] = [a for a in self._outside() if a["labels"].get("tablet") == self.thief_has]
            return [a["labels"]["code"] for a in found] == ["NG-1101"]

        if self.ward.until(arrived, DELIVERY * self.ward.speed) is None:
            raise Wrong(
                f"the Alertmanager knows of {self.thief_has}: {[a['labels'] for a in found]}"
            )
        labels, notes = found[0]["labels"], found[0]["annotations"]
        if notes["cause"] != "taken" or not notes["reasons"]:
            raise Wrong(f"{labels} {notes}")
        return (
            f"{labels['alertname']} {labels['severity']}, {float(notes['probability']):.0%}, "
            f"{labels['area']}: {notes['reasons']}"
        )

    def ended_outside(self) -> str:
        """Ask the Alertmanager whether it has let go of the theft."""

        def gone() -> bool:
            return not [a for a in self._outside() if a["labels"].get("tablet") == self.thief_has]

        if self.ward.until(gone, DELIVERY * self.ward.speed) is None:
            raise Wrong(f"the Alertmanager still holds {self.thief_has}")
        return f"no alert of {self.thief_has} is active"

    def dead_feed(self) -> str:
        """Let accounting die on its way, and count what was said of it."""
        known = {a["labels"]["incident"] for a in self._outside()}
        self.ward.lab.stop("freeradius")
        try:
            return self._blind(known)
        finally:
            self.ward.lab.start("freeradius")

    def _blind(self, known: set[str]) -> str:
        fresh: list[dict[str, Any]] = []

        def blind() -> bool:
            fresh[:] = [a for a in self._outside() if a["labels"]["incident"] not in known]
            return any(a["labels"]["alertname"] == "NetguardBlind" for a in fresh)

        took = self.ward.until(blind, SILENCE)
        if took is None:
            raise Wrong(f"nobody was told that the feed is dead: {[a['labels'] for a in fresh]}")
        self.ward.wait(LATER)
        blind()
        names = Counter(a["labels"]["alertname"] for a in fresh)
        states = Counter(
            row["presence"] for row in self.ward.lab.watch("tablets")["tablets"]
            if row["tablet"] in {t.id for t in self.crowd}
        )  # fmt: skip
        if names != {"NetguardBlind": 1}:
            raise Wrong(f"{dict(names)}, tablets: {dict(states)}")
        shown = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        return f"NetguardBlind after {took:.0f} s of silence; tablets: {shown}"

    def _outside(self) -> list[dict[str, Any]]:
        return [a for a in self.ward.lab.alerts() if a["status"]["state"] == "active"]

    def surer(self) -> str:
        """Compare what is said of it now with what was said first."""
        stands = [self.told]

        def risen() -> bool:
            found = self._open(self.thief_has, "taken")
            stands[:] = [float(found[0]["probability"])] if found else [0.0]
            return stands[0] > self.told

        if self.ward.until(risen, SURER) is None:
            raise Wrong(f"{self.thief_has} was told at {self.told:.0%} and stands at {stands[0]}")
        return f"{self.thief_has} {self.told:.0%} at first, {stands[0]:.0%} now"

    def disputed(self) -> str:
        """Let the controller say that it has the tablet, and nobody else."""
        tablet = next(t for t in self.crowd if t.id == self.thief_has)
        self.ward.claims(str(tablet.mac), self.areas[tablet.home].aps[0])
        found: list[dict[str, Any]] = []

        def doubted() -> bool:
            found[:] = self._open(tablet.id, "taken")
            return not found or found[0]["reasons"][0]["name"] == "disputed"

        if self.ward.until(doubted, THEFT) is None or not found:
            raise Wrong(f"{tablet.id}: {found[0]['reasons'] if found else 'its alert has ended'}")
        return f"the alert of {tablet.id} stays, disputed by {found[0]['reasons'][0]['detail']}"

    def not_taken(self, id_: str) -> str:
        """Look for an alarm of a tablet to which nobody did anything."""
        if self._open(id_, "taken"):
            raise Wrong(f"{id_} is said to be taken")
        where = self.ward.whereabouts(id_)
        if where["presence"] == "present":
            raise Wrong(f"{id_} is said to be present")
        return f"{id_} {where['presence']}, {where['cause']} {where['probability']:.0%}"

    def dead_ap(self) -> str:
        """Look for one alert of the access point, and none of its tablets."""
        wrong = [id_ for id_ in self.cut if self._open(id_, "taken")]
        found = [self.ward.whereabouts(id_) for id_ in self.cut]
        states = Counter(f"{each['presence']} {each['cause']}".strip() for each in found)
        told = [i for i in self.ward.incidents() if self.ap.lower() in i["subject"]]
        shown = ", ".join(f"{count} {words}" for words, count in sorted(states.items()))
        if wrong or len(told) > 1 or any(each["presence"] == "missing" for each in found):
            raise Wrong(f"taken: {wrong}; {shown}; {len(told)} alerts of {self.ap}")
        return f"{self.ap}: {shown}; {len(told)} alert of it, none of them"

    def returns(self) -> str:
        """Bring the tablet back."""
        tablet = next(t for t in self.crowd if t.id == self.thief_has)
        self.ward.arrive(tablet.id, str(tablet.mac), self.areas[tablet.home].aps[0])
        took = self.ward.until(lambda: not self._open(tablet.id, "taken"), THEFT)
        if took is None:
            raise Wrong(f"{tablet.id} is back, and its alert is still open")
        return f"{tablet.id} {self.ward.whereabouts(tablet.id)['presence']}"

    def _open(self, id_: str, cause: str) -> list[dict[str, Any]]:
        return [i for i in self.ward.incidents(id_) if i["open"] and i["cause"] == cause]


def rules_of(lab: Hospital) -> Policy:
    """Return the rules of a lab."""
    policy = load(read_folder(Path(lab.record.rules)), today=datetime.date(2026, 11, 22)).policy
    if policy is None:
        raise NetguardError(f"the rules of lab '{lab.record.name}' are not sound")
    return policy
