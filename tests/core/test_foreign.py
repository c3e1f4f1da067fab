"""Which hooks of somebody else matter."""

import pytest

from netguard.core.foreign import concern


@pytest.mark.parametrize(
    ("kind", "hook", "word"),
    [
        ("nat", "postrouting", "rewrite"),
        ("nat", "prerouting", "rewrite"),
        ("filter", "ingress", "before netguard"),
        ("filter", "prerouting", "marks"),
        ("filter", "forward", "drop what the plan allows"),
        ("filter", "input", "DHCP, names and time"),
    ],
)
def test_what_can_change_a_tablets_packet_is_a_concern(kind, hook, word):
    assert word in concern(kind, hook)


@pytest.mark.parametrize(
    ("kind", "hook"),
    [("filter", "output"), ("nat", "output"), ("filter", "postrouting"), ("route", "output")],
)
def test_what_only_sees_the_machines_own_packets_is_none(kind, hook):
    assert concern(kind, hook) == ""
