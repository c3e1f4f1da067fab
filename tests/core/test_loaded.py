"""What the walk of a listed ruleset makes of questions and statements that few rulesets have.

That it agrees with a real kernel on the others is shown by tests/kernel/test_walk.py.
"""

from ipaddress import ip_address

import pytest

from netguard.core import regions
from netguard.core.loaded import listing
from netguard.core.loaded.packets import Sender
from netguard.core.loaded.walk import Walker
from netguard.core.verdict import ESTABLISHED, INVALID, NEW

WHERE = {"family": "inet", "table": "t"}
TARGET, OTHER = ip_address("8.8.8.8"), ip_address("9.9.9.9")
IPV6 = ip_address("2001:db8::1")
ACCEPT, DROP = {"accept": None}, {"drop": None}


def match(left, right, op="=="):
    return {"match": {"op": op, "left": left, "right": right}}


def payload(protocol, field):
    return {"payload": {"protocol": protocol, "field": field}}


MARK, CT_MARK, DADDR = {"meta": {"key": "mark"}}, {"ct": {"key": "mark"}}, payload("ip", "daddr")


def rows(*rules, hook="forward", priority=0, kind="filter", policy="drop", more=()):
    chain = {**WHERE, "name": "c", "type": kind, "hook": hook, "prio": priority, "policy": policy}
    listed = [
        {"rule": {**WHERE, "chain": "c", "handle": n, "expr": list(r)}}
        for n, r in enumerate(rules, 1)
    ]
    return [
        {"table": {"family": "inet", "name": "t", "handle": 1}},
        *more,
        {"chain": chain},
        *listed,
    ]


def set_of(name, elements, kind="set", **more):
    return {kind: {**WHERE, "name": name, "type": "x", "elem": elements, **more}}


def walk(listed, state=NEW, ct_mark=0, source="10.0.0.1", learned=None):
    walker = Walker(listing.read(listed), learned or {}, "t")
    return walker, walker.passing(
        Sender("tab0", "02:00:00:00:00:01", ip_address(source), state, ct_mark)
    )


def passes(found, target=TARGET, protocol="tcp", port=443):
    return any(regions.holds(at.sent, target, protocol, port) for at in found)


def test_a_dormant_table_does_nothing_and_one_with_unknown_flags_is_named():
    listed = rows([ACCEPT], policy="accept")
    listed[0]["table"]["flags"] = "dormant"
    walker, found = walk(listed)
    assert not walker.strange
    assert passes(found), "no chain is left that could drop"
    listed[0]["table"]["flags"] = ["owner"]
    assert not walk(listed)[0].strange
    listed[0]["table"]["flags"] = "t"
    assert "the flags of table inet t" in walk(listed)[0].strange


def test_what_decides_about_packets_and_is_not_known_is_named():
    walker, _ = walk([*rows([ACCEPT]), {"synproxy": {**WHERE, "name": "s"}}])
    assert list(walker.strange) == ["synproxy s in table t"]


def test_a_bridge_with_a_hook_is_named_since_it_may_pass_packets_by_our_table():
    bridge = {"family": "bridge", "table": "b", "name": "c"}
    table = {"table": {"family": "bridge", "name": "b", "handle": 2}}
    hooked = {"chain": {**bridge, "type": "filter", "hook": "forward", "prio": 0}}
    assert list(walk([*rows([DROP]), table, hooked])[0].strange) == ["bridge table b, chain c"]
    assert not walk([*rows([DROP]), table, {"chain": bridge}])[0].strange


def test_an_element_is_what_it_holds_however_long_it_lasts():
    asked = match({"concat": [DADDR, payload("tcp", "dport")]}, "@s")
    lasting = {"elem": {"val": {"concat": [str(TARGET), 443]}, "timeout": 60, "expires": 5}}
    held = set_of("s", [lasting, {"concat": [str(OTHER), {"range": [80, 90]}]}])
    _, found = walk(rows([asked, ACCEPT], more=[held]))
    assert passes(found)
    assert passes(found, OTHER, port=85)
    assert not passes(found, port=80)
    assert not passes(found, OTHER)


@pytest.mark.parametrize(
    "question",
    [
        match(payload("tcp", "dport"), "https"),
        match(payload("tcp", "dport"), 70000),
        match(payload("tcp", "dport"), "x", op="<"),
        match(payload("ether", "saddr"), {"&": ["x", "y"]}),
        match({"&": [DADDR, "255.0.0.0"]}, "8.0.0.0"),
        match({"&": [payload("ip", "saddr"), 255]}, 1),
        match({"numgen": {"mode": "random", "mod": 2}}, 0),
        match({"payload": {"base": "nh", "offset": 128, "len": 8}}, 10),
        match("word", 1),
        match(DADDR, "@bad"),
    ],
)
def test_both_answers_of_a_question_that_is_not_understood_are_doubted(question):
    bad = set_of("bad", [{"odd": 1}])
    _, found = walk(rows([question, ACCEPT], [DROP], more=[bad]))
    assert passes(found)
    assert all(at.doubts for at in found)
    _, found = walk(rows([question, DROP], [ACCEPT], more=[bad]))
    assert passes(found)
    assert all(at.doubts for at in found)


@pytest.mark.parametrize(
    "statement",
    [
        {"xt": None},
        {"queue": {"num": 1}},
        {"mangle": {"key": payload("ip", "saddr"), "value": "1.2.3.4"}},
        {"mangle": {"key": payload("ip", "daddr"), "value": "word"}},
        {"mangle": {"key": {"meta": {"key": "pkttype"}}, "value": "host"}},
        {"dnat": {"addr": {"map": {"key": DADDR, "data": "@m"}}}},
        {"vmap": {"key": {"numgen": {}}, "data": {"set": [[0, DROP]]}}},
    ],
)
def test_a_statement_that_is_not_understood_is_named(statement):
    walker, _ = walk(rows([statement, DROP], [ACCEPT]))
    assert [each for each in walker.strange if each.startswith("inet t c #1: ")]


def test_a_chain_that_jumps_to_itself_is_no_ruleset():
    with pytest.raises(ValueError, match="jumps without end"):
        walk(rows([{"jump": {"target": "c"}}]))


def test_an_element_for_all_others_comes_last():
    verdicts = {"set": [["*", ACCEPT], [str(TARGET), DROP]]}
    _, found = walk(rows([{"vmap": {"key": DADDR, "data": verdicts}}]))
    assert not passes(found)
    assert passes(found, OTHER)
    ports = set_of("all", ["*"])
    for field in (payload("tcp", "dport"), {"meta": {"key": "l4proto"}}, DADDR):
        _, found = walk(rows([match(field, "@all"), ACCEPT], more=[ports]))
        assert passes(found)


def test_a_map_without_a_word_for_the_sender_ends_the_rule():
    marks = set_of("m", [["02:00:00:00:00:09", 5]], "map", map="mark")
    lookup = {"map": {"key": payload("ether", "saddr"), "data": "@m"}}
    _, found = walk(rows([{"mangle": {"key": MARK, "value": lookup}}, ACCEPT], more=[marks]))
    assert not found
    by_six = {"map": {"key": payload("ip6", "saddr"), "data": {"set": [["::1", 5]]}}}
    assert not walk(rows([{"mangle": {"key": MARK, "value": by_six}}, ACCEPT]))[1]


@pytest.mark.parametrize(
    "value",
    [
        {"map": {"key": DADDR, "data": {"set": [["8.8.8.8", 1]]}}},
        {"|": [{"rt": {"key": "mtu"}}, 1]},
        {"rt": {"key": "mtu"}},
        "word",
    ],
)
def test_a_mark_that_hangs_on_what_nobody_follows_may_be_any(value):
    for wanted in (1, 77):
        listed = rows([{"mangle": {"key": MARK, "value": value}}], [match(MARK, wanted), ACCEPT])
        assert passes(walk(listed)[1])
    listed = rows(
        [{"mangle": {"key": MARK, "value": value}}], [match({"&": [MARK, 4]}, 4), DROP], [ACCEPT]
    )
    assert passes(walk(listed)[1])


def test_two_elements_of_a_map_that_match_give_no_sure_mark():
    words = {"set": [["tab0", 1], ["tab*", 2]]}
    lookup = {"map": {"key": {"meta": {"key": "iifname"}}, "data": words}}
    listed = rows([{"mangle": {"key": MARK, "value": lookup}}], [match(MARK, 7), ACCEPT])
    assert passes(walk(listed)[1])


def test_without_a_connection_only_its_state_is_asked():
    listed = rows(
        [match(CT_MARK, 0, "!="), DROP], [match({"ct": {"key": "state"}}, "invalid", "in"), ACCEPT]
    )
    assert passes(walk(listed, INVALID)[1])
    listed = rows([match(CT_MARK, 0), ACCEPT])
    assert not walk(listed, INVALID)[1]
    raw = rows([match(CT_MARK, 0), DROP], [ACCEPT], hook="prerouting", priority=-300)
    assert passes(walk(raw, ESTABLISHED, None)[1]), "before tracking nobody has a mark"


def test_the_other_family_has_no_such_field():
    listed = rows([match(DADDR, str(TARGET), "!="), ACCEPT])
    assert not passes(walk(listed, source="2001:db8::2")[1], IPV6)
    listed = rows([{"mangle": {"key": payload("ip", "dscp"), "value": 8}}, DROP], [ACCEPT])
    assert passes(walk(listed, source="2001:db8::2")[1], IPV6)
    listed = rows([match({"meta": {"key": "protocol"}}, "ip6"), ACCEPT])
    assert passes(walk(listed, source="2001:db8::2")[1], IPV6)
    assert not walk(listed)[1]


def test_a_learned_set_beside_another_field_may_match_and_not():
    learned = {"s": regions.of_addresses([TARGET])}
    both = {"concat": [DADDR, payload("ip", "saddr")]}
    empty = set_of("s", [])
    assert passes(walk(rows([match(both, "@s"), ACCEPT], more=[empty]), learned=learned)[1])
    assert passes(walk(rows([match(both, "@s"), DROP], [ACCEPT], more=[empty]), learned=learned)[1])
    source = match(payload("ip", "saddr"), "@s")
    assert passes(walk(rows([source, ACCEPT], more=[empty]), learned=learned)[1])


def test_a_set_that_packets_fill_is_doubted():
    filled = set_of("f", [])
    fill = {"set": {"op": "add", "elem": DADDR, "set": "@f"}}
    _, found = walk(rows([fill], [match(DADDR, "@f"), ACCEPT], more=[filled]))
    assert passes(found)
    assert all("filled by packets" in at.doubts[0] for at in found)


def test_a_full_set_ends_the_rule():
    """So what stands behind it may not happen."""
    fill = {"set": {"op": "add", "elem": payload("ip", "saddr"), "set": "@f"}}
    assert passes(walk(rows([fill, DROP], [ACCEPT], more=[set_of("f", [])]))[1])


def test_a_destination_is_changed_of_its_family_and_protocol_alone():
    to = {"dnat": {"family": "ip6", "addr": "2001:db8::9"}}
    listed = rows([to, DROP], policy="accept", kind="nat", hook="prerouting", priority=-100)
    assert not walk(listed)[1], "the rest of the rule is for this family"
    to = {"dnat": {"addr": "9.9.9.9", "port": 80}}
    listed = rows(
        [match(DADDR, str(TARGET)), to],
        policy="accept",
        kind="nat",
        hook="prerouting",
        priority=-100,
    )
    _, found = walk(listed)
    moved = [at for at in found if at.origin is not None]
    assert passes(moved)
    assert all(regions.holds(at.region, OTHER, "tcp", 80) for at in moved)
    assert not any(regions.holds(at.region, TARGET, "tcp", 443) for at in moved)
    # Of an open connection the kernel knows where it goes; no chain of NAT sees it, and it may be anywhere.
    _, found = walk(listed, ESTABLISHED, None)
    assert passes(found, OTHER)
    assert passes(found)


def test_a_packet_is_told_as_it_was_sent_whichever_of_its_sides_was_changed():
    listed = rows(
        [{"mangle": {"key": DADDR, "value": str(OTHER)}}],
        [match(payload("tcp", "dport"), 80), ACCEPT],
    )
    _, found = walk(listed)
    assert passes(found, port=80)
    assert not passes(found), "its port stayed what it was"
    listed = rows(
        [{"mangle": {"key": payload("tcp", "dport"), "value": 80}}],
        [match(DADDR, str(OTHER)), ACCEPT],
    )
    _, found = walk(listed)
    assert passes(found, OTHER)
    assert not passes(found), "its address stayed what it was"


def test_a_jump_comes_back_and_a_goto_does_not():
    more = [
        {"chain": {**WHERE, "name": "d"}},
        {"rule": {**WHERE, "chain": "d", "handle": 9, "expr": [match(DADDR, str(OTHER)), ACCEPT]}},
    ]
    _, found = walk(rows([{"jump": {"target": "d"}}], [ACCEPT], more=more))
    assert passes(found, OTHER)
    assert passes(found)
    _, found = walk(rows([{"goto": {"target": "d"}}], [ACCEPT], more=more))
    assert passes(found, OTHER)
    assert not passes(found), "behind a goto comes the policy"


@pytest.mark.parametrize(("sign", "operand", "mark"), [("|", 2, 7), ("&", 4, 4), ("^", 1, 4)])
def test_marks_are_reckoned_as_the_kernel_does(sign, operand, mark):
    begin = [{"mangle": {"key": MARK, "value": 5}}]
    change = [{"mangle": {"key": MARK, "value": {sign: [MARK, operand]}}}]
    assert passes(walk(rows(begin, change, [match(MARK, mark), ACCEPT]))[1])
    assert not walk(rows(begin, change, [match(MARK, 5), ACCEPT]))[1]
    bit = mark & -mark
    for wanted, passed in ((bit, True), (0, False)):
        asked = match({"&": [MARK, bit]}, wanted)
        assert passes(walk(rows(begin, change, [asked, ACCEPT]))[1]) == passed


@pytest.mark.parametrize(
    ("sign", "inside", "outside"),
    [("<", 1023, 1024), ("<=", 1024, 1025), (">", 1025, 1024), (">=", 1024, 1023)],
)
def test_ports_are_compared_as_numbers(sign, inside, outside):
    for protocol in ("tcp", "th"):
        asked = match(payload(protocol, "dport"), 1024, op=sign)
        _, found = walk(rows([asked, ACCEPT]))
        assert passes(found, port=inside)
        assert not passes(found, port=outside)


def test_a_protocol_is_a_word_or_a_number():
    asked = match({"meta": {"key": "l4proto"}}, {"set": ["tcp", 17]})
    _, found = walk(rows([asked, ACCEPT]))
    assert passes(found)
    assert passes(found, protocol="udp")
    assert not passes(found, protocol="icmp", port=0)


def test_a_map_of_the_other_family_decides_about_nothing():
    vmap = {"vmap": {"key": payload("ip6", "daddr"), "data": {"set": [[str(IPV6), ACCEPT]]}}}
    assert not walk(rows([vmap]))[1]
    assert passes(walk(rows([vmap], [ACCEPT]))[1])
    assert passes(walk(rows([vmap]), source="2001:db8::2")[1], IPV6)
    assert not passes(walk(rows([vmap], [ACCEPT]), source="2001:db8::2")[1])


def test_what_a_set_learned_counts_beside_what_it_holds():
    learned = {"s": regions.of_addresses([TARGET])}
    held = set_of("s", [str(OTHER)])
    _, found = walk(rows([match(DADDR, "@s"), ACCEPT], more=[held]), learned=learned)
    assert passes(found)
    assert passes(found, OTHER)
    assert not passes(found, ip_address("1.1.1.1"))


def test_options_and_free_fields_are_there_or_not():
    option = {"mangle": {"key": {"tcp option": {"name": "maxseg", "field": "size"}}, "value": 1400}}
    assert passes(walk(rows([option, DROP], [ACCEPT]))[1])
    for field in (
        payload("vlan", "id"),
        {"rt": {"key": "mtu"}},
        {"fib": {"result": "oif", "flags": ["daddr"]}},
    ):
        assert passes(walk(rows([match(field, 1), DROP], [ACCEPT]))[1])
        assert passes(walk(rows([match(field, 1), ACCEPT]))[1])


def test_the_same_lasting_question_has_one_answer():
    """The source port, say, is not 67 at first and 67 a rule later."""
    asked = match(payload("udp", "sport"), 67)
    _, found = walk(rows([asked, DROP], [asked, ACCEPT]))
    assert not found


def test_behind_the_translation_of_sources_nobody_knows_the_source():
    asked = match(payload("ip", "saddr"), "10.0.0.1")
    early = rows([asked, DROP], [ACCEPT], hook="postrouting", priority=50)
    late = rows([asked, DROP], [ACCEPT], hook="postrouting", priority=150)
    assert not walk(early)[1]
    assert passes(walk(late)[1])


def test_copies_and_forwards_leave_whatever_comes_behind():
    for leak in ({"dup": {"addr": "1.2.3.4"}}, {"fwd": {"dev": "up0"}}):
        listed = rows([leak, DROP], hook="prerouting", priority=-400)
        _, found = walk(listed)
        assert [at.rules for at in found] == [(f"inet t c #1: {next(iter(leak))}",)]


def test_what_a_rule_puts_into_a_flowtable_is_kept():
    walker, _ = walk(rows([{"flow": {"op": "add", "flowtable": "@f"}}, DROP]))
    assert [at.rules for at in walker.offloads] == [("inet t c #1: flow",)]


@pytest.mark.parametrize(
    ("value", "part"),
    [
        (7, (7, 7)),
        ("0x10", (16, 16)),
        ("Established", "established"),
        ("3c:28:6d:aa:01:10", "3c:28:6d:aa:01:10"),
        ("1970-01-01 00:01:00", (60, 60)),
        ("1970-01-01 noon", "1970-01-01 noon"),
        ({"range": [20, 30]}, (20, 30)),
        (
            {"prefix": {"addr": "8.8.8.0", "len": 24}},
            (regions.number_of(ip_address("8.8.8.0")), regions.number_of(ip_address("8.8.8.255"))),
        ),
    ],
)
def test_a_value_is_an_interval_or_a_word(value, part):
    assert listing.part(value) == part


@pytest.mark.parametrize("value", [{"range": ["eth0", "eth9"]}, {"set": [1]}, None])
def test_what_is_neither_an_interval_nor_a_word_is_no_value(value):
    with pytest.raises(ValueError, match="not understood as a value"):
        listing.part(value)
