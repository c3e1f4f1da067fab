"""What is to be told, as letters in the outbox: from the engine's words, from records, from troubles.

A letter of the engine is stored in the transaction that stores the incident (intake.py); one of a trouble in a
transaction of its own, with the incident that it is. Who is told is core/alerting's, how it gets there
delivery.py's.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

from netguard.adapters import clock
from netguard.adapters.store import HELD, WAITING, Incident, Letter, WatchStore
from netguard.core import alerting
from netguard.core.alerting import Matter, Notice, Place, Silence, Trouble, Troubles
from netguard.core.alerting.floods import Floods, grown
from netguard.core.clones import Clones
from netguard.core.due import overdue
from netguard.core.evidence import Event
from netguard.core.loans import QUARANTINED, REFUSED, rule_of
from netguard.core.names import parse_duration
from netguard.core.policy import AlertRule
from netguard.core.presence import Action, Alert
from netguard.core.records import STRANGER_RULES
from netguard.daemon.process import say
from netguard.render.watch import Book

# A tablet that asked where it may not, and does no more for so long, has gone.
ASKED_FOR = 900.0
# A copied address is told for so long after it was seen in use; two slow reports of each fit in.
CLONED_FOR = 3600.0
# What somebody was heard to do once: no look finds it anew.
REMEMBERED = frozenset({"NG-1106", "NG-1107", "NG-1108", "NG-1111", "NG-1112"})
# What refusals are counted over, where a rule does not say.
RECENT = 300.0
WEEK = 7 * 86400.0
# Quarantines that wait for guard at once.
MOST_WANTED = 1000


class Alerting:
    """Turns what is so into letters; knows the rules of the moment and the silences."""

    def __init__(self) -> None:
        self.silences: list[Silence] = []
        self._troubles: Troubles | None = None
        # What tablets asked for where they may not, and when (on the engine's clock).
        self._asked: dict[str, tuple[Trouble, float]] = {}
        self._clones = Clones()
        self.floods = Floods()
        # By rule: when (on the engine's clock) how many packets had been refused.
        self._refused: dict[str, list[tuple[float, int]]] = {}
        self._answers: list[tuple[float, int]] = []
        self._drifts: list[tuple[float, int]] = []
        self._false: list[tuple[float, int]] = []
        # Of the loans that were overdue at the last look, when they ended; None before the first look.
        self._overdue: dict[str, float] | None = None
        # By incident: the tablet that a rule wants in quarantine, that rule, and why; until guard has heard it.
        self.wanted: dict[str, tuple[str, str, str]] = {}

    # the engine

    def letters(
        self, actions: Iterable[Action], book: Book | None, now: float, store: WatchStore
    ) -> list[Letter]:
        """Return the letters about what the engine has said; `now` on its clock.

        The store tells of which incidents letters went out before, when the engine's words are played again.
        """
        if book is None:
            return []
        wall = clock.now().timestamp()
        alerts = [action for action in actions if isinstance(action, Alert)]
        # Begun and over in one go (a pause of ours, a backlog that is read): nobody can do anything.
        over = {each.id for each in alerts if each.kind == alerting.RAISED} & {
            each.id for each in alerts if each.kind == alerting.CLEARED
        }
        # Unless somebody was told before the end of the last process: they are to hear that it is over.
        over -= {letter.incident for letter in store.latest(over)} if over else set()
        found = []
        for action in alerts:
            if action.id not in over:
                place = place_of(book, action.site, action.area, action.ap)
                matter = alerting.matter_of(action, place, wall - now)
                found += self.posted(matter, book, wall, action.at)
        return found

    def posted(self, matter: Matter, book: Book, wall: float, number: float) -> list[Letter]:
        """Return a letter for each receiver of a matter, over its first channel."""
        self._want(matter, book)
        tablet = book.tablets.get(matter.tablet)
        owner = book.owners.get(tablet.group) if tablet is not None else None
        notices = alerting.notices_of(matter, book.alerts, number, [owner] if owner else ())
        return [each for n in notices if (each := self._letter(n, book, wall)) is not None]

    def _want(self, matter: Matter, book: Book) -> None:
        rule = alerting.quarantine_of(matter, book.alerts)
        if rule and len(self.wanted) < MOST_WANTED:
            why = f"{matter.code} {matter.incident}"
            self.wanted.setdefault(matter.incident, (matter.tablet, rule, why))

    def want_again(self, store: WatchStore, book: Book) -> None:
        """Want what open alerts wanted, at a start: guard does nothing twice for one incident."""
        for letter in store.latest([row.id for row in store.open_incidents()]):
            self._want(alerting.read_notice(letter.body).matter, book)

    def _letter(self, notice: Notice, book: Book, wall: float) -> Letter | None:
        receiver = book.receivers.get(notice.receiver)
        if receiver is None or not receiver.channels:
            return None
        channel = receiver.channels[0]
        matter = notice.matter
        if channel == "alertmanager" and alerting.CODES[matter.code].fleet:
            # Prometheus raises it there, from metrics: nothing is told twice.
            if len(receiver.channels) == 1:
                return None
            channel = receiver.channels[1]
        if receiver.actions:
            notice = _for_devices(notice, book)
        # An end goes to whoever heard the beginning: an Alertmanager would hold it for ever.
        held = self._held(notice, book, wall) if matter.kind != alerting.CLEARED else ""
        return Letter(
            notice=notice.id,
            receiver=receiver.name,
            channel=channel,
            incident=matter.incident,
            key=matter.key,
            code=matter.code,
            state=HELD if held else WAITING,
            at=wall,
            body=alerting.write_notice(notice),
            why=held,
        )

    def _held(self, notice: Notice, book: Book, wall: float) -> str:
        """Say what holds a notice back: a silence, or a profile that is on; empty where nothing does."""
        matter, place = notice.matter, notice.matter.place
        silence = alerting.silenced(
            self.silences, wall, matter.code, place.site, place.area, matter.tablet
        )
        if silence is not None:
            return f"silence {silence.id} by {silence.who}"
        profile = book.silenced.get(notice.severity)
        return f"profile {profile}" if profile is not None else ""

    # records

    def ask(
        self, records: Iterable[Mapping[str, str] | None], book: Book | None, now: float
    ) -> None:
        """Take note of tablets that asked where they may not; told at the next look."""
        if book is None:
            return
        for record in records:
            if record and record.get("kind") == "admission":
                if record.get("rule") in STRANGER_RULES:
                    self.floods.refused(record.get("nas", ""))
                trouble = _clinical(record, book) or _asked(record, book)
                if trouble is not None:
                    self._asked[trouble.key] = trouble, now

    def hear(self, events: Iterable[Event], book: Book | None, now: float) -> None:
        """Take note of tablets whose address is in use twice; told at the next look."""
        if book is None:
            return
        for event in events:
            clone = self._clones.tell(event, book.model.walk)
            tablet = book.model.tablets.get(clone.mac) if clone is not None else None
            if clone is not None and tablet is not None:
                here, there = (
                    place_of(book, site, book.model.area_of(ap).name, ap)
                    for site, ap in clone.places
                )
                key = f"{tablet.id}-clone"
                about = {"evidence": "clone"}
                fields = {"other": there.label}
                trouble = Trouble(
                    key, "NG-1108", about, tablet=tablet.id, place=here, fields=fields, lasting=0.0
                )
                self._asked[key] = trouble, now

    # troubles

    def look(
        self,
        store: WatchStore,
        book: Book,
        found: Iterable[Trouble],
        now: float,
    ) -> list[Matter]:
        """Compare what is wrong now with what was, store what is to be told; `now` on the engine's clock."""
        if self._troubles is None:
            open_ = _open(store)
            self._troubles = Troubles(open_, now)
            for _, trouble, _ in open_:
                if trouble.code in REMEMBERED:
                    self._asked.setdefault(trouble.key, (replace(trouble, lasting=0.0), now))
        self._asked = {
            key: (trouble, at)
            for key, (trouble, at) in self._asked.items()
            if now - at < (CLONED_FOR if trouble.code == "NG-1108" else ASKED_FOR)
            and not _found_again(trouble, book)
        }
        wrong = [*found, *(trouble for trouble, _ in self._asked.values())]
        wall = clock.now().timestamp()
        said = []
        for matter in self._troubles.look(wrong, now):
            on_the_wall = replace(matter, at=wall, since=matter.since + wall - now)
            letters = self.posted(on_the_wall, book, wall, matter.at)
            store.settle_incident(_incident(matter), letters)
            say(f"{matter.kind} {matter.code}", subject=matter.key, incident=matter.incident)
            said.append(on_the_wall)
        return said

    def release(self, store: WatchStore, book: Book, wall: float) -> None:
        """Let out what a silence or a profile has held back, where that is over and the alert is not."""
        open_ = [row.id for row in store.open_incidents()]
        ready = []
        for letter in store.latest(open_):
            if letter.state != HELD:
                continue
            if not self._held(alerting.read_notice(letter.body), book, wall):
                ready.append(letter)
        if ready:
            store.release(ready)

    def overdue(self, store: WatchStore, book: Book, wall: float) -> list[Trouble]:
        """Return the loans whose time is up; `wall` in seconds since 1970.

        While nobody knows the loans, those that were overdue still are.
        """
        if self._overdue is None:
            self._overdue = {
                trouble.tablet: float(trouble.fields["due"])
                for _, trouble, _ in _open(store)
                if trouble.code == "NG-1113"
            }
        if book.lent is not None:
            self._overdue = overdue(book.lent, wall, self._overdue)
        found = []
        for id_, end in self._overdue.items():
            known = book.tablets.get(id_)
            site, _, area = known.home.partition("/") if known is not None else ("", "", "")
            found.append(
                Trouble(
                    f"{id_}-overdue",
                    "NG-1113",
                    {"loan": "overdue"},
                    tablet=id_,
                    place=place_of(book, site, area, ""),
                    fields={"due": str(end)},
                    lasting=0.0,
                )
            )
        return found

    def refusals(
        self, rules: Iterable[AlertRule], counters: Mapping[str, list[int]], now: float
    ) -> list[Trouble]:
        """Return the rules of alerts.yaml of which more packets were refused than they bear."""
        found = []
        for rule in rules:
            word = rule.when.get("rule")
            if word is None:
                continue
            most, _, span = rule.when["more_than"].partition("/")
            count = sum(
                packets
                for name, (packets, _) in counters.items()
                if name == word or name.endswith(f"/{word}")
            )
            since = self._refused.setdefault(rule.name, [])
            if grown(since, count, now, parse_duration(span).total_seconds()) > int(most):
                about = {"rule": word, "more_than": rule.when["more_than"]}
                fields = {"limit": rule.when["more_than"]}
                found.append(
                    Trouble(
                        f"refused-{rule.name}", "NG-1302", about, word, fields=fields, lasting=0.0
                    )
                )
        return found

    def appliance(
        self, guard: Mapping[str, Any] | None, false_alarms: int, budget: float | None, now: float
    ) -> list[Trouble]:
        """Return what is counted and wrong: changes by somebody else, false alarms beyond the budget.

        `budget` is a number a day.
        """
        about = {"trouble": "appliance"}
        found = []
        if guard is not None and grown(self._drifts, int(guard.get("drifts", 0)), now, RECENT) > 0:
            last = (guard.get("drift") or [{}])[-1]
            why = f"{last.get('what', '')} ({last.get('by', 'unknown')})"
            fields = {"why": why}
            found.append(Trouble("drift", "NG-1403", about, "ruleset", fields=fields, lasting=0.0))
        # One is always possible; what counts is more than that beyond what the rules bear.
        most = WEEK / 86400.0 * (budget or 0.0) + 1
        if grown(self._false, false_alarms, now, WEEK) > most:
            found.append(Trouble("false-alarms", "NG-1409", about, "presence", lasting=0.0))
        return found

    def feeds(self, feeds: Mapping[str, tuple[float, bool, float | None]]) -> list[Trouble]:
        """Return the feeds that say nothing for longer than the rules allow."""
        return [
            Trouble(f"feed-{name}", "NG-1203", {"feed": "stale"}, f"feed {name}", lasting=0.0)
            for name, (_, stale, _) in sorted(feeds.items())
            if stale
        ]

    def network(
        self, counters: Mapping[str, list[int]], dns: Mapping[str, Any] | None, now: float
    ) -> list[Trouble]:
        """Return what is wrong on the tablet network: devices that are none, answers that must not be."""
        found = []
        strange = counters.get("unknown-mac", [0, 0])[0]
        if grown(self._refused.setdefault("", []), strange, now, RECENT) > 0:
            found.append(
                Trouble(
                    "unknown-device",
                    "NG-1301",
                    {"device": "unknown"},
                    "tablet network",
                    lasting=0.0,
                )
            )
        answers = sum(
            count for kind, _, count in (dns or {}).get("answers", ()) if kind == "refused-address"
        )
        if grown(self._answers, answers, now, RECENT) > 0:
            found.append(
                Trouble(
                    "refused-answers", "NG-1303", {"dns": "refused-address"}, "names", lasting=0.0
                )
            )
        return found


def _for_devices(notice: Notice, book: Book) -> Notice:
    """Return the notice with what a device management knows the tablet by."""
    tablet = book.tablets.get(notice.matter.tablet)
    if tablet is None:
        return notice
    known = {"serial": tablet.serial, "mac": tablet.mac, "model": tablet.model}
    matter = replace(notice.matter, fields={**notice.matter.fields, **known})
    return replace(notice, matter=matter)


def place_of(book: Book, site: str, area: str, ap: str) -> Place:
    """Return a place with what people call it."""
    label = book.labels.get(f"{site}/{area}") if area else None
    edge = any(a.edge for a in book.model.areas if (a.site, a.name) == (site, area))
    words = [label or area, ap] if area else [ap]
    return Place(
        site=site,
        area=area,
        ap=ap,
        edge=edge,
        label=", ".join(filter(None, [book.labels.get(site, site), " ".join(filter(None, words))])),
        zone=book.zones.get(site, "UTC"),
    )


def _where(record: Mapping[str, str], book: Book) -> Place:
    ap = record.get("ap", "")
    area = book.model.area_of(ap)
    return place_of(book, area.site or record.get("site", ""), area.name, ap)


def _clinical(record: Mapping[str, str], book: Book) -> Trouble | None:
    """Return a clinical device that asks for the tablets' network, whatever it was answered."""
    mac = record.get("mac", "")
    if mac not in book.clinical or record.get("rule") not in STRANGER_RULES:
        return None
    device = {"device": "clinical"}
    return Trouble(
        f"clinical-{mac}", "NG-1111", device, mac, place=_where(record, book), lasting=0.0
    )


def _asked(record: Mapping[str, str], book: Book) -> Trouble | None:
    rule, mac = record.get("rule", ""), record.get("mac", "")
    tablet = book.model.tablets.get(mac)
    if tablet is None or record.get("answer") != "reject":
        return None
    place = _where(record, book)
    about: dict[str, str]
    if rule == rule_of(QUARANTINED):
        # It is known to be here, and refused: that it asks is what is expected.
        return None
    if rule.startswith("loan/"):
        code, about, fields = "NG-1107", {"loan": "heard"}, {"loan": rule.partition("/")[2]}
    elif rule.endswith("/areas"):
        code, about, fields = "NG-1106", {"area": "closed"}, {}
    elif rule == "other-network":
        code, about, fields = "NG-1112", {"network": "other"}, {}
    else:
        return None
    key = f"{tablet.id}-{next(iter(about.values())) if not fields else 'loan'}"
    return Trouble(key, code, about, tablet=tablet.id, place=place, fields=fields, lasting=0.0)


def _found_again(trouble: Trouble, book: Book) -> bool:
    return trouble.code == "NG-1107" and book.loans.get(trouble.tablet, "") not in REFUSED


def _incident(matter: Matter) -> Incident:
    """Return a trouble as an incident: its body is the matter, told from the engine's by its code."""
    cleared = matter.at if matter.kind == alerting.CLEARED else None
    body = json.dumps(
        {**asdict(matter), "cause": alerting.CODES[matter.code].name, "silent_since": 0}
    )
    return Incident(matter.incident, matter.tablet, matter.since, cleared, body)


def _open(store: WatchStore) -> list[tuple[str, Trouble, float]]:
    """Return the troubles that were open when watch ended."""
    found = []
    for row in store.open_incidents():
        body: dict[str, Any] = json.loads(row.body)
        if body.get("code") in alerting.CODES:
            key = row.id.rpartition("-")[0]
            trouble = Trouble(
                key=key,
                code=body["code"],
                about=body["about"],
                subject=body["subject"],
                tablet=body["tablet"],
                place=Place(**body["place"]),
                fields=body["fields"],
            )
            found.append((row.id, trouble, row.at))
    return found
