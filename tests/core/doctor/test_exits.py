"""What is tried of each service: bounded, and only what can answer."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

from netguard.core.doctor import exits
from netguard.core.plan import compile_plan


def test_the_example_is_tried_within_bounds(example):
    wishes = exits.wishes(compile_plan(example, ["pellegrin"]))
    assert {wish.service for wish in wishes} >= {"zoom", "jitsi", "whatsapp"}
    assert "time" not in {wish.service for wish in wishes}, "that one is on the appliance"
    found = {
        name: [ip_address(f"192.0.2.{number}"), ip_address("192.0.2.250")]
        for number, name in enumerate(n for w in wishes for n in (*w.names, *w.guesses))
    }
    tries = exits.tries(wishes, found)
    assert len(tries) <= exits.TRIES
    assert {each.service for each in tries} == {
        w.service for w in wishes if w.names or w.hosts or w.guesses
    }
    for wish in wishes:
        of = [each for each in tries if each.service == wish.service]
        assert len({each.target for each in of}) <= 2 * exits.TARGETS
        assert {each.port for each in of if each.protocol == "tcp"} <= set(wish.tcp)
        assert {each.port for each in of if each.protocol == "udp"} <= {exits.STUN_PORT}


def test_wildcards_are_tried_at_www_and_hosts_by_their_address(example):
    wishes = {wish.service: wish for wish in exits.wishes(compile_plan(example, ["pellegrin"]))}
    whatsapp = wishes["whatsapp"]
    assert whatsapp.names == ("wa.me",)
    assert whatsapp.guesses == ("www.whatsapp.com", "www.whatsapp.net")
    assert wishes["jitsi"].stun
    assert "udp/10000" in wishes["jitsi"].unprovable


def test_a_name_without_an_address_is_not_tried(example):
    wishes = exits.wishes(compile_plan(example, ["pellegrin"]))
    only_hosts = exits.tries(wishes, {})
    assert all(each.target == str(each.address) for each in only_hosts)


def test_turns_give_every_service_its_first_try():
    wishes = [
        exits.Wish(f"s{n}", (f"n{n}",), (), (), (443, 80, 5222), False, ()) for n in range(40)
    ]
    found = {f"n{n}": [ip_address("192.0.2.1")] for n in range(40)}
    tries = exits.tries(wishes, found)
    assert len(tries) == exits.TRIES
    assert {each.service for each in tries} == {f"s{n}" for n in range(40)}
    assert exits.tries([], {}) == []


def test_what_has_only_networks_names_them_as_not_provable(example):
    (service,) = [s for s in compile_plan(example, ["pellegrin"]).services if s.name == "zoom"]
    bare = replace(service, domains=(), networks=(ip_network("198.51.100.0/24"),))
    plan = replace(compile_plan(example, ["pellegrin"]), services=(bare,))
    (wish,) = exits.wishes(plan)
    assert (wish.names, wish.guesses, wish.hosts) == ((), (), ())
    assert any("198.51.100.0/24 (which hosts it has is not known)" in w for w in wish.unprovable)
    assert exits.tries([wish], {}) == []
