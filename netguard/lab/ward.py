"""A ward in the lab: many tablets that are heard, and a few to which something happens.

Every word goes as accounting through the real FreeRADIUS and its event log; only the tablets have no
host of their own. Time runs as fast as the lab was told (`Hospital.up(speed=...)`): all spans here are
seconds of presence, whatever the wall clock says. Like real people, nobody here says goodbye unless
told to.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event as Flag
from threading import Lock, Thread
from time import monotonic, sleep
from typing import Any

from netguard.core.policy import Area
from netguard.core.policy import Tablet as PolicyTablet
from netguard.errors import NetguardError
from netguard.lab.hospital import Hospital

# How often a tablet that is here is heard of (Acct-Interim-Interval), in seconds of presence.
INTERIM = 300.0
_TURN = 0.1
# Of an area, so many access points have tablets: several at each, so that a dead one shows.
BUSY = 3


@dataclass(slots=True)
class Tablet:
    """One tablet of the ward."""

    id: str
    mac: str
    ap: str
    session: int
    packets: int = 1
    heard: bool = True
    due: float = 0.0


@dataclass(slots=True)
class Ward:
    """The tablets of one lab; a thread of its own keeps those that are here heard."""

    lab: Hospital
    tablets: dict[str, Tablet] = field(default_factory=dict)
    sessions: int = 0
    lock: Lock = field(default_factory=Lock)
    fault: str = ""

    @property
    def speed(self) -> int:
        """Return how many seconds of presence pass in one."""
        return self.lab.record.speed

    @contextmanager
    def heard(self) -> Iterator["Ward"]:
        """Keep those that are here heard while something happens."""
        stop = Flag()
        thread = Thread(target=self._beat, args=(stop,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            stop.set()
            thread.join(10)
        if self.fault:
            raise NetguardError(self.fault)

    def _beat(self, stop: Flag) -> None:
        try:
            while not stop.wait(_TURN):
                now = monotonic()
                for tablet in list(self.tablets.values()):
                    if tablet.heard and tablet.due <= now:
                        self._interim(tablet)
        except NetguardError as error:
            self.fault = str(error)

    def _interim(self, tablet: Tablet) -> None:
        with self.lock:
            if not tablet.heard:
                return
            tablet.packets += 20
            tablet.due = monotonic() + INTERIM / self.speed
            self.lab.tell(
                tablet.mac,
                tablet.ap,
                "interim",
                session=f"{tablet.session:x}",
                packets=tablet.packets,
            )

    # what happens to tablets

    def fill(self, tablets: Iterable[PolicyTablet], areas: Mapping[tuple[str, str], Area]) -> None:
        """Let tablets of the rules be heard at the access points of the areas that are their home."""
        for number, tablet in enumerate(tablets):
            aps = areas[tablet.home].aps
            self.arrive(tablet.id, str(tablet.mac), aps[number % min(len(aps), BUSY)])

    def arrive(self, id_: str, mac: str, ap: str) -> None:
        """Let a tablet associate; a tablet that is here already roams, without a goodbye."""
        with self.lock:
            self.sessions += 1
            tablet = self.tablets.setdefault(id_, Tablet(id_, mac, ap, 0))
            tablet.ap, tablet.session, tablet.heard = ap, self.sessions, True
            # Not all at once, as in life: a controller that speaks in bursts looks dead in between.
            share = self.sessions * 0.618 % 1.0
            tablet.due = monotonic() + share * INTERIM / self.speed
            self.lab.tell(mac, ap, "start", session=f"{tablet.session:x}")

    def walk(self, id_: str, *aps: str, every: float = 20.0) -> None:
        """Carry a tablet past these access points."""
        for ap in aps:
            self.arrive(id_, self.tablets[id_].mac, ap)
            self.wait(every)

    def vanish(self, *ids: str) -> None:
        """Let tablets be heard no more, without a word: out of range, or without power."""
        with self.lock:
            for id_ in ids:
                self.tablets[id_].heard = False

    def leave(self, id_: str, cause: str = "user") -> None:
        """Let a tablet say goodbye: radio off (`user`), or the controller that it is idle (`idle`)."""
        with self.lock:
            tablet = self.tablets[id_]
            tablet.heard = False
            session = f"{tablet.session:x}"
            self.lab.tell(tablet.mac, tablet.ap, "stop", session=session, cause=cause)

    def stolen(self, id_: str, *way: str) -> None:
        """Carry a tablet out: past the access points of its way, and then never heard again."""
        self.walk(id_, *way)
        self.vanish(id_)

    def power_cut(self, ap: str) -> list[str]:
        """Let an access point lose its power with everybody at it; returns who that was.

        Its controller says so, as a Catalyst 9800 does; the access point itself says nothing.
        """
        ids = [tablet.id for tablet in self.tablets.values() if tablet.ap == ap and tablet.heard]
        self.vanish(*ids)
        self.lab.syslog(
            "<189>Nov 22 06:00:00.1 UTC: %CAPWAPAC_SMGR_TRACE_MESSAGE-5-AP_JOIN_DISJOIN: R0/0: wncd: "
            f"AP Event: AP Name: {ap}, MAC: 703a.0e00.0001 Disjoined"
        )
        return ids

    def claims(self, mac: str, ap: str) -> None:
        """Let the controller's log say that a tablet has joined, and nothing else: a lie, or somebody's forgery."""
        cisco = mac.replace(":", "")
        self.lab.syslog(
            "<190>Nov 22 06:00:00.1 UTC: %CLIENT_ORCH_LOG-6-CLIENT_ADDED_TO_RUN_STATE: R0/0: wncd: Username entry (u) "
            f"joined with ssid (S) for device with MAC: {cisco[:4]}.{cisco[4:8]}.{cisco[8:]} on channel (36) on AP {ap}"
        )

    # what netguard says

    def wait(self, seconds: float) -> None:
        """Let so many seconds of presence pass."""
        sleep(seconds / self.speed)

    def whereabouts(self, id_: str) -> dict[str, Any]:
        """Return what watch says of a tablet."""
        found: dict[str, Any] = self.lab.watch("tablets", tablet=id_)["tablets"][0]
        return found

    def incidents(self, id_: str = "") -> list[dict[str, Any]]:
        """Return the incidents of a tablet, or all of them, the newest first."""
        found: list[dict[str, Any]] = self.lab.watch("incidents", tablet=id_)["incidents"]
        return found

    def until(self, happened: Callable[[], bool], within: float) -> float | None:
        """Wait until something is so; returns the seconds of presence it took, None if it is not."""
        begin = monotonic()
        while not happened():
            if (monotonic() - begin) * self.speed > within:
                return None
            sleep(_TURN)
        return (monotonic() - begin) * self.speed
