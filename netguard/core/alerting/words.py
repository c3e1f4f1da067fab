"""The words of an alert: one message from a notice, in the language of whoever reads it.

Every message has its code and its incident; every moment its offset from UTC, since on the night the clocks
go back half past two comes twice. Texts are message ids for gettext; what machines read is not translated.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from netguard.core.alerting.codes import CODES
from netguard.core.alerting.notices import REPEATED, Notice
from netguard.core.presence.actions import CLEARED, RAISED, UPDATED

Translate = Callable[[str], str]
# Of path and reasons: enough to act on, short enough for a telephone.
MOST_STEPS, MOST_REASONS = 6, 3
# 3GPP TS 23.038: one message of the GSM alphabet.
SMS = 160


def _(text: str) -> str:
    """Mark a text for the catalogues; it is translated where it is said."""
    return text


_MOMENT = _("%Y-%m-%d %H:%M:%S %z")
_SEVERITIES = {"critical": _("critical"), "warning": _("warning"), "info": _("information")}
_KINDS = {
    RAISED: _("new"),
    UPDATED: _("changed"),
    REPEATED: _("still open"),
    CLEARED: _("over"),
}
_REASONS = {
    "length": _("the length of the silence"),
    "walked-to-edge": _("it walked to an exit"),
    "stay": _("how long it stayed at its last access point"),
    "goodbye-at-edge": _("it said goodbye at an exit"),
    "goodbye-at-rest": _("it said goodbye at rest"),
    "goodbye-on-the-way": _("it said goodbye on the way"),
    "idle-at-rest": _("it fell idle at rest"),
    "silent-on-the-way": _("it fell silent on the way, not at an exit"),
    "idle-at-edge": _("it fell idle at an exit"),
    "handshake-failed": _("its handshake failed"),
    "no-goodbye": _("it said no goodbye"),
    "night-inside": _("it is night, and it was away from the exits"),
    "sleeps-here": _("tablets sleep there"),
    "ap-still-heard": _("others are heard at its access point"),
    "ap-down": _("its access point is down"),
    "planned-move": _("a move was planned"),
    "in-stock": _("it is not lent"),
    "reported-missing": _("people reported it missing"),
    "over-two-hours": _("it has been silent for more than two hours"),
    "probes-unanswered": _("it does not answer when asked"),
    "disputed": _("only a controller has heard it since, nobody else has"),
    "record": _("what became of earlier alarms like this one"),
    "calibration": _("how often alarms like this one were right"),
}
_CHANGES = {
    "a sign of life at any AP ends it": _("a sign of life at any access point ends it"),
    "an order to move makes it moved": _("a planned move would explain it"),
    "its AP, NAS or feed reported down makes it an outage": _(
        "its access point, controller or feed reported down would make it an outage"
    ),
    "back on the charger it returns": _("back on the charger it returns"),
    "a walk to an exit before the end would say taken": _(
        "a walk to an exit before the silence would say taken"
    ),
    "a silence longer than its own learned ones would say battery or taken": _(
        "a silence longer than its usual ones would say battery or taken"
    ),
    "other devices heard at the same AP would end the outage": _(
        "others heard at the same access point would end the outage"
    ),
    "heard at the other place it is there": _("heard at the other place it is there"),
    "the end of the order makes it a silence": _("the end of the planned move makes it a silence"),
    "fresh records of the feed end it": _("fresh records of the feed end it"),
}


@dataclass(frozen=True, slots=True)
class Message:
    """What a person reads: a line, and the text below it. `short` fits into one SMS."""

    title: str
    lines: tuple[str, ...]
    short: str
    advice: str

    @property
    def text(self) -> str:
        """Return all of it as plain text."""
        return "\n".join((self.title, "", *self.lines)) + "\n"


def moment(at: float, zone: str, translate: Translate) -> str:
    """Return a moment in a zone, with its offset from UTC."""
    try:
        place = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        # A zone that only another machine knows must not hold an alert back.
        return datetime.fromtimestamp(at, UTC).strftime(translate(_MOMENT))
    return datetime.fromtimestamp(at, UTC).astimezone(place).strftime(translate(_MOMENT))


def compose(notice: Notice, translate: Translate, node: str, runbook: str) -> Message:
    """Return the message of one notice; `node` names the appliance that says it.

    `runbook` is the address of the page with a section for each code.
    """
    matter = notice.matter
    code = CODES[matter.code]
    values = _values(notice, translate)
    title = translate(code.ended if matter.kind == CLEARED else code.title).format_map(values)
    advice = translate(code.advice).format_map(values)
    lines = list(_facts(notice, translate))
    if matter.kind != CLEARED:
        lines += ["", translate(_("What to do: {advice}")).format(advice=advice)]
    lines += [
        "",
        f"{code.code} · {translate(_SEVERITIES[notice.severity])} · {translate(_KINDS[matter.kind])} · "
        f"{matter.incident} · {node}",
        f"{runbook}#{code.code.lower()}",
    ]
    return Message(title, tuple(lines), _short(f"{title} {code.code}"), advice)


def digest(notices: Sequence[Notice], translate: Translate, node: str) -> Message:
    """Return one message about many notices of one code: a flood must not be as many messages."""
    first = compose(notices[0], translate, node, "")
    title = translate(_("{count} alerts at once, for example: {title}")).format(
        count=len(notices), title=first.title
    )
    is_over = notices[0].matter.kind == CLEARED
    lines = [] if is_over else [translate(CODES[notices[0].matter.code].together), ""]
    lines += [
        f"- {compose(each, translate, node, '').title} ({each.matter.incident})" for each in notices
    ]
    return Message(title, tuple(lines), _short(f"{title} {notices[0].matter.code}"), first.advice)


def _values(notice: Notice, translate: Translate) -> Mapping[str, str]:
    matter = notice.matter
    place = (
        matter.place.label or matter.place.ap or matter.place.site or translate(_("nowhere known"))
    )
    fields = dict(matter.fields)
    if "due" in fields:
        fields["due"] = moment(float(fields["due"]), matter.place.zone, translate)
    return {
        "tablet": matter.tablet,
        "subject": matter.subject.removeprefix("feed "),
        "place": place,
        "why": "",
        "loan": "",
        "limit": "",
        "other": "",
        "tablets": "0",
        "due": "",
        **fields,
    }


def _facts(notice: Notice, translate: Translate) -> list[str]:
    matter, place = notice.matter, notice.matter.place
    when = moment(matter.at, place.zone, translate)
    lines = [translate(_("Said at: {when}")).format(when=when)]
    if matter.probability is not None and matter.kind != CLEARED:
        text = translate(_("Probability: {percent} %"))
        lines.append(text.format(percent=round(100 * matter.probability)))
    # That a loan is over says nothing of where the tablet was heard.
    if matter.since and matter.kind != CLEARED and "due" not in matter.fields:
        text = translate(_("Last heard: {when} at {place}"))
        since = moment(matter.since, place.zone, translate)
        lines.append(text.format(when=since, place=_values(notice, translate)["place"]))
    if matter.path and matter.kind != CLEARED:
        steps = [
            f"{moment(at, place.zone, translate)} {ap}" for at, ap in matter.path[-MOST_STEPS:]
        ]
        lines.append(translate(_("Path: {steps}")).format(steps=" > ".join(steps)))
    if matter.kind != CLEARED:
        lines += _reasons(notice, translate)
    return lines


def _reasons(notice: Notice, translate: Translate) -> list[str]:
    lines = []
    for label, chosen in (
        (_("For it: {reasons}"), [r for r in notice.matter.reasons if r[1] > 0]),
        (_("Against it: {reasons}"), [r for r in notice.matter.reasons if r[1] < 0]),
    ):
        words = [translate(_REASONS.get(name, name)) for name, _w, _d in chosen[:MOST_REASONS]]
        if words:
            lines.append(translate(label).format(reasons="; ".join(words)))
    changes = [translate(_CHANGES.get(text, text)) for text in notice.matter.changes]
    if changes:
        text = translate(_("What would change it: {changes}"))
        lines.append(text.format(changes="; ".join(changes)))
    return lines


def _short(text: str) -> str:
    return text if len(text) <= SMS else text[: SMS - 3] + "..."
