"""What people ask and say of alerts over the control socket: listing, acknowledging, snoozing, silencing.

Every word is stored with the line of the audit about it, in one transaction.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from netguard.adapters import clock, control
from netguard.adapters.store import DEAD, HELD, WAITING, Entry, Incident, Said, WatchStore
from netguard.core import alerting
from netguard.core.alerting import Silence
from netguard.core.alerting.silences import KEYS
from netguard.core.names import shown, suggest_of
from netguard.daemon import lending, whereabouts
from netguard.daemon.intake import Intake
from netguard.errors import BadValue, Refused

MAX_SPAN = 30 * 86400.0
MOST = 500


class AlertVerbs:
    """Answers for alerts; everything is in the store, nothing here is remembered."""

    def __init__(self, intake: Intake, opened: Callable[[], WatchStore]) -> None:
        self._intake = intake
        self._opened = opened

    def offers(self) -> dict[str, control.Offer]:
        """Return the verbs; root and watch itself may call them."""
        return {
            "alerts": control.Offer(self.alerts),
            "acknowledge": control.Offer(self.acknowledge),
            "snooze": control.Offer(self.snooze),
            "silence": control.Offer(self.silence),
            "silences": control.Offer(self.silences),
            "letters": control.Offer(self.letters),
            "revive": control.Offer(self.revive),
            "alert-audit": control.Offer(self.audit),
        }

    async def alerts(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Return alerts, the newest first: those that are open, or all that are kept."""
        return {"alerts": await asyncio.to_thread(self._alerts, bool(message.get("all")))}

    def _alerts(self, everything: bool) -> list[dict[str, Any]]:
        store = self._opened()
        rows = store.incidents() if everything else store.open_incidents()
        said = store.said()
        found = [self._shown(row, said.get(row.id)) for row in rows[:MOST]]
        return sorted(found, key=lambda row: str(row["at"]), reverse=True)

    def _shown(self, row: Incident, said: Said | None) -> dict[str, Any]:
        told = whereabouts.incident(self._intake, row)
        code = told.get("code")
        if code not in alerting.CODES:
            code = alerting.code_of(told["cause"], told["tablet"], told.get("subject", "")).code
        place = told.get("place") or {"site": told.get("site", ""), "area": told.get("area", "")}
        return {
            "incident": row.id,
            "code": code,
            "name": alerting.CODES[code].name,
            "cause": told["cause"],
            "probability": told.get("probability"),
            "tablet": told["tablet"],
            "subject": told.get("subject", ""),
            "site": place["site"],
            "area": place["area"],
            "ap": told.get("ap") or place.get("ap", ""),
            "at": told["at"],
            "silent_since": told["silent_since"],
            "open": told["open"],
            "cleared": told["cleared"],
            "acknowledged": said.acknowledged if said else "",
            "note": said.note if said else "",
            "snoozed": clock.stamp(said.snoozed)
            if said and said.snoozed > clock.now().timestamp()
            else "",
        }

    async def acknowledge(
        self, caller: control.Caller, message: control.Message
    ) -> control.Message:
        """Note who has seen an alert: it is not repeated any more."""
        return await asyncio.to_thread(self._speak, caller, message, "acknowledge")

    async def snooze(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Note that an alert is not to be repeated for a while."""
        return await asyncio.to_thread(self._speak, caller, message, "snooze")

    def _speak(self, caller: control.Caller, message: control.Message, verb: str) -> dict[str, Any]:
        store = self._opened()
        id_ = self._incident(store, str(message.get("incident", "")))
        entry = lending.line(clock.now(), caller.name, message, verb, id_)
        before = store.said().get(id_, Said(id_))
        note = lending.plain(message.get("note"), lending.MAX_NOTE)
        if verb == "acknowledge":
            after = replace(before, acknowledged=entry.who, note=note or before.note)
        else:
            until = clock.now().timestamp() + _span(message.get("seconds"))
            after = replace(before, snoozed=until, note=note or before.note)
        store.say(after, _changed(entry, asdict(before), asdict(after)))
        return {"incident": id_, "acknowledged": after.acknowledged, "changed": after != before}

    def _incident(self, store: WatchStore, word: str) -> str:
        """Return the incident that is meant: by its id, or the open one of a tablet."""
        rows = store.open_incidents()
        found = [row.id for row in rows if word in {row.id, row.tablet}]
        if len(found) == 1:
            return found[0]
        if not found:
            near = suggest_of(word, [each for row in rows for each in (row.id, row.tablet)])
            raise Refused(f"no open alert {shown(word)}{near}: see netguard alerts")
        raise Refused(f"{shown(word)} has several open alerts, say which: {', '.join(found)}")

    async def silence(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Make a silence, or end one by its number."""
        return await asyncio.to_thread(self._silence, caller, message)

    def _silence(self, caller: control.Caller, message: control.Message) -> dict[str, Any]:
        store, now = self._opened(), clock.now().timestamp()
        number = message.get("end")
        before: dict[str, Any] = {}
        if number is not None:
            silence = next((s for s in store.silences() if s.id == number and s.ends > now), None)
            if silence is None:
                raise Refused(f"no silence {number} is in force: see netguard silence")
            before = asdict(silence)
            silence = replace(silence, ends=now)
        else:
            silence = self._new(message, now)
        entry = lending.line(clock.now(), caller.name, message, "silence", _words(silence))
        silence = replace(silence, who=silence.who or entry.who)
        id_ = store.silence(silence, _changed(entry, before, asdict(silence)))
        self._intake.alerting.silences = store.silences()
        return {"silence": id_, "ends": clock.stamp(silence.ends), "what": _words(silence)}

    def _new(self, message: control.Message, now: float) -> Silence:
        known = {key: lending.plain(message.get(key), 64) for key in KEYS}
        book = self._intake.book
        if known["code"] and known["code"] not in alerting.CODES:
            raise BadValue("bad-word", f"unknown code {shown(known['code'])}, write NG-1101")
        if book is not None:
            areas = [f"{area.site}/{area.name}" for area in book.model.areas]
            for key, names in (("site", book.sites), ("area", areas), ("tablet", book.tablets)):
                if known[key] and known[key] not in names:
                    near = suggest_of(known[key], list(names))
                    raise BadValue("unknown-ref", f"unknown {key} {shown(known[key])}{near}")
        begins = now + _span(message.get("after", 0), least=0.0)
        ends = begins + _span(message.get("seconds"))
        note = lending.plain(message.get("note"), lending.MAX_NOTE)
        return Silence(0, begins, ends, "", note, **known)

    async def silences(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Return the silences that are in force or to come, or all of them."""
        found = await asyncio.to_thread(self._opened().silences)
        now = clock.now().timestamp()
        rows = [
            asdict(each)
            | {"begins": clock.stamp(each.begins), "ends": clock.stamp(each.ends)}
            | {"what": _words(each), "in_force": each.begins <= now < each.ends}
            for each in found
            if message.get("all") or each.ends > now
        ]
        return {"silences": rows}

    async def letters(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Return what waits, what was refused for good, and what a silence holds back."""
        found = await asyncio.to_thread(self._opened().letters, (WAITING, DEAD, HELD))
        rows = [
            {
                "state": each.state,
                "receiver": each.receiver,
                "channel": each.channel,
                "incident": each.incident,
                "code": each.code,
                "at": clock.stamp(each.at),
                "attempts": each.attempts,
                "why": each.why,
            }
            for each in found
        ]
        return {"letters": rows}

    async def revive(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Let dead letters wait again."""
        return {"revived": await asyncio.to_thread(self._opened().revive)}

    async def audit(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Return who said what of alerts since a moment."""
        since = lending.since(message, clock.now()).isoformat(timespec="seconds")
        subject = str(message.get("subject") or "")
        found = await asyncio.to_thread(self._opened().audit, since, subject)
        return {"audit": [lending.told(entry) for entry in found]}


def _span(seconds: object, least: float = 60.0) -> float:
    if not isinstance(seconds, int | float) or not least <= seconds <= MAX_SPAN:
        raise BadValue("bad-duration", "write a span from 1m to 30d, such as 2h")
    return float(seconds)


def _words(silence: Silence) -> str:
    words = [f"{key} {value}" for key in KEYS if (value := getattr(silence, key))]
    return ", ".join(words) or "everything"


def _changed(entry: Entry, before: Mapping[str, Any], after: Mapping[str, Any]) -> Entry:
    """Return the line with the fields that differ, before and after."""
    keys = [key for key in after if before.get(key) != after[key] and key != "id"]
    told = {key: before[key] for key in keys if key in before}
    return replace(
        entry,
        before=json.dumps(told, sort_keys=True),
        after=json.dumps({key: after[key] for key in keys}, sort_keys=True),
    )
