"""Networks as numbers: the same as ipaddress says, address by address."""

import ipaddress
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from netguard.core.territories import dotted, prefixes, territories

# Sixteen addresses are enough for every way in which networks can lie to each other.
NETWORKS = st.tuples(st.integers(0, 15), st.integers(28, 32)).map(
    lambda pair: ipaddress.ip_network((0x0A000000 + pair[0], pair[1]), strict=False)
)


def addresses(networks):
    return {int(address) for network in networks for address in network}


@given(st.integers(0, 2**32 - 1))
def test_an_address_is_written_as_ipaddress_writes_it(address):
    assert dotted(address) == str(ipaddress.IPv4Address(address))


@given(st.lists(NETWORKS, max_size=6))
def test_prefixes_hold_the_same_addresses_and_none_lies_in_another(networks):
    found = [
        ipaddress.ip_network(text) for text in prefixes([*networks, ipaddress.ip_network("::/0")])
    ]
    assert addresses(found) == addresses(networks)
    assert sum(n.num_addresses for n in found) == len(addresses(networks))
    assert set(found) <= set(networks)


@given(st.dictionaries(st.sampled_from("abc"), st.lists(NETWORKS, max_size=4)))
def test_each_address_has_the_owners_that_have_it(owned):
    apart = {owner: [ipaddress.ip_network(p) for p in prefixes(ns)] for owner, ns in owned.items()}
    found = territories(apart.items())
    for address in range(0x0A000000, 0x0A000010):
        owners = tuple(sorted(o for o, ns in apart.items() if address in addresses(ns)))
        here = [each.owners for each in found if each.first <= address < each.end]
        assert here == ([owners] if owners else [])
    borders = [(each.first, each.end, each.owners) for each in found]
    assert borders == sorted(borders)
    assert all(a[1] < b[0] or a[2] != b[2] for a, b in pairwise(borders))
