"""What people say of a tablet and ask about it, and the lines of the audit about that.

Reads messages of the control socket and answers them from the register and the policy in force;
enforces nothing and stores nothing, guard does.
"""

import json
from collections.abc import Collection
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

from netguard.adapters.control import Message
from netguard.adapters.files import Applied
from netguard.adapters.store import Entry, Loan, Move
from netguard.core.changes import Changes
from netguard.core.explain import find_tablet
from netguard.core.loans import FOUND, REFUSED, STATES, STOCK
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
    """Return the state that is asked for and its line; None when it is so already."""
    wanted = str(message["state"])
    if wanted not in {*STATES, FOUND}:
        words = (*STATES, FOUND)
        near = suggest(wanted, words)
        raise BadValue(
            "bad-word", f"unknown state {shown(wanted)}{near or ','} known: {', '.join(words)}"
        )
    held = register.details.get(id_)
    state = STOCK if wanted == FOUND else wanted
    loan = Loan(id_, state, line.at, line.who, plain(message.get("note"), MAX_NOTE))
    if held is not None and held.state == state and loan.note in {"", held.note}:
        return None
    return loan, replace(line, before=_loan_text(held), after=_loan_text(loan))


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
    return json.dumps({"state": loan.state} | ({"note": loan.note} if loan.note else {}))
