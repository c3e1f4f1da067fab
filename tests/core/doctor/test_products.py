"""The table of products: every vendor of the rules, every fault, and what vendors' own documents say."""

import pytest

from netguard.core.doctor import products
from netguard.core.doctor.products import PRODUCTS, Fault
from netguard.rules.schema import VENDORS


def test_every_vendor_of_the_rules_has_an_entry_and_nobody_else():
    assert set(PRODUCTS) == set(VENDORS)


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("fault", Fault)
def test_every_fault_has_a_line_that_names_the_product(vendor, fault):
    line = products.mend(vendor, fault)
    assert line.startswith(f"{PRODUCTS[vendor].name}: ")
    assert "\n" not in line


def test_an_unknown_vendor_is_any_product():
    assert products.mend("acme", Fault.COA) == products.mend("other", Fault.COA)
    assert products.coa_port("acme") == 3799


def test_ports_of_coa_are_those_of_the_vendors():
    # documentation.meraki.com: UDP 1700; RFC 5176 3.1 for the others.
    assert {v for v in VENDORS if products.coa_port(v) != 3799} == {"meraki"}
    assert products.coa_port("meraki") == 1700


def test_a_product_speaks_as_its_vendor_or_not_at_all():
    assert products.fits("meraki", [])
    assert products.fits("meraki", ["Meraki", "Cisco"])
    assert not products.fits("meraki", ["Cisco"])
    assert products.fits("unifi", ["Cisco"]), "what it sends is not known"
    assert set(products._SPEAKS) <= set(VENDORS)
