"""A Plan as the data FreeRADIUS answers from: `tablets`, `areas`, `lent`, `psk` (rlm_files), `clients.conf`.

Every word is typed before it is written, so that no SSID or name can carry unlang or an expansion
into FreeRADIUS. The secrets are not here: each client includes a snippet that netguard never reads.
Formats: FreeRADIUS 3.2, users(5) and raddb/clients.conf.
"""

from collections.abc import Iterable, Iterator, Mapping

from netguard.core.names import Mac
from netguard.core.plan import Binding, Plan, Refusal, SitePlan
from netguard.core.policy import Nas
from netguard.core.psk import Form
from netguard.core.psk import values as form_values
from netguard.core.records import SELF
from netguard.errors import BadValue
from netguard.render.radius_hours import login_time

# What FreeRADIUS' %{urlquote:} leaves as it is (RFC 3986 2.3).
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_FORBIDDEN = frozenset('"\\$%`\n\r')
_SHOWN = '" \\ $ % `'


def tablets(plan: Plan) -> str:
    """Return the `tablets` file: one entry per tablet and site, keyed SITE/MAC.

    An entry without a VLAN is never written; radius_hooks refuses one all the same.
    """
    entries: dict[tuple[str, str], str] = {}
    places = {site.name: list(_place(site)) for site in plan.sites}
    for binding in plan.bindings:
        entries[binding.site, str(binding.mac)] = _entry(plan, binding, places[binding.site])
    for refusal in plan.refusals:
        entries[refusal.site, str(refusal.mac)] = _refused(plan, refusal, places[refusal.site])
    head = "# Made by netguard apply. Who is admitted, and into which VLAN.\n"
    return head + "".join(f"{site}/{mac} {entry}" for (site, mac), entry in sorted(entries.items()))


def _refused(plan: Plan, refusal: Refusal, place: list[str]) -> str:
    rule = f'Netguard-Rule := "{refusal.rule}"'
    if refusal.vlan is None:
        return ", ".join(["Auth-Type := Reject", rule, *place]) + "\n"
    site = plan.site[refusal.site]
    check = ["Auth-Type := Accept", rule, *place, *_network(site), *_keyed(site)]
    return ", ".join(check) + "\n" + _replied(_triplet(refusal.vlan))


def _network(site: SitePlan) -> list[str]:
    return [f'Netguard-Network := "{_plain(site.ssid)}"'] if site.refuse_other_networks else []


def _keyed(site: SitePlan) -> list[str]:
    return ['Netguard-Keyed := "yes"'] if site.forms else []


def _triplet(vlan: int) -> list[str]:
    return [
        "Tunnel-Type = VLAN",
        "Tunnel-Medium-Type = IEEE-802",
        f'Tunnel-Private-Group-Id = "{vlan}"',
    ]


def _replied(items: Iterable[str]) -> str:
    return ",\n".join(f"\t{item}" for item in items) + "\n"


def _entry(plan: Plan, binding: Binding, place: list[str]) -> str:
    site, group = plan.site[binding.site], plan.group[binding.group]
    closing = any(group.name in area.closed_to for area in site.areas)
    check = ["Auth-Type := Accept", f'Netguard-Rule := "{group.name}/admit"', *place]
    check += [*_network(site), *_keyed(site)]
    if closing or group.hours is not None:
        check.append(f'Netguard-Group := "{group.name}"')
    if closing:
        # The area decides: elsewhere it is looked up for the event log only.
        check.append('Netguard-Closing := "yes"')
    if group.hours is not None:
        # Whether hours are judged. By which is said in `hours`: a change of them is one file.
        check.append(f'Login-Time := "{login_time(group.hours)}"')
    reply = [*_triplet(site.vlan), f"Acct-Interim-Interval = {site.interim}"]
    if group.session_timeout is not None:
        reply.append(f"Session-Timeout = {group.session_timeout}")
    return ", ".join(check) + "\n" + _replied(reply)


def _place(site: SitePlan) -> Iterator[str]:
    """Yield what is said of the site in every entry: asking the client for it costs more."""
    yield f'Netguard-Site := "{site.name}"'
    bssids = _bssids(site)
    if bssids:
        yield f'Netguard-Bssids := "{bssids}"'


def _bssids(site: SitePlan) -> str:
    """Say how a site lists BSSIDs, so that they are not looked up in vain."""
    aps = [ap for area in site.areas for ap in area.aps]
    if any(ap.endswith("*") for ap in aps):
        return "patterns"
    return "listed" if any(_is_mac(ap) for ap in aps) else ""


def psk(plan: Plan, keys: Mapping[str, str]) -> str:
    """Return the `psk` file: the Wi-Fi key of each tablet in each form of its sites, keyed SITE/FORM/MAC.

    `keys` are the keys by tablet. The one file with secrets in it: it is never part of a plan, a difference or
    a log. A tablet without a key has no entry, and radius_hooks rejects it where its NAS wants one.
    """
    lines = ["# Made by netguard guard. SECRET: the Wi-Fi key of each tablet. Do not copy."]
    for binding in plan.bindings:
        site = plan.site[binding.site]
        for form in site.forms if binding.tablet in keys else ():
            lines.append(f'{binding.site}/{form}/{binding.mac} Netguard-Psk := "yes"')
            sent = form_values(form, site.ssid, keys[binding.tablet])
            items = [f"\t{name} += {_value(name, raw)}" for name, raw in sent]
            lines += [",\n".join(items)]
    return "\n".join([*lines, ""])


def _value(name: str, raw: bytes) -> str:
    """Write a value of users(5): bytes where it is no text, else text of which nothing is expanded."""
    if name == "Ruckus-DPSK":
        return f"0x{raw.hex()}"
    text = raw.decode("ascii")
    if _FORBIDDEN & set(text):
        # Never with the text, it is the secret.
        raise BadValue("bad-text", f"{name}: a key with one of {_SHOWN} cannot be written")
    return f'"{text}"'


def areas(plan: Plan) -> str:
    """Return the `areas` file: which area an AP is in, and which groups an area is closed to.

    Keys: SITE/AP with the AP percent-encoded (a BSSID pattern keeps its star), and SITE/AREA/GROUP
    for a closed area.
    """
    lines = ["# Made by netguard apply. Which area an AP is in; which group an area is closed to."]
    for site in plan.sites:
        known: dict[str, str] = {}
        for area in site.areas:
            for ap in area.aps:
                known.setdefault(ap, area.name)
            lines += [
                f'{site.name}/{area.name}/{group} Netguard-Closed := "yes"'
                for group in area.closed_to
            ]
        lines += [
            f'{site.name}/{_ap_key(ap)} Netguard-Area := "{area}"'
            for ap, area in sorted(known.items())
        ]
    return "\n".join([*lines, ""])


def _ap_key(ap: str) -> str:
    """Percent-encode an AP as the policy does before it looks it up; a pattern keeps its star."""
    star = "*" if ap.endswith("*") else ""
    encoded = (chr(b) if b in _UNRESERVED else f"%{b:02X}" for b in ap.removesuffix("*").encode())
    return "".join(encoded) + star


def lent(plan: Plan) -> str:
    """Return the `lent` file for servers of other networks: each MAC, and the tablets' own networks."""
    networks = sorted({_plain(site.ssid) for site in plan.sites})
    words = ", ".join(['Netguard-Lent := "yes"', *(f'Netguard-Network += "{n}"' for n in networks)])
    macs = {binding.mac for binding in plan.bindings} | {refusal.mac for refusal in plan.refusals}
    head = "# Made by netguard apply. The tablets, which belong on their own networks only.\n"
    return head + "".join(f"{mac} {words}\n" for mac in sorted(macs))


def clients(plan: Plan, secrets: str) -> str:
    """Return `clients.conf`; `secrets` is the folder of the snippets with each client's secret."""
    blocks = [
        _client(nas.name, [*_nas(nas, secrets), *_form(nas.form), *_site(site)])
        for site in plan.sites
        for nas in site.nas
    ]
    for number, site in enumerate(plan.sites):
        # The appliance asks itself, as a NAS of each site: the proof after a reload.
        name = self_name(site.name)
        items = [
            f"\tipaddr = {self_address(number)}",
            f"\tshortname = {name}",
            "\trequire_message_authenticator = yes",
            "\t$INCLUDE ${netguard_data}/self.conf",
            # All forms are in one file: the first one shows that it is loaded.
            *_form(next(iter(site.forms), None)),
            *_site(site),
        ]
        blocks.append(_client(name, items))
    return "# Made by netguard apply. The secrets are in the included files.\n" + "".join(blocks)


def self_name(site: str) -> str:
    """Return the name under which the appliance asks itself as a NAS of a site."""
    return f"{SELF}{site}"


def self_address(number: int) -> str:
    """Return the loopback address from which it asks for the n-th site of the plan."""
    return f"127.0.77.{number + 1}"


def _client(name: str, items: Iterable[str]) -> str:
    return "\n".join([f"client {name} {{", *items, "}", ""])


def _nas(nas: Nas, secrets: str) -> Iterator[str]:
    family = "ipaddr" if nas.address.version == 4 else "ipv6addr"
    single = nas.address.prefixlen == nas.address.max_prefixlen
    yield f"\t{family} = {nas.address.network_address if single else nas.address}"
    yield f"\tshortname = {nas.name}"
    # 'auto' does not exist here: it is decided by the first packet and forgotten at a restart.
    required = "yes" if nas.message_authenticator == "required" else "no"
    yield f"\trequire_message_authenticator = {required}"
    # CVE-2024-3596. From 3.2.5 on; a NAS that can never sign may be one that proxies for its APs.
    yield f"\tlimit_proxy_state = {'no' if nas.message_authenticator == 'never' else 'yes'}"
    yield f"\t$INCLUDE {_plain(secrets)}/{nas.secret_file}.conf"


def _form(form: Form | None) -> list[str]:
    return [f"\tnetguard_psk = {form}"] if form is not None else []


def _site(site: SitePlan) -> Iterator[str]:
    yield f"\tnetguard_site = {site.name}"
    bssids = _bssids(site)
    if bssids:
        yield f"\tnetguard_bssids = {bssids}"
    if site.enrolment_vlan is not None:
        yield f"\tnetguard_enrolment = {site.enrolment_vlan}"
    if site.refuse_other_networks:
        yield f'\tnetguard_ssid = "{_plain(site.ssid)}"'


def _is_mac(ap: str) -> bool:
    try:
        Mac.parse(ap)
    except BadValue:
        return False
    return True


def _plain(text: str) -> str:
    if _FORBIDDEN & set(text):
        raise BadValue("bad-text", f"{text!r} cannot be written into a FreeRADIUS file")
    return text
