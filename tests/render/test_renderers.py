"""Rendered text: same plan, same bytes; only typed words reach it; golden files are reviewed as code."""

import os
import re
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from netguard.core.denials import REASONS
from netguard.core.names import Mac
from netguard.core.plan import Refusal, compile_plan, number_of
from netguard.core.week import Hours
from netguard.errors import BadValue
from netguard.render import (
    dhcp,
    freeradius,
    haproxy,
    names,
    nft_names,
    nft_sets,
    nftables,
    ntp,
    radius_hours,
)

GOLDEN = Path(__file__).parent / "golden"


def strict(plan):
    """The same plan with a video service whose servers' names are checked."""
    services = tuple(replace(s, sni="strict") if s.name == "jitsi" else s for s in plan.services)
    return replace(plan, services=services)


def keyed(plan):
    """The same plan where each controller takes a Wi-Fi key per tablet."""
    sites = tuple(
        replace(s, nas=tuple(replace(n, psk=True) for n in s.nas), quarantine_vlan=641)
        for s in plan.sites
    )
    first = plan.bindings[0]
    refusal = Refusal(first.site, first.mac, "loan/quarantined", 641)
    return replace(plan, sites=sites, refusals=(refusal,))


def with_site(plan, name, **changes):
    """The same plan with something else about a site."""
    return replace(
        plan, sites=tuple(replace(s, **changes) if s.name == name else s for s in plan.sites)
    )


# Not one of anybody's: the golden file is public.
KEYS = {"T-001": "aaaa-cccc-dddd-eeee", "T-002": "a 'b' #c {d} &e @f =g"}


@pytest.fixture
def plan(small):
    return compile_plan(small(), ["pellegrin", "haut-leveque"])


@pytest.mark.parametrize(
    ("name", "render"),
    [
        ("netguard.nft", nftables.render),
        ("tablets", freeradius.tablets),
        ("hours", radius_hours.hours),
        ("clients.conf", lambda plan: freeradius.clients(plan, "/etc/netguard/secrets")),
        ("clients-keyed.conf", lambda plan: freeradius.clients(keyed(plan), "/x")),
        ("tablets-keyed", lambda plan: freeradius.tablets(keyed(plan))),
        ("psk", lambda plan: freeradius.psk(keyed(plan), KEYS)),
        ("dnsmasq.conf", lambda plan: dhcp.configuration(plan, "/var/lib/netguard/dhcp")),
        ("hosts", dhcp.hosts),
        ("chrony.conf", lambda plan: ntp.configuration(plan, "/var/lib/netguard/time")),
        ("dns.json", names.render),
        ("haproxy.cfg", lambda plan: haproxy.configuration(strict(plan), "/var/lib/netguard/sni")),
        ("strict.nft", lambda plan: nftables.render(strict(plan))),
    ],
)
def test_the_small_hospital_renders_as_reviewed(plan, name, render):
    text = render(plan)
    if os.environ.get("NETGUARD_WRITE_GOLDEN"):
        (GOLDEN / name).write_text(text, encoding="utf-8")
    assert text == (GOLDEN / name).read_text(encoding="utf-8")
    assert text == render(plan)


def test_without_a_strict_service_haproxy_listens_to_nobody(plan):
    text = haproxy.configuration(plan, "/x")
    assert [line for line in text.splitlines() if "bind" in line] == [
        "  bind unix@/x/alive.sock mode 600"
    ]
    assert "redirect to :6" not in nftables.render(plan)


def test_protected_is_the_first_rule_of_both_chains_that_see_packets(plan):
    text = nftables.render(plan)
    for chain in ("from_tablet", "forward"):
        rules = text.rsplit(f"chain {chain} {{", 1)[1].split("}", 1)[0].strip().splitlines()
        assert rules[0].strip() == "ip daddr @protected4 goto x_protected"
        assert rules[1].strip() == "ip6 daddr @protected6 goto x_protected"


def test_a_learned_set_is_never_flushed_nor_filled(plan):
    text = nftables.render(plan)
    for name in nftables.learned_sets(plan):
        assert f"set {name} {{" in text
        assert f"flush set inet netguard {name}" not in text
        assert f"add element inet netguard {name}" not in text


def test_what_an_earlier_plan_had_is_removed_last(plan):
    lines = nftables.leftovers(
        plan,
        ["forward", "g_gone", "gs_gone__x"],
        [("set", "bind4"), ("set", "s_gone_dns4"), ("map", "old_map")],
        ["c_protected", "c_gone__x"],
    )
    assert lines == [
        "flush chain inet netguard g_gone",
        "flush chain inet netguard gs_gone__x",
        "delete chain inet netguard g_gone",
        "delete chain inet netguard gs_gone__x",
        "delete map inet netguard old_map",
        "delete set inet netguard s_gone_dns4",
        "delete counter inet netguard c_gone__x",
    ]
    assert nftables.render(plan, lines).endswith("\n".join(lines) + "\n")
    assert nftables.replacement(plan).endswith(nftables.render(plan))


def test_every_rule_of_the_plan_has_a_counter(plan):
    rules = set(nftables.counters(plan).values())
    assert {grant.rule for grant in plan.grants} <= rules
    assert {f"{group.name}/deny" for group in plan.groups} <= rules


def test_a_blocked_table_lets_nothing_through():
    assert "policy drop" in nftables.blocked()
    assert "accept" not in nftables.blocked()


def test_options_of_the_plan_change_the_ruleset(plan):
    deaf = replace(plan, resolver=replace(plan.resolver, intercept_port_53=False))
    assert "redirect" not in nftables.render(deaf)
    assert "redirect" in nftables.render(plan)
    silent = replace(plan, groups=tuple(replace(g, deny="drop") for g in plan.groups))
    assert "reject with icmp" in nftables.render(plan)
    assert "reject with icmp" not in nftables.render(silent)
    routed = replace(plan, sites=tuple(replace(s, masquerade=True) for s in plan.sites))
    assert "masquerade" in nftables.render(routed)
    assert "masquerade" not in nftables.render(plan)


def test_a_table_that_waits_for_its_tablets_is_whole_and_lets_nobody_send(plan):
    whole, waiting = nftables.render(plan), nftables.frame(plan)
    missing = set(whole.splitlines()) - set(waiting.splitlines())
    assert not set(waiting.splitlines()) - set(whole.splitlines())
    assert {line.split()[0] for line in missing} == {"add", "flush"}
    names = {line.split()[4] for line in missing if line.startswith("add ")}
    assert "bind4" in names
    assert names <= set(nft_sets.PER_TABLET)
    assert elements(waiting, "bind4") == []
    assert elements(waiting, "protected4") == nft_sets.elements(plan)["protected4"]
    held = nftables.frame(plan, new=False)
    assert "flush chain inet netguard forward\n" in held, "what is there already is made anew"


def test_nested_protected_networks_are_written_once(small):
    policy = small(
        protected="protected:\n  a: {networks: [10.10.0.0/16, 10.10.3.0/24, fd00:20:0:1::/64, fd00:20::/48], owner: x}\n"
    )
    text = nftables.render(compile_plan(policy, ["pellegrin"]))
    assert "protected4 { 10.10.0.0/16 }" in text
    assert "protected6 { fd00:20::/48 }" in text


def test_no_hostile_word_reaches_freeradius(plan):
    site = replace(plan.sites[0], ssid='x"\n} client evil {', refuse_other_networks=True)
    with pytest.raises(BadValue, match="cannot be written"):
        freeradius.clients(replace(plan, sites=(site,)), "/etc/netguard/secrets")


def test_a_site_that_refuses_other_networks_tells_freeradius_its_ssid(plan):
    sites = tuple(replace(site, refuse_other_networks=True) for site in plan.sites)
    assert 'netguard_ssid = "CHU-TABLETTES"' in freeradius.clients(replace(plan, sites=sites), "/s")


@pytest.mark.parametrize(
    ("aps", "word"),
    [
        (("ap-car-301",), ""),
        (("ap-car-301", "70:3a:0e:00:00:01"), "listed"),
        (("70:3a:0e:00:00:01", "70:3a:0e:*"), "patterns"),
    ],
)
def test_freeradius_looks_for_bssids_only_where_a_site_lists_some(plan, aps, word):
    area = replace(plan.site["pellegrin"].areas[0], aps=aps)
    plan = with_site(plan, "pellegrin", areas=(area,))
    clients, entries = freeradius.clients(plan, "/s"), freeradius.tablets(plan)
    ours = [line for line in entries.splitlines() if line.startswith("pellegrin/")]
    assert ours
    if word:
        assert f"\tnetguard_bssids = {word}\n" in clients
        assert all(f'Netguard-Bssids := "{word}"' in line for line in ours)
    else:
        assert "netguard_bssids" not in clients
        assert not any("Netguard-Bssids" in line for line in ours)


def test_an_area_that_is_closed_to_a_group_is_asked_for_its_tablets_alone(plan):
    area, *others = plan.site["haut-leveque"].areas
    area = replace(area, closed_to=("visitors",))
    plan = with_site(plan, "haut-leveque", areas=(area, *others))
    assert f'haut-leveque/{area.name}/visitors Netguard-Closed := "yes"' in freeradius.areas(plan)
    text = freeradius.tablets(plan)
    asked = 0
    for binding in plan.bindings:
        line = next(
            line for line in text.splitlines() if line.startswith(f"{binding.site}/{binding.mac} ")
        )
        closing = binding.site == "haut-leveque" and binding.group == "visitors"
        assert ('Netguard-Group := "visitors", Netguard-Closing := "yes"' in line) == closing
        assert ("Netguard-Closing" in line) == closing
        asked += closing
    assert asked


def test_a_nas_asks_again_when_the_group_wants_it(plan):
    groups = tuple(
        replace(g, session_timeout=28800) if g.name == "patients" else g for g in plan.groups
    )
    assert "Session-Timeout" not in freeradius.tablets(plan)
    entries = freeradius.tablets(replace(plan, groups=groups)).split("\n\tTunnel-Type")[1:]
    assert any("Session-Timeout = 28800" in entry for entry in entries)
    assert not all("Session-Timeout = 28800" in entry for entry in entries)


def test_a_site_with_a_vlan_to_enrol_in_tells_freeradius(plan):
    enrolling = with_site(plan, "pellegrin", enrolment_vlan=642)
    before, after = (freeradius.clients(p, "/s") for p in (plan, enrolling))
    assert "netguard_enrolment" not in before
    told = [block for block in after.split("client ") if "netguard_enrolment = 642" in block]
    assert told
    assert all("netguard_site = pellegrin" in block for block in told)


def test_a_key_for_ruckus_is_written_as_bytes(plan):
    sites = tuple(
        replace(s, nas=tuple(replace(n, psk=True, vendor="ruckus") for n in s.nas))
        for s in plan.sites
    )
    text = freeradius.psk(replace(plan, sites=sites), KEYS)
    assert re.search(r"\tRuckus-DPSK \+= 0x[0-9a-f]+", text)
    assert not any(key in text for key in KEYS.values())


def test_other_networks_know_every_tablet_and_where_it_belongs(plan):
    lines = freeradius.lent(keyed(plan)).splitlines()[1:]
    assert [line.split(" ", 1)[0] for line in lines] == sorted({str(b.mac) for b in plan.bindings})
    own = 'Netguard-Lent := "yes", Netguard-Network += "CHU-TABLETTES"'
    assert all(line.endswith(f" {own}") for line in lines), "one network of two sites is named once"


def test_no_accept_is_written_without_its_vlan(plan):
    entries = freeradius.tablets(plan).split("pellegrin/")[1:]
    for entry in entries:
        assert ("Tunnel-Private-Group-Id" in entry) == ("Accept" in entry)


def test_a_tablet_in_quarantine_is_accepted_into_its_vlan_only_where_there_is_one(example):
    sites = ["pellegrin", "haut-leveque"]
    loans = {"T-001": "quarantined"}
    plan = compile_plan(example, sites, loans)
    assert {s.name: s.quarantine_vlan for s in plan.sites}["pellegrin"] == 641
    mac = example.tablets["T-001"].mac
    script, text = nftables.render(plan), freeradius.tablets(plan)
    assert f"add element inet netguard lost_mac {{ {mac} }}" in script or str(mac) in script
    entries = dict(re.findall(rf"^(\S+)/{mac} (.*(?:\n\t.*)*)", text, re.MULTILINE))
    assert entries["pellegrin"].startswith(
        'Auth-Type := Accept, Netguard-Rule := "loan/quarantined"'
    )
    assert 'Tunnel-Private-Group-Id = "641"' in entries["pellegrin"]
    assert "640" not in entries["pellegrin"]
    rejected = [e for site, e in entries.items() if plan.site[site].quarantine_vlan is None]
    assert all(entry.startswith("Auth-Type := Reject") for entry in rejected)


def test_a_lost_tablet_is_in_both_of_the_kernels_sets_and_rejected_with_its_state(small):
    policy = small()
    plan = compile_plan(policy, ["pellegrin", "haut-leveque"], {"T-001": "stolen"})
    mac = policy.tablets["T-001"].mac
    address = policy.address_of(policy.tablets["T-001"], policy.sites["pellegrin"])
    script = nftables.render(plan)
    assert f"add element inet netguard lost_mac {{ {mac} }}" in script
    assert f"add element inet netguard lost4 {{ {address}" in script
    text = freeradius.tablets(plan)
    for site in ("pellegrin", "haut-leveque"):
        assert f'{site}/{mac} Auth-Type := Reject, Netguard-Rule := "loan/stolen", ' in text
    assert text.count(str(mac)) == 2
    assert "loan" not in freeradius.tablets(compile_plan(policy, ["pellegrin", "haut-leveque"]))


def test_a_site_with_the_hospitals_dhcp_gets_none_of_ours(plan):
    sites = tuple(replace(site, dhcp=False) for site in plan.sites)
    external = replace(plan, sites=sites)
    assert "dhcp-range" not in dhcp.configuration(external, "/d")
    assert dhcp.hosts(external) == ""


def test_ipv6_networks_are_not_served_yet(small):
    both = small().sites["pellegrin"]
    policy = small()
    sites = {**policy.sites, "pellegrin": replace(both, networks=(*both.networks, _v6()))}
    text = dhcp.configuration(compile_plan(replace(policy, sites=sites), ["pellegrin"]), "/d")
    assert text.count("dhcp-range") == 1


def _v6():
    return ip_network("fd00:99::/64")


def test_an_address_that_no_service_holds_is_refused_before_any_service_is_tried(plan):
    text = nftables.render(plan)
    for group in plan.groups:
        rules = text.rsplit(f"chain g_{group.name} {{", 1)[1].split("}", 1)[0].split("\n")
        assert f"!= @known4 ip daddr != @learned4 goto d_{group.name}" in rules[1]
    assert nft_names.learned_sets_of("jitsi", 6) == ("s_jitsi_dns6", "learned6")
    assert set(nft_names.learned_sets_of("jitsi", 4)) <= set(nftables.learned_sets(plan))


def test_every_refusal_is_counted_for_each_group_and_for_nobody(plan):
    rules = set(nftables.counters(plan).values())
    for reason in REASONS:
        assert {reason, f"patients/{reason}", f"visitors/{reason}"} <= rules
    assert {"ipv6/pellegrin", "ipv6/haut-leveque"} <= rules
    assert len(nftables.counters(plan)) == len(rules), "two counters of one name"


def elements(script, name):
    found = [
        line
        for line in script.splitlines()
        if line.startswith(f"add element inet netguard {name} ")
    ]
    return found[0].split("{ ")[1].removesuffix(" }").split(", ") if found else []


def test_what_depends_on_the_hour_is_compared_with_the_kernels_clock(plan):
    spans = {"patients": ((100, 200), (300, 400)), "visitors": ()}
    text = nftables.render(plan, (), spans)
    marks = {grant.rule: f"{grant.mark:#010x}" for grant in plan.grants}
    granted = elements(text, "grants")
    assert not {marks["patients/jitsi"], marks["visitors/jitsi"]} & set(granted)
    assert elements(text, "open_patients") == ["100-200", "300-400"]
    assert elements(text, "open_visitors") == []
    own = ", ".join(sorted(m for rule, m in marks.items() if rule.startswith("patients/")))
    assert f"ct mark {{ {own} }} meta time @open_patients accept" in text
    numbers = {group.name: f"{group.number:#010x}" for group in plan.groups}
    for name, number in numbers.items():
        line = f"meta mark {number} meta time != @open_{name} goto x_hours"
        assert (line in text) == (name in spans)
    assert elements(text, "bind4") == elements(nftables.render(plan), "bind4")
    assert "goto x_hours" not in nftables.render(plan)
    assert "meta time" not in nftables.render(plan)
    assert "100-200" in nftables.replacement(plan, spans)


def with_grace(plan):
    """The same plan where patients may finish what runs at the end of their hours."""
    hours = replace(Hours.parse("07:00-22:00"), grace=timedelta(minutes=10))
    groups = tuple(replace(g, hours=hours) if g.name == "patients" else g for g in plan.groups)
    return replace(plan, groups=groups)


def test_in_the_grace_of_a_group_nothing_new_begins_and_what_runs_goes_on(plan):
    plan, spans = with_grace(strict(plan)), {"patients": ((1000, 5000),)}
    text = nftables.render(plan, (), spans)
    assert elements(text, "open_patients") == ["1000-5000"]
    assert elements(text, "fresh_patients") == ["1000-4400"]
    late = "meta time != @fresh_patients goto x_hours"
    number = f"{plan.group['patients'].number:#010x}"
    assert f"meta mark {number} {late}" in chain(text, "by_group")
    mark = next(f"{g.mark:#010x}" for g in plan.grants if g.rule == "patients/jitsi")
    (turned,) = [rule for rule in chain(text, "input") if rule.endswith(late)]
    assert f"ct status dnat ct state new ct mark {{ {mark} }}" in turned
    # Without a strict service nothing of theirs is turned to us, and nothing there is refused by the hour.
    plain = nftables.render(replace(plan, services=unnamed(plan)), (), spans)
    assert f"meta mark {number} {late}" in chain(plain, "by_group")
    assert not [rule for rule in chain(plain, "input") if rule.endswith(late)]
    # Nor where it is another group's.
    others = tuple(g for g in plan.grants if g.rule != "patients/jitsi")
    groups = tuple(
        replace(g, services=tuple(s for s in g.services if s != "jitsi"))
        if g.name == "patients" else g
        for g in plan.groups
    )  # fmt: skip
    other = nftables.render(replace(plan, grants=others, groups=groups), (), spans)
    assert [rule for rule in chain(other, "input") if "ct status dnat" in rule]
    assert not [rule for rule in chain(other, "input") if rule.endswith(late)]


def unnamed(plan):
    return tuple(replace(service, sni=None) for service in plan.services)


def chain(script, name):
    """Return the rules of a chain."""
    block = script.rsplit(f"chain {name} {{", 1)[1].split("\n  }", 1)[0]
    return [line.strip() for line in block.splitlines() if line.strip()]


def test_a_group_that_may_reach_nothing_is_closed_at_every_hour(plan):
    plan = replace(
        plan,
        grants=tuple(g for g in plan.grants if g.group != "patients"),
        groups=tuple(replace(g, services=()) if g.name == "patients" else g for g in plan.groups),
    )
    text = nftables.render(plan, (), {"patients": ((1000, 5000),)})
    assert not [rule for rule in chain(text, "forward") if "open_patients" in rule]
    assert chain(text, "g_patients") == ["goto d_patients"]


def test_without_groups_nothing_new_passes(plan):
    nobody = replace(plan, groups=(), grants=(), bindings=())
    assert chain(nftables.render(nobody), "by_group")[-1] == "goto x_no_grant"
    assert not [rule for rule in chain(nftables.render(nobody), "by_group") if "vmap" in rule]


def test_a_strict_service_is_known_by_its_networks_or_by_its_names(plan):
    jitsi = plan.service["jitsi"]
    for change, named, listed in (
        ({"networks": ()}, True, False),
        ({"domains": (), "networks": (_v6(), ip_network("198.51.100.0/24"))}, False, True),
    ):
        other = replace(jitsi, sni="strict", **change)
        services = tuple(other if s.name == "jitsi" else s for s in plan.services)
        rules = chain(nftables.render(replace(plan, services=services)), "intercept")
        turned = [rule for rule in rules if "redirect to :" in rule]
        assert any("ip daddr @s_jitsi_dns4 " in rule for rule in turned) == named
        assert any("ip daddr { 198.51.100.0/24 } " in rule for rule in turned) == listed
        assert not any("fd00:99" in rule for rule in turned), "IPv6 is refused before"


def test_answers_of_the_hospitals_dhcp_are_heard_and_of_nobody_else(plan):
    assert not [rule for rule in chain(nftables.render(plan), "input") if "group 6" in rule]
    server = ip_address("10.1.1.67")
    sites = tuple(replace(s, dhcp=False, dhcp_servers=(server,)) for s in plan.sites)
    first = chain(nftables.render(replace(plan, sites=sites)), "input")[0]
    assert first.startswith("iifname != ")
    assert first.endswith(" ip saddr { 10.1.1.67 } udp sport 67 udp dport 67 log group 6")


def test_the_traffic_class_of_a_group_is_written_on_its_flows_alone(plan):
    groups = tuple(replace(g, dscp="af11") if g.name == "visitors" else g for g in plan.groups)
    text = nftables.render(replace(plan, groups=groups))
    marks = [f"{g.mark:#010x} : af11" for g in plan.grants if g.group == "visitors"]
    assert marks
    for name in ("outwards", "shape"):
        (rule,) = [rule for rule in chain(text, name) if "dscp set ct mark map" in rule]
        assert rule.endswith(f"{{ {', '.join(marks)} }}")
    assert "dscp set ct mark map" not in nftables.render(plan)


def test_openings_of_another_day_are_a_difference(plan):
    today = {"patients": ((100, 200), (300, 400)), "visitors": ((100, 200),)}
    tomorrow = {"patients": ((300, 400), (500, 600)), "visitors": ((100, 200),)}
    assert nftables.difference(plan, plan, tomorrow, today).splitlines() == [
        "delete element inet netguard open_patients { 100-200 }",
        "add element inet netguard open_patients { 500-600 }",
    ]
    assert nftables.difference(plan, plan, tomorrow, {"patients": ((100, 200),)}) is None


def test_a_difference_is_what_a_plan_has_more_or_less(small, plan):
    lost = compile_plan(small(), ["pellegrin", "haut-leveque"], {"T-001": "stolen"})
    script = nftables.difference(plan, lost)
    lines = script.splitlines()
    assert [line.split()[0] for line in lines] == ["add", "add", "delete"], (
        "what narrows comes first"
    )
    assert [line.split()[4] for line in lines] == ["lost4", "lost_mac", "bind4"]
    back = nftables.difference(lost, plan).splitlines()
    assert [line.split()[0] for line in back] == ["delete", "delete", "add"]
    assert nftables.difference(plan, plan) == ""


def test_a_difference_of_rules_is_none(small, plan):
    sites = ["pellegrin", "haut-leveque"]
    other = small(
        services__jitsi="services:\n  jitsi:\n    networks: [198.51.100.0/24]\n    ports: [tcp/444]\n"
        "    evidence: x\n    reviewed: 2026-11-01\n"
    )
    assert nftables.difference(plan, compile_plan(other, sites)) is None
    timed = replace(plan, groups=tuple(replace(g, hours=None) for g in plan.groups))
    assert nftables.difference(plan, timed) is None


def test_a_change_goes_over_what_both_plans_allow_where_neither_allows_less(small, plan):
    sites = ["pellegrin", "haut-leveque"]
    lost = compile_plan(small(), sites, {"T-001": "stolen"})
    assert nftables.steps(plan, plan) == (nftables.render(plan),)
    assert nftables.steps(plan, lost) == (nftables.render(lost),)
    assert nftables.steps(lost, plan, ["# gone"]) == (nftables.render(plan, ["# gone"]),)
    other = compile_plan(small(), sites, {"T-002": "stolen"})
    between, last = nftables.steps(lost, other)
    assert last == nftables.render(other)
    assert len(elements(between, "lost_mac")) == 2
    assert len(elements(between, "bind4")) < len(elements(last, "bind4"))


def test_addresses_of_several_services_lead_to_each_of_them(small):
    policy = small(
        services__more="services:\n  more:\n    networks: [10.60.0.40/31, 10.60.0.44/32]\n"
        "    ports: [udp/9]\n    evidence: x\n    reviewed: 2026-11-01\n",
        groups="groups:\n  patients: {sites: [pellegrin], allow: [jitsi, more]}\n"
        "  visitors: {sites: [haut-leveque], allow: [jitsi]}\n",
    )
    text = nftables.render(compile_plan(policy, ["pellegrin"]))
    assert elements(text, "n_patients") == [
        "10.60.0.40-10.60.0.40 : jump gm_patients__0",
        "10.60.0.41-10.60.0.41 : jump gs_patients__more",
        "10.60.0.44-10.60.0.44 : jump gs_patients__more",
    ]
    assert (
        "chain gm_patients__0 {\n    jump gs_patients__jitsi\n    jump gs_patients__more\n" in text
    )


def test_an_address_that_goes_to_another_tablet_needs_dnsmasq_to_forget_the_old_one(plan):
    full = dhcp.hosts(plan)
    one, other, *rest = plan.bindings
    assert dhcp.taken_over(full, full) == []
    assert dhcp.taken_over("", full) == []
    less = replace(plan, bindings=(other, *rest))
    assert dhcp.taken_over(full, dhcp.hosts(less)) == []
    assert dhcp.taken_over(dhcp.hosts(less), full) == []
    taken = replace(plan, bindings=(replace(other, address=one.address), *rest))
    assert dhcp.taken_over(full, dhcp.hosts(taken)) == [str(one.address)]


def test_whoever_had_the_address_of_a_replaced_device_gives_up_its_lease(plan):
    one, other, *rest = plan.bindings
    new = replace(plan, bindings=(replace(one, mac=Mac.parse("3c:28:6d:00:00:77")), other, *rest))
    held = {str(one.address): one.mac, str(other.address): other.mac}
    first, second, *_ = dhcp.hosts(new, held).splitlines()
    assert first == f"3c:28:6d:00:00:77,{one.mac},{one.address}"
    assert second == f"{other.mac},{other.address}"
    assert dhcp.hosts(plan, held) == dhcp.hosts(plan)
    assert dhcp.taken_over(dhcp.hosts(plan), dhcp.hosts(new, held)) == [str(one.address)]
    assert dhcp.taken_over(dhcp.hosts(new), dhcp.hosts(new, held)) == []
    swapped = {str(one.address): other.mac, str(other.address): one.mac}
    assert dhcp.hosts(plan, swapped) == dhcp.hosts(plan), "each has a reservation of its own"


def test_elements_go_over_what_both_plans_allow_where_a_mixture_would_open_more(example):
    """Lost, and in a group that may do more: a packet that finds the old pair and the new group passes."""
    policy = example
    tablet = policy.tablets["T-001"]
    moved = replace(
        policy, tablets={**policy.tablets, "T-001": replace(tablet, group="family-room")}
    )
    before = compile_plan(policy, ["pellegrin"])
    after = compile_plan(moved, ["pellegrin"], {"T-001": "lost"})
    first, last = nftables.differences(before, after) or ("", "")
    assert "delete element inet netguard bind4" in first
    number = f"{tablet.mac} : {number_of('family-room'):#010x}"
    assert number not in first
    assert number in last
    # What only narrows, and what only widens, is one.
    lost = compile_plan(policy, ["pellegrin"], {"T-001": "lost"})
    assert len(nftables.differences(before, lost) or ()) == 1
    assert len(nftables.differences(lost, before) or ()) == 1
    assert nftables.differences(before, before) == ()


@pytest.mark.parametrize(
    "key", ['say "it" now', "back\\slash", "%{User-Name}", "$HOME is here", "`id`aaaa"]
)
def test_a_key_that_a_file_could_misread_is_not_written(plan, key):
    with pytest.raises(BadValue) as refused:
        freeradius.psk(keyed(plan), {"T-001": key})
    assert refused.value.finding == "bad-text"
    assert key not in str(refused.value)


def test_without_the_rule_nothing_is_said_of_keys(plan):
    assert freeradius.psk(plan, KEYS).count("\n") == 1
    assert plan.digest == replace(plan, sites=tuple(plan.sites)).digest
    assert keyed(plan).digest != plan.digest
