"""What people say of a tablet and ask about it, and the lines of the audit about that.

Reads messages of the control socket and answers them from the register and the policy in force;
enforces nothing and stores nothing, guard does.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

from netguard.adapters.control import Message
from netguard.adapters.files import Applied
from netguard.adapters.store import Entry, Loan, Move
from netguard.core.changes import Changes
from netguard.core.due import LONGEST, SHORTEST, Lent
from netguard.core.explain import find_tablet
from netguard.core.loans import FOUND, LENT, REFUSED, STATES, STOCK
from netguard.core.names import shown, suggest, suggest_of
from netguard.core.policy import Policy
from netguard.daemon.register import Register
from netguard.errors import BadValue, Refused

NO_RULES = "no rules are in force, so no tablet is known: netguard apply DIR"
MAX_NOTE = 200
MAX_WHO = 64
MAX_CHANGES = 40
MAX_MOVE = 30 * 86400


def tablet_id(register: Register, policy: Policy | None, word: str) -> str:
    """Return the id of the tablet that is meant, by id, MAC or address."""
    # Also a tablet that has left the inventory: what was said of it stays.
    if word in register.details:
        return word
    if policy is None:
        raise Refused(NO_RULES, again=True)
    return find_tablet(policy, word).id


def change(
    register: Register, message: Message, id_: str, line: Entry
) -> tuple[Loan, Entry] | None:
    """Return the state that is asked for and its line; None when it is so already.

    Raises BadValue for a state or a length that is none.
    """
    wanted = str(message["state"])
    if wanted not in {*STATES, FOUND}:
        words = (*STATES, FOUND)
        near = suggest(wanted, words)
        raise BadValue(
            "bad-word", f"unknown state {shown(wanted)}{near or ','} known: {', '.join(words)}"
        )
    held = register.details.get(id_)
    state = STOCK if wanted == FOUND else wanted
    until, note = _lent_until(message, state, line.at), plain(message.get("note"), MAX_NOTE)
    loan = Loan(id_, state, line.at, line.who, note, until)
    if held is not None and held.state == state:
        if note in {"", held.note} and not until:
            return None
        if state == LENT:
            # The same loan: it began when it began, whoever has another word for it, or more time.
            loan = replace(held, note=note or held.note, until=until or held.until)
    return loan, replace(line, before=_loan_text(held), after=_loan_text(loan))


def _lent_until(message: Message, state: str, at: str) -> str:
    """Read the end of a loan of its own, `seconds` from the moment in which it is said; "" for none."""
    seconds = message.get("seconds")
    if seconds is None:
        return ""
    if state != LENT:
        raise BadValue("bad-duration", "only a loan has a length: netguard lend ID --for 3d")
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, int | float)
        or not SHORTEST.total_seconds() <= seconds <= LONGEST.total_seconds()
    ):
        text = "a loan lasts from 1h to 366d, and m are minutes: --for 60d is two months"
        raise BadValue("bad-duration", text)
    return (datetime.fromisoformat(at) + timedelta(seconds=seconds)).isoformat(timespec="seconds")


def lent(details: Mapping[str, Loan]) -> dict[str, Lent]:
    """Return the loans that run; one whose moments cannot be read is left out, nobody is told of it."""
    found = {}
    for tablet, loan in details.items():
        since = _moment(loan.at) if loan.state == LENT else None
        if since is not None:
            found[tablet] = Lent(since, _moment(loan.until))
    return found


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def terms(lent_: Lent | None, end: datetime | None, now: datetime) -> dict[str, Any]:
    """Return since when a tablet is lent, when it is due, and whether that is over; texts, "" for none."""
    return {
        "lent_since": lent_.since.isoformat(timespec="seconds") if lent_ is not None else "",
        "due": end.isoformat(timespec="seconds") if end is not None else "",
        "overdue": end is not None and end <= now,
    }


def with_due(line: Entry, end: datetime | None) -> Entry:
    """Add to a line of the audit when the loan ends by the rules of that moment."""
    if end is None:
        return line
    after = json.loads(line.after) | {"due": end.isoformat(timespec="seconds")}
    return replace(line, after=json.dumps(after))


def moving(message: Message, policy: Policy | None, id_: str, line: Entry) -> tuple[Move, Entry]:
    """Return the move that is asked for and its line. Raises BadValue for a place that is none."""
    word = str(message.get("area", ""))
    site, _, area = word.partition("/")
    places = [f"{s.name}/{a}" for s in (policy.sites if policy else {}).values() for a in s.areas]
    if policy is None or f"{site}/{area}" not in places:
        raise BadValue("unknown-ref", f"unknown area {shown(word)}{suggest_of(word, places)}")
    seconds = message.get("seconds")
    if not isinstance(seconds, int | float) or not 0 < seconds <= MAX_MOVE:
        raise BadValue("bad-duration", "a move holds for more than 0 s and at most 30 days")
    until = datetime.fromisoformat(line.at) + timedelta(seconds=seconds)
    move = Move(id_, word, until.isoformat(timespec="seconds"))
    note = plain(message.get("note"), MAX_NOTE)
    after = {"to": move.area, "until": move.until} | ({"note": note} if note else {})
    return move, replace(line, after=json.dumps(after))


def known(
    register: Register, policy: Policy | None, sites: Collection[str], id_: str
) -> dict[str, Any]:
    """Return what rules and register know of a tablet."""
    loan = register.details.get(id_)
    answer: dict[str, Any] = {
        "tablet": id_,
        "inventory": None,
        "addresses": {},
        "loan": asdict(loan) if loan else None,
        "refused": (register.effective or {}).get(id_) in REFUSED,
    }
    tablet = policy.tablets.get(id_) if policy is not None else None
    if policy is None or tablet is None:
        return answer
    answer["inventory"] = {
        "mac": str(tablet.mac),
        "group": tablet.group,
        "home": "/".join(tablet.home),
        "model": tablet.model,
        "serial": tablet.serial,
        "line": str(policy.where("tablets", id_) or ""),
    }
    served = [site for name, site in policy.sites.items() if name in sites]
    answer["addresses"] = {
        site.name: str(address)
        for site in served
        if (address := policy.address_of(tablet, site)) is not None
    }
    return answer


def line(at: datetime, caller: str, message: Message, verb: str, subject: str) -> Entry:
    """Begin a line of the audit; before and after are filled in by whoever knows them."""
    who = plain(message.get("by") or caller, MAX_WHO)
    moment = at.isoformat(timespec="seconds")
    return Entry(moment, who, verb, plain(subject, MAX_WHO), "{}", "{}")


def digests(applied: Applied | None) -> str:
    """Return what was in force as a field of the audit."""
    if applied is None:
        return "{}"
    body = {"number": applied.number, "rules": applied.rules, "plan": applied.plan}
    return json.dumps(body | ({"commit": applied.commit} if applied.commit else {}))


def with_changes(after: str, message: Message, found: Changes) -> str:
    """Add to a field of the audit why it was done and what it means, line by line."""
    body = json.loads(after)
    note = plain(message.get("note"), MAX_NOTE)
    said = texts(found)
    rest = len(said) - MAX_CHANGES
    body["changes"] = said[:MAX_CHANGES] + ([f"and {rest} more"] if rest > 0 else [])
    return json.dumps(body | ({"note": note} if note else {}))


def texts(found: Changes) -> list[str]:
    """Return changes as lines of text; what opens is marked with `!`."""
    return [
        f"{line.sign}{'!' if line.widens else ''} {where}{line.what} {line.detail}".rstrip()
        for where, lines in (
            ("", found.general),
            *((f"{group.name}: ", group.lines) for group in found.groups),
            ("", found.tablets),
        )
        for line in lines
    ]


def pulled(message: Message, *, was: bool, block: bool) -> dict[str, str]:
    """Return what the panic switch was and is, as fields of the audit."""
    note = plain(message.get("note"), MAX_NOTE)
    after = {"fence": _switch(block)} | ({"note": note} if note else {})
    return {"before": json.dumps({"fence": _switch(was)}), "after": json.dumps(after)}


def _switch(blocked: bool) -> str:  # one word for one bit
    return "blocked" if blocked else "as planned"


def told(entry: Entry) -> dict[str, Any]:
    """Return a line of the audit as an answer."""
    return asdict(entry) | {"before": _fields(entry.before), "after": _fields(entry.after)}


def _fields(text: str) -> dict[str, Any]:
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError):
        return {"text": text}


def since(message: Message, now: datetime) -> datetime:
    """Read how far back to look; anything odd is all there is."""
    seconds = message.get("seconds")
    span = seconds if isinstance(seconds, int | float) and 0 <= seconds < 10**9 else 10**9
    return now - timedelta(seconds=span)


def plain(text: object, limit: int) -> str:
    """Make one printable line of what somebody typed."""
    return "".join(c if c.isprintable() else " " for c in str(text or ""))[:limit].strip()


def _loan_text(loan: Loan | None) -> str:
    if loan is None:
        return "{}"
    words = {"state": loan.state, "note": loan.note, "until": loan.until}
    return json.dumps({key: value for key, value in words.items() if value})
