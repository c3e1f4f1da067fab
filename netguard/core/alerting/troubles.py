"""What is wrong with the appliance and the tablet network: from what the daemons say, to matters.

A trouble is believed once it has lasted, and over once it has been gone as long: a daemon that is started
anew, or a resolver that misses one question, is nobody's alarm. Pure: time comes in with each look.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from netguard.core.alerting.codes import CODES
from netguard.core.alerting.notices import Matter, Place
from netguard.core.presence.actions import CLEARED, RAISED
from netguard.core.removal import FAILED

# Seconds that a trouble has to last, and to be gone, before anybody is told.
LASTING = 30.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong now. `key` tells it from others; `lasting` seconds until it is believed."""

    key: str
    code: str
    about: Mapping[str, str]
    subject: str = ""
    tablet: str = ""
    place: Place = field(default_factory=Place)
    fields: Mapping[str, str] = field(default_factory=dict)
    lasting: float = LASTING


@dataclass(slots=True)
class _Known:
    trouble: Trouble
    first: float
    last: float
    incident: str = ""


class Troubles:
    """The troubles that are known, from look to look."""

    def __init__(self, open_: Iterable[tuple[str, Trouble, float]] = (), now: float = 0.0) -> None:
        """Begin with those that were open before: their incident, what they are, since when.

        That nobody looked before `now` is no sign that they were gone.
        """
        self._known = {
            trouble.key: _Known(trouble, since, max(since, now), incident)
            for incident, trouble, since in open_
        }

    def look(self, found: Iterable[Trouble], now: float) -> list[Matter]:
        """Take what is wrong now; returns what is to be told: raised, and cleared."""
        said: list[Matter] = []
        for trouble in found:
            known = self._known.get(trouble.key)
            if known is None:
                known = self._known[trouble.key] = _Known(trouble, now, now)
            known.trouble, known.last = trouble, now
            if not known.incident and now - known.first >= trouble.lasting:
                known.incident = f"{trouble.key}-{int(known.first)}"
                said.append(_matter(known, RAISED, now))
        for key, known in list(self._known.items()):
            if known.last == now:
                continue
            if not known.incident:
                del self._known[key]
            elif now - known.last >= known.trouble.lasting:
                said.append(_matter(known, CLEARED, now))
                del self._known[key]
        return said


def _matter(known: _Known, kind: str, now: float) -> Matter:
    trouble = known.trouble
    return Matter(
        incident=known.incident,
        code=CODES[trouble.code].code,
        kind=kind,
        at=now,
        about=trouble.about,
        place=trouble.place,
        tablet=trouble.tablet,
        subject=trouble.subject,
        since=known.first,
        fields=trouble.fields,
    )


def of_daemons(
    guard: Mapping[str, object] | None, dns: Mapping[str, object] | None, fault: str
) -> list[Trouble]:
    """Return what is wrong with the appliance, from the statuses of guard and dns (None: no answer).

    `fault` is why watch itself cannot store.
    """
    found = [
        _appliance(f"down-{name}", "NG-1405", name)
        for name, status in (("guard", guard), ("dns", dns))
        if status is None
    ]
    if fault:
        found.append(_appliance("store-watch", "NG-1404", "watch", fault))
    if guard is not None:
        found += _of_guard(guard)
    upstream = dns.get("upstream") if dns is not None else None
    if isinstance(upstream, list) and upstream and all(each.get("down") for each in upstream):
        found.append(_appliance("resolvers", "NG-1406", "resolvers"))
    return found


def _of_guard(guard: Mapping[str, object]) -> list[Trouble]:
    found = []
    if guard.get("fence_blocked"):
        found.append(_appliance("panic", "NG-1407", "fence", lasting=0.0))
    elif guard.get("state") != "guarding":
        found.append(_appliance("blocked", "NG-1401", "guard"))
    problems = guard.get("problems")
    for name, why in sorted(problems.items()) if isinstance(problems, Mapping) else ():
        code = "NG-1404" if name == "store" else "NG-1402"
        found.append(_appliance(f"enforcer-{name}", code, name, str(why)))
    return [*found, *_of_removals(guard.get("removals")), *_of_suspects(guard.get("suspects"))]


def _of_suspects(suspects: object) -> list[Trouble]:
    """Return the tablets that behave like another device."""
    return [
        Trouble(
            f"{each['tablet']}-like-another-{each['kind']}",
            "NG-1110",
            {"evidence": "clone"},
            tablet=str(each["tablet"]),
            place=Place(site=str(each["site"])),
            fields={"why": str(each["why"])},
            lasting=0.0,
        )
        for each in (suspects if isinstance(suspects, list) else ())
    ]


def _of_removals(removals: object) -> list[Trouble]:
    """Return the tablets that have to go and of which a step has failed, by that step."""
    found = []
    for removal in removals if isinstance(removals, list) else ():
        failed = [step for step in removal["steps"] if step["state"] == FAILED]
        if failed:
            tablet = str(removal["tablet"])
            # The last one says most: what went wrong before it did not keep it from going on.
            fields = {"why": f"{failed[-1]['step']}: {failed[-1]['why']}"}
            about = {"trouble": "quarantine"}
            found.append(
                Trouble(f"{tablet}-on-the-air", "NG-1109", about, tablet=tablet, fields=fields)
            )
    return found


def _appliance(
    key: str, code: str, subject: str, why: str = "", lasting: float = LASTING
) -> Trouble:
    return Trouble(
        key=key,
        code=code,
        about={"trouble": "appliance"},
        subject=subject,
        fields={"why": why} if why else {},
        lasting=lasting,
    )
