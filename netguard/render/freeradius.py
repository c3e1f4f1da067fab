"""A Plan as the data FreeRADIUS answers from: `tablets` (rlm_files) and `clients.conf`.

Every word is typed before it is written, so that no SSID or name can carry unlang or an expansion
into FreeRADIUS. The secrets are not here: each client includes a snippet that netguard never reads.
Formats: FreeRADIUS 3.2, users(5) and raddb/clients.conf.
"""

from collections.abc import Iterator

from netguard.core.plan import Plan, SitePlan
from netguard.core.policy import Nas
from netguard.errors import BadValue

_FORBIDDEN = frozenset('"\\$%`\n\r')


def tablets(plan: Plan) -> str:
    """Return the `tablets` file: one entry per tablet and site, keyed SITE/MAC.

    An entry without a VLAN is never written; radius_hooks refuses one all the same.
    """
    entries: dict[tuple[str, str], str] = {}
    for binding in plan.bindings:
        site = plan.site[binding.site]
        entries[site.name, str(binding.mac)] = (
            f'Auth-Type := Accept, Netguard-Rule := "{binding.group}/admit"\n'
            "\tTunnel-Type = VLAN,\n"
            "\tTunnel-Medium-Type = IEEE-802,\n"
            f'\tTunnel-Private-Group-Id = "{site.vlan}"\n'
        )
    for refusal in plan.refusals:
        entries[refusal.site, str(refusal.mac)] = (
            f'Auth-Type := Reject, Netguard-Rule := "{refusal.rule}"\n'
        )
    head = "# Made by netguard apply. Who is admitted, and into which VLAN.\n"
    return head + "".join(f"{site}/{mac} {entry}" for (site, mac), entry in sorted(entries.items()))


def clients(plan: Plan, secrets: str) -> str:
    """Return `clients.conf`; `secrets` is the folder of the snippets with each client's secret."""
    blocks = (_client(site, nas, secrets) for site in plan.sites for nas in site.nas)
    return "# Made by netguard apply. The secrets are in the included files.\n" + "".join(blocks)


def _client(site: SitePlan, nas: Nas, secrets: str) -> str:
    return "\n".join([f"client {nas.name} {{", *_items(site, nas, secrets), "}", ""])


def _items(site: SitePlan, nas: Nas, secrets: str) -> Iterator[str]:
    family = "ipaddr" if nas.address.version == 4 else "ipv6addr"
    single = nas.address.prefixlen == nas.address.max_prefixlen
    yield f"\t{family} = {nas.address.network_address if single else nas.address}"
    yield f"\tshortname = {nas.name}"
    # 'auto' does not exist here: it is decided by the first packet and forgotten at a restart.
    required = "yes" if nas.message_authenticator == "required" else "no"
    yield f"\trequire_message_authenticator = {required}"
    yield f"\tnetguard_site = {site.name}"
    if site.refuse_other_networks:
        yield f'\tnetguard_ssid = "{_plain(site.ssid)}"'
    yield f"\t$INCLUDE {_plain(secrets)}/{nas.secret_file}.conf"


def _plain(text: str) -> str:
    if _FORBIDDEN & set(text):
        raise BadValue("bad-text", f"{text!r} cannot be written into a FreeRADIUS file")
    return text
