"""The Wi-Fi keys of the tablets: made when first needed, stored sealed, opened for FreeRADIUS' file and nobody else.

A key that cannot be opened is never replaced by itself: what FreeRADIUS holds goes on, `problem` says what is
wrong, and a person puts the key file back or rotates (docs/psk.md).
"""

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence

from netguard.adapters import clock
from netguard.adapters.sealing import Box
from netguard.adapters.store import Entry, PskRow
from netguard.core.plan import Plan, SitePlan
from netguard.core.psk import generate
from netguard.daemon.process import say, warn
from netguard.daemon.register import Register
from netguard.errors import Refused, SealError, StoreError
from netguard.settings import Settings

KEY_FILE = "psk.key"
# Asked at once, and once more when the NAS has forgotten its last answer (core/removal.py).
ASKS = 2
_NAMED = 40


class Psks:
    """Every key, by tablet."""

    def __init__(self, settings: Settings, register: Register) -> None:
        self._register = register
        self._box = Box(settings.paths.state / KEY_FILE)
        self.problem = ""

    def of(self, plan: Plan) -> Mapping[str, str] | None:
        """Return the keys of a plan's tablets, those that are missing newly made; None where nobody can say.

        Blocks; the caller sees to it that it runs once at a time.
        """
        wanted = sorted(tablets(plan))
        if not wanted:
            self.problem = ""
            return {}
        try:
            rows = self._register.psks()
            if not rows and not self._box.has_key:
                self._box.make()
            keys = {t: self._box.open(t, rows[t].sealed) for t in wanted if t in rows}
            missing = [tablet for tablet in wanted if tablet not in keys]
            if missing:
                fresh = {tablet: _new() for tablet in missing}
                self._store(fresh, "guard", "made", "first needed", 0)
                keys |= fresh
        except (StoreError, SealError) as error:
            text = (
                f"the Wi-Fi keys cannot be read or stored, FreeRADIUS keeps those it has: {error}. Put "
                f"{self._box.path} back from a backup; where it is lost: netguard psk rotate --all --why TEXT"
            )
            if text != self.problem:
                warn("the Wi-Fi keys cannot be read or stored", why=str(error))
            self.problem = text
            return None
        self.problem = ""
        return keys

    def key(self, tablet: str) -> tuple[str, PskRow]:
        """Return the key of a tablet and its row. Raises Refused where it has none, SealError, StoreError."""
        row = self._register.psks().get(tablet)
        if row is None:
            raise Refused(f"{tablet} has no Wi-Fi key of its own yet: netguard status says why")
        return self._box.open(tablet, row.sealed), row

    def rotate(
        self, wanted: Iterable[str], who: str, why: str, *, everyone: bool = False
    ) -> list[PskRow]:
        """Give tablets new keys; the sessions of the old ones are still to be ended. Raises StoreError, SealError.

        Where the key file is lost a new one is made only when no tablet keeps what was sealed with the old one.
        `everyone`: nobody else is to have a key, so one that is left of a tablet that went is forgotten.
        """
        chosen = list(wanted)
        others = sorted(set(self._register.psks()) - set(chosen))
        if not self._box.has_key:
            if others and not everyone:
                raise SealError(
                    f"{self._box.path} is missing, and {len(others)} other keys are sealed with it: put it back "
                    "from a backup, or: netguard psk rotate --all --why TEXT"
                )
            self._box.make()
        fresh = {tablet: _new() for tablet in chosen}
        return self._store(fresh, who, "rotated", why, ASKS, others if everyone else ())

    def _store(
        self,
        keys: Mapping[str, str],
        who: str,
        verb: str,
        why: str,
        asks: int,
        gone: Sequence[str] = (),
    ) -> list[PskRow]:
        at = clock.now().isoformat(timespec="seconds")
        rows = [PskRow(t, self._box.seal(t, key), at, who, asks) for t, key in keys.items()]
        lines = [_line(at, who, verb, list(keys), why)]
        if gone:
            lines.append(_line(at, who, "forgotten", gone, why))
        self._register.set_psks(rows, lines, gone)
        say(f"Wi-Fi keys {verb}", count=len(rows), by=who)
        return rows


def _line(at: str, who: str, verb: str, names: Sequence[str], why: str) -> Entry:
    if len(names) == 1:
        subject, after = names[0], {"why": why}
    else:
        more = [f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else []
        subject = f"{len(names)} tablets"
        after = {"why": why, "tablets": ", ".join([*names[:_NAMED], *more])}
    return Entry(at, who, f"psk-{verb}", subject, "{}", json.dumps(after))


def _new() -> str:
    return generate(secrets.choice)


def tablets(plan: Plan) -> set[str]:
    """Return the tablets that have a key of their own: those of sites where a NAS takes one."""
    return {b.tablet for b in plan.bindings if plan.site[b.site].forms}


def sites(plan: Plan, tablet: str) -> list[SitePlan]:
    """Return the sites where a tablet joins with its own key, by name."""
    return [
        plan.site[b.site] for b in plan.bindings if b.tablet == tablet and plan.site[b.site].forms
    ]
