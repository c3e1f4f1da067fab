"""The proof after a reload: ask the real FreeRADIUS about entries that changed.

A reload can be ignored in silence (within about 2 s of the last one it does nothing and says that
all is well), so nothing counts as loaded before an answer shows it. What an entry of the plan means
is compared with the judge elsewhere, for every request (tests/radius); here only the entry counts.
"""

from collections.abc import Mapping
from datetime import datetime

from netguard.adapters import clock, radius_client
from netguard.core import psk, radius
from netguard.core.hours import seconds_left
from netguard.core.names import Mac
from netguard.core.plan import Plan
from netguard.errors import BadValue
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


def changed_keys(before: str, after: str) -> list[tuple[str, str]]:
    """Return (site, MAC) of entries that differ between two `psk` files, the first few; none where none does."""
    old, new = _entries(before), _entries(after)
    keys = [key for key in (*new, *old) if old.get(key) != new.get(key)]
    found = dict.fromkeys((key.split("/")[0], key.split("/")[-1]) for key in keys)
    return list(found)[:ASKED]


def disagreement(
    settings: Settings,
    plan: Plan,
    subjects: list[tuple[str, str]],
    keys: Mapping[str, str] | None = None,
) -> str:
    """Ask for each subject; return the first answer that is not the plan's, or an empty text.

    `keys` are the Wi-Fi keys by tablet, None where nobody knows them: then no answer is held against them.
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
        asked = clock.now()
        reply, authenticator = radius_client.ask_whole(
            settings.radius_self, source, secret, sent, mac.encode()
        )
        accepted = reply.code == radius.Code.ACCESS_ACCEPT
        said = (radius.vlan_of(reply) or "no VLAN") if accepted else "reject"
        # A window may begin or end while it answers.
        moments = (asked, clock.now())
        wanted = tuple(
            {expected(plan, site, Mac.parse(mac), moment, keys): "" for moment in moments}
        )
        if said not in wanted:
            return f"it says {said} for {mac} at '{site}', the plan says {' or '.join(wanted)}"
        if accepted and not _same_key(
            plan, site, Mac.parse(mac), reply, (authenticator, secret, keys)
        ):
            return f"it sends another Wi-Fi key for {mac} at '{site}' than is stored"
    return ""


def _same_key(
    plan: Plan,
    site: str,
    mac: Mac,
    reply: radius.Packet,
    known: tuple[bytes, bytes, Mapping[str, str] | None],
) -> bool:
    """Say whether an Accept carries what it has to of a key: in the form of the appliance itself as a NAS."""
    authenticator, secret, keys = known
    forms, binding = plan.site[site].forms, plan.binding.get((site, mac))
    if keys is None:
        return True
    wanted = {}
    if forms and binding is not None:
        form = forms[0]
        wanted = {form: psk.values(form, plan.site[site].ssid, keys[binding.tablet])}
    try:
        return psk.all_said(reply, authenticator, secret) == wanted
    except BadValue:
        return False


def expected(
    plan: Plan, site: str, mac: Mac, at: datetime, keys: Mapping[str, str] | None = None
) -> str:
    """Return what is to be answered for a MAC at a moment: its VLAN, or `reject`."""
    binding = plan.binding.get((site, mac))
    if (
        binding is not None
        and plan.site[site].forms
        and keys is not None
        and binding.tablet not in keys
    ):
        return "reject"
    refusal = next((r for r in plan.refusals if (r.site, r.mac) == (site, mac)), None)
    if refusal is not None and refusal.vlan is not None:
        return str(refusal.vlan)
    refused = refusal is not None
    if refused or binding is None:
        enrolment = plan.site[site].enrolment_vlan
        if refused or enrolment is None or mac.is_local:
            return "reject"
        return str(enrolment)
    left = seconds_left(plan.group[binding.group].hours, at, plan.site[site].time_zone)
    return "reject" if left == 0 else str(plan.site[site].vlan)
