"""Where a tablet is in its life: on the shelf, lent, or gone. Only people say that, never a packet.

A tablet that is lost, stolen or retired is refused everywhere, whatever its group may do. So is one in
quarantine, where only the reason differs: it is still lent, or wherever it was. The words only; the store
keeps them, `compile_plan`, `decide` and `verdict` act on them.
"""

from collections.abc import Iterable, Mapping

STOCK, LENT, LOST, STOLEN, RETIRED = "stock", "lent", "lost", "stolen", "retired"
STATES = (STOCK, LENT, LOST, STOLEN, RETIRED)
# No state of its own: what a tablet that is in quarantine counts as, whatever else is said of it.
QUARANTINED = "quarantined"
REFUSED = frozenset({LOST, STOLEN, RETIRED, QUARANTINED})
# Those nobody has. What is heard of them, or not, is no sign of how well it was guessed.
GONE = frozenset({LOST, STOLEN})
# What people type when a tablet turns up again.
FOUND = "found"

# State by the tablet's id; a tablet that is not named has never been spoken of.
Loans = Mapping[str, str]


def effective(loans: Loans, quarantined: Iterable[str]) -> dict[str, str]:
    """Return what each tablet counts as: one that is lost, stolen or retired stays that in quarantine."""
    found = dict(loans)
    for tablet in quarantined:
        if found.get(tablet) not in REFUSED:
            found[tablet] = QUARANTINED
    return found


def rule_of(state: str) -> str:
    """Return the id of the rule that refuses a tablet of this state."""
    return f"loan/{state}"


def why_of(tablet: str, state: str) -> str:
    """Say why a tablet of this state is refused, and how that ends."""
    if state == QUARANTINED:
        return f"{tablet} is in quarantine; to end that: netguard release {tablet}"
    return f"{tablet} is {state}; when it is back: netguard tablet {tablet} {FOUND}"
