"""Sessions that were begun with a Wi-Fi key which has been replaced: when is the last of them certainly over.

A NAS that takes no Disconnect says nothing of that; its accounting does: a session to which the tablet was admitted
since, at the same place, with the new key, or a Stop. A Stop is known by what watch has no more, and that may have been
lost otherwise: it counts once a report would have brought it back. Where nothing is said any more, the Session-Timeout
that FreeRADIUS sent ends it (RFC 2865, 5.27). What may be an old one counts as one: whoever holds an old key may be a
thief. Pure: moments and what watch tells of the tablet come in.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from netguard.core.sessions import Key, Live

# A NAS ends a session in its own time, and tells of it in its own time.
MARGIN = 300.0
# Nothing is said of a session for less than this before it is thought over: it may be older than the timeout.
SILENT_FOR = 86400.0
# A session that is gone from what watch knows has ended after this: longer than any Acct-Interim-Interval.
GONE_FOR = 3600.0
# A report that comes so long after the Start is none of the same moment.
_REPORTS_AFTER = 30.0


# A session by its key; an admission by its moment as well, since the next one has the same key.
Name = tuple[Key, float]


@dataclass(frozen=True, slots=True)
class Heard:
    """What was heard so far: which sessions may be old, of when their last word is, and since when it is the last.

    `gone` are those that watch has no more, `since` when so many are. `full`: it once had as many as it keeps of a MAC,
    so what is gone may have been forgotten for others. `quiet` and `since` are of the monotonic clock; None: never yet.
    """

    old: frozenset[Name] = frozenset()
    last: float = 0.0
    quiet: float | None = None
    gone: frozenset[Key] = frozenset()
    since: float | None = None
    full: bool = False


def look(
    heard: Heard,
    rows: Sequence[Live],
    given: float,
    now: float,
    steady: float,
    *,
    full: bool = False,
) -> tuple[Heard, list[Live]]:
    """Note what watch tells; return it with the sessions that may still go on with an old key.

    `given` is the moment from which on nobody gets the old key any more; `steady` is the monotonic clock's `now`. `full`
    says that watch knows as many sessions of the MAC, anywhere, as it keeps.
    """
    # Once old is old for good: clocks are set, and sessions of a moment to come are not believed either.
    news = [
        row for row in rows
        if _name(row) not in heard.old and given < _began(row) <= now and _is_admitted(row, rows, given)
    ]  # fmt: skip
    old = [row for row in rows if row not in news]
    last = max((row.at for row in old), default=0.0)
    is_news = heard.quiet is None or last > heard.last
    names = heard.old | {_name(row) for row in old}
    gone = frozenset({key for key, _ in names} - {row.key for row in rows})
    heard = Heard(
        old=names,
        last=max(last, heard.last),
        quiet=steady if is_news else heard.quiet,
        gone=gone,
        since=heard.since if gone == heard.gone and heard.since is not None else steady,
        full=heard.full or full,
    )
    return heard, [row for row in old if not any(_follows(new, row) for new in news)]


def over(
    heard: Heard, rows: Sequence[Live], left: Sequence[Live], timeout: float | None, steady: float
) -> str:
    """Say why no session with an old key can go on; an empty text where one may. `left` is what `look` returned.

    `timeout` is the longest that any of them can have been given, in seconds; None where one may have been given none.
    """
    if heard.old and not left:
        if not heard.gone:
            return _JOINED
        gone_for = steady - heard.since if heard.since is not None else 0.0
        if not heard.full and gone_for > GONE_FOR:
            is_back = any(_name(row) not in heard.old for row in rows)
            return _JOINED if is_back else "its session has ended, by the accounting"
    silent = steady - heard.quiet if heard.quiet is not None else 0.0
    if timeout is not None and silent > max(timeout + MARGIN, SILENT_FOR):
        return f"nothing was heard of a session with it for {silent / 3600:.0f} hours, longer than any can last"
    if timeout is None and silent > SILENT_FOR and all(_reports(row) for row in left):
        return f"nothing was heard of a session with it for {SILENT_FOR / 3600:.0f} hours"
    return ""


_JOINED = "the tablet has joined with its new key since"


def _name(row: Live) -> Name:
    return row.key, 0.0 if row.session else row.at


def _began(row: Live) -> float:
    return row.since if row.session else row.at


def _is_admitted(row: Live, rows: Sequence[Live], given: float) -> bool:
    """Say whether FreeRADIUS let the tablet in there since: a session that only went on under another id has the old key."""
    if not row.session:
        return True
    return any(
        not each.session and each.nas == row.nas and given < each.at <= row.since + MARGIN
        for each in rows
    )


def _follows(new: Live, old: Live) -> bool:
    """Say whether a session takes the place of an old one: a NAS has a MAC once, and no word of the old one is later."""
    if not new.session or (new.nas, new.source) != (old.nas, old.source):
        return False
    return old.at < new.since


def _reports(row: Live) -> bool:
    """Say whether its NAS would have told: of one that sends no reports, silence says nothing."""
    return bool(row.session) and row.at > row.since + _REPORTS_AFTER
