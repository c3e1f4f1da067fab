"""Sets of addresses agree with the standard library, one network at a time."""

from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from netguard.core.intervals import AddressSet

# Few bits, so that networks meet, nest and repeat often.
networks = st.one_of(
    st.builds(
        lambda bits, length: ip_network((bits << 24, length), strict=False),
        st.integers(0, 255),
        st.integers(0, 12),
    ),
    st.builds(
        lambda bits, length: ip_network((bits << 120, length), strict=False),
        st.integers(0, 255),
        st.integers(0, 12),
    ),
)


@given(st.lists(networks), networks)
def test_a_set_meets_a_network_exactly_when_one_of_its_networks_does(members, network):
    met = AddressSet(members).meeting(network)
    meeting = [n for n in members if n.version == network.version and n.overlaps(network)]
    assert (met is None) == (not meeting)
    assert met is None or met in meeting


@given(st.lists(networks), networks)
def test_a_set_holds_an_address_exactly_when_one_of_its_networks_does(members, network):
    found = AddressSet(members).covering(network.broadcast_address)
    holding = [n for n in members if network.broadcast_address in n]
    assert (found is None) == (not holding)
    assert found is None or found in holding


def test_the_empty_set_holds_nothing():
    assert AddressSet(()).covering(ip_address("10.0.0.1")) is None
    assert AddressSet(()).meeting(ip_network("::/0")) is None
