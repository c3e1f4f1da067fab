"""Where a tablet is in its life: on the shelf, lent, or gone. Only people say that, never a packet.

A tablet that is lost, stolen or retired is refused everywhere, whatever its group may do. The words
only; the store keeps them, `compile_plan`, `decide` and `verdict` act on them.
"""

from collections.abc import Mapping

STOCK, LENT, LOST, STOLEN, RETIRED = "stock", "lent", "lost", "stolen", "retired"
STATES = (STOCK, LENT, LOST, STOLEN, RETIRED)
REFUSED = frozenset({LOST, STOLEN, RETIRED})
# What people type when a tablet turns up again.
FOUND = "found"

# State by the tablet's id; a tablet that is not named has never been spoken of.
Loans = Mapping[str, str]


def rule_of(state: str) -> str:
    """Return the id of the rule that refuses a tablet of this state."""
    return f"loan/{state}"


def why_of(tablet: str, state: str) -> str:
    """Say why a tablet of this state is refused, and how that ends."""
    return f"{tablet} is {state}; when it is back: netguard tablet {tablet} {FOUND}"
