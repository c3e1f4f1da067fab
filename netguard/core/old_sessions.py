"""Sessions that were begun with a Wi-Fi key which has been replaced: when is the last of them certainly over.

A NAS that takes no Disconnect says nothing of that; its accounting does: a Stop, or a session that the tablet began
since, at the same place, with the new key. Where nothing is said any more, the Session-Timeout that FreeRADIUS sends
ends it (RFC 2865, 5.27). What may be an old one counts as one: whoever holds an old key may be a thief. Pure:
moments and what watch tells of the tablet come in.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from netguard.core.sessions import MOST, Key, Live

# A NAS ends a session in its own time, and tells of it in its own time.
MARGIN = 300.0
# Where no timeout is sent: a NAS that reported of a session, or would have, has been silent of it for so long.
SILENT_FOR = 86400.0
# A report that comes so long after the Start is none of the same moment.
_REPORTS_AFTER = 30.0


# A session by its key; an admission by its moment as well, since the next one has the same key.
Name = tuple[Key, float]


@dataclass(frozen=True, slots=True)
class Heard:
    """What was heard so far: which sessions may be old, of when their last word is, and since when it is the last.

    `quiet` is of the monotonic clock; None before the first look.
    """

    old: frozenset[Name] = frozenset()
    last: float = 0.0
    quiet: float | None = None


def look(
    heard: Heard, rows: Sequence[Live], given: float, now: float, steady: float
) -> tuple[Heard, list[Live]]:
    """Note what watch tells; return it with the sessions that may still go on with an old key.

    `given` is the moment from which on nobody gets the old key any more; `steady` is the monotonic clock's `now`.
    """
    # Once old is old for good: clocks are set, and sessions of a moment to come are not believed either.
    news = [row for row in rows if _name(row) not in heard.old and given < _began(row) <= now]
    old = [row for row in rows if row not in news]
    last = max((row.at for row in old), default=0.0)
    is_news = heard.quiet is None or last > heard.last
    heard = Heard(
        old=heard.old | {_name(row) for row in old},
        last=max(last, heard.last),
        quiet=steady if is_news else heard.quiet,
    )
    return heard, [row for row in old if not any(_follows(new, row) for new in news)]


def over(
    heard: Heard, rows: Sequence[Live], left: Sequence[Live], timeout: float | None, steady: float
) -> str:
    """Say why no session with an old key can go on; an empty text where one may. `left` is what `look` returned."""
    if heard.old and not left:
        known = {row.key for row in rows}
        # Of a MAC with as many as are kept the oldest was forgotten, not ended.
        if len(rows) < MOST or {key for key, _ in heard.old} <= known:
            is_back = any(_name(row) not in heard.old for row in rows)
            return _JOINED if is_back else "its session has ended, by the accounting"
    silent = steady - heard.quiet if heard.quiet is not None else 0.0
    if timeout is not None:
        if silent > timeout + MARGIN:
            return f"nothing was heard of a session with it for longer than the session timeout, {timeout:.0f} s"
    elif silent > SILENT_FOR and all(_reports(row) for row in left):
        return f"nothing was heard of a session with it for {SILENT_FOR / 3600:.0f} hours"
    return ""


_JOINED = "the tablet has joined with its new key since"


def _name(row: Live) -> Name:
    return row.key, 0.0 if row.session else row.at


def _began(row: Live) -> float:
    return row.since if row.session else row.at


def _follows(new: Live, old: Live) -> bool:
    """Say whether a session takes the place of an old one: a NAS has a MAC once, and no word of the old one is later."""
    if not new.session or (new.nas, new.source) != (old.nas, old.source):
        return False
    return old.at < new.since


def _reports(row: Live) -> bool:
    """Say whether its NAS would have told: of one that sends no reports, silence says nothing."""
    return bool(row.session) and row.at > row.since + _REPORTS_AFTER
