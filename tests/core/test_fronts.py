"""Names whose addresses serve others, too, are shown; names of a hospital's own servers are not."""

from netguard.core.fronts import FRONTS, shared
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
