"""The proof after a reload: ask the real FreeRADIUS about entries that changed.

A reload can be ignored in silence (within about 2 s of the last one it does nothing and says that
all is well), so nothing counts as loaded before an answer shows it. What an entry of the plan means
is compared with the judge elsewhere, for every request (tests/radius); here only the entry counts.
"""

from collections.abc import Mapping

from netguard.adapters import radius_client
from netguard.core import radius
from netguard.core.names import Mac
from netguard.core.plan import Plan
from netguard.render.freeradius import self_address
from netguard.settings import Settings

# Enough to see that the new file is the one in use; each costs a fraction of a millisecond.
ASKED = 3


def changed(before: str, after: str) -> list[tuple[str, str]]:
    """Return (site, MAC) of entries that differ between two `tablets` files, the first few.

    Where none differs, entries of the new file: any of them shows that it is in use.
    """
    old, new = _entries(before), _entries(after)
    keys = [key for key in (*new, *old) if old.get(key) != new.get(key)] or list(new)
    picked = list(dict.fromkeys(keys))[:ASKED]
    return [(site, mac) for site, _, mac in (key.partition("/") for key in picked)]


def _entries(text: str) -> Mapping[str, str]:
    entries: dict[str, str] = {}
    key = ""
    for line in text.splitlines():
        if line[:1] in {"", "#"}:
            continue
        if not line.startswith("\t"):
            key = line.split(" ", 1)[0]
        entries[key] = entries.get(key, "") + line + "\n"
    return entries


def disagreement(settings: Settings, plan: Plan, subjects: list[tuple[str, str]]) -> str:
    """Ask for each subject; return the first answer that is not the plan's, or an empty text.

    Raises NotReachable when FreeRADIUS does not answer.
    """
    secret = radius_client.read_secret(settings.paths.radius)
    numbers = {site.name: number for number, site in enumerate(plan.sites)}
    for site, mac in subjects:
        if site not in numbers:
            continue
        sent = (
            radius.text(radius.Type.USER_NAME, mac),
            radius.text(radius.Type.CALLING_STATION_ID, mac),
        )
        source = self_address(numbers[site])
        reply = radius_client.ask(settings.radius_self, source, secret, sent, mac.encode())
        accepted = reply.code == radius.Code.ACCESS_ACCEPT
        said = (radius.vlan_of(reply) or "no VLAN") if accepted else "reject"
        wanted = expected(plan, site, Mac.parse(mac))
        if said not in wanted:
            return f"it says {said} for {mac} at '{site}', the plan says {' or '.join(wanted)}"
    return ""


def expected(plan: Plan, site: str, mac: Mac) -> tuple[str, ...]:
    """Return what may be answered for a MAC: its VLAN, or `reject`; both where hours decide."""
    binding = plan.binding.get((site, mac))
    refused = any(refusal.site == site and refusal.mac == mac for refusal in plan.refusals)
    if refused or binding is None:
        enrolment = plan.site[site].enrolment_vlan
        if refused or enrolment is None or mac.is_local:
            return ("reject",)
        return (str(enrolment),)
    vlan = str(plan.site[site].vlan)
    # FreeRADIUS judges hours by its own clock.
    return (vlan, "reject") if plan.group[binding.group].hours is not None else (vlan,)
