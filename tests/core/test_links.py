"""A plan's links: which interface, which addresses, and which can be made as a VLAN of its parent."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface

import pytest

from netguard.core.links import links, neighbours
from netguard.core.plan import compile_plan


def test_each_tablet_interface_has_the_gateways_of_its_site(small):
    plan = compile_plan(small(), ["pellegrin", "haut-leveque"])
    found = {link.name: link for link in links(plan)}
    assert found.keys() == {i for site in plan.sites for i in site.interfaces}
    (own,) = plan.site["pellegrin"].interfaces
    assert found[own].addresses == (ip_interface("10.99.0.1/22"),)
    assert (found[own].parent, found[own].vlan) == ("", None)


@pytest.mark.parametrize(
    ("name", "parent", "vlan"),
    [
        ("eth1.640", "eth1", 640),
        ("eth1.1", "eth1", 1),
        ("eth1.4094", "eth1", 4094),
        ("eth1.4095", "", None),
        ("eth1.0", "", None),
        ("eth1.x", "", None),
        ("br.lan", "", None),
        (".640", "", None),
    ],
)
def test_a_name_with_a_number_behind_a_dot_is_a_vlan_of_its_parent(small, name, parent, vlan):
    plan = compile_plan(small(), ["pellegrin"])
    site = replace(plan.sites[0], interfaces=(name,))
    (link,) = links(replace(plan, sites=(site,)))
    assert (link.parent, link.vlan) == (parent, vlan)


def test_a_gateway_goes_with_the_network_of_its_own_family(small):
    plan = compile_plan(small(), ["pellegrin"])
    six = ip_interface("fd00:99::1/64")
    site = plan.sites[0]
    both = replace(site, networks=(*site.networks, six.network), gateways=(*site.gateways, six.ip))
    (link,) = links(replace(plan, sites=(both,)))
    assert set(link.addresses) == {ip_interface("10.99.0.1/22"), six}


@pytest.mark.parametrize(
    ("tablets", "wanted"),
    [(0, (256, 512, 1024)), (150, (512, 1024, 2048)), (10_000, (16_384, 32_768, 65_536))],
)
def test_the_kernel_is_to_know_every_tablet_at_once(small, tablets, wanted):
    plan = compile_plan(small(), ["pellegrin"])
    one = next(b for b in plan.bindings if b.address is not None)
    first = int(ip_address("10.99.0.16"))
    crowd = tuple(replace(one, address=ip_address(first + n)) for n in range(tablets))
    # A tablet of which no address is known has no neighbour to keep.
    crowd += (replace(one, address=None),)
    assert neighbours(replace(plan, bindings=crowd)) == wanted
