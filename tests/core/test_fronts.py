"""Names whose addresses serve others, too, are shown; names of a hospital's own servers are not."""

from dataclasses import replace

from netguard.core.fronts import FRONTS, newly_shared, shared
from netguard.core.names import Ports
from netguard.core.plan import compile_plan


def test_what_the_example_shares_is_named_with_its_source(example):
    found = shared(compile_plan(example, ["pellegrin"]))
    names = {(each.service, each.domain) for each in found}
    assert ("meet", "meetings.googleapis.com") in names
    assert ("whatsapp", "*.whatsapp.net") in names
    assert not {service for service, _ in names} & {"jitsi", "bigbluebutton", "livekit"}
    assert all(each.source.startswith("https://") for each in found)
    assert "also" in str(found[0])


def test_only_granted_services_count(small):
    assert shared(compile_plan(small(), ["pellegrin"])) == ()


def test_the_table_says_each_suffix_once():
    assert len({front.suffix for front in FRONTS}) == len(FRONTS)


def strict(plan, *ports):
    services = tuple(
        replace(s, sni="strict", ports=ports) if s.name == "whatsapp" else s for s in plan.services
    )
    return replace(plan, services=services)


def test_what_is_opened_says_to_whom_and_on_which_ports(example):
    plan = compile_plan(example, ["pellegrin"])
    row = next(each for each in shared(plan) if each.domain == "*.whatsapp.net")
    assert "patients" in row.groups
    assert "tcp/443" in row.ports
    assert f"on {', '.join(row.ports)}: also other Meta services" in str(row)
    closed = strict(plan, Ports("tcp", 443, 443))
    row = next(each for each in shared(closed) if each.domain == "*.whatsapp.net")
    assert row.ports == ()
    assert "nothing else there" in str(row)
    media = strict(plan, Ports("tcp", 443, 443), Ports("udp", 3478, 3478))
    row = next(each for each in shared(media) if each.domain == "*.whatsapp.net")
    assert row.ports == ("udp/3478",)
    assert "TLS by server name only" in str(row)


def test_a_change_shows_what_it_opens_and_nothing_else(example):
    plan = compile_plan(example, ["pellegrin"])
    assert newly_shared(None, plan) == shared(plan)
    assert newly_shared(plan, plan) == ()
    before = strict(plan, Ports("tcp", 443, 443))
    assert {each.service for each in newly_shared(before, plan)} == {"whatsapp"}
