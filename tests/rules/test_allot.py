"""Addresses are kept for ever, the lowest free one is next, and no order matters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netguard.errors import BadValue
from netguard.rules.allot import allot


def table(rules):
    rules.options["require_addresses"] = False
    return {key: str(address) for key, address in allot(rules.policy).items()}


def test_a_first_table_begins_at_the_sixteenth_address(rules):
    rules.remove("allotted.csv")
    assert table(rules) == {
        ("pellegrin", "T-001"): "10.99.0.16",
        ("pellegrin", "T-002"): "10.99.0.17",
        ("pellegrin", "T-003"): "10.99.0.18",
        ("pellegrin", "T-004"): "10.99.0.19",
        ("haut-leveque", "T-005"): "10.99.8.16",
    }


def test_a_new_tablet_gets_the_lowest_free_address_and_nobody_else_moves(rules):
    before = table(rules)
    rules.change(
        "tablets.csv", "T-002,", "T-000,64:1b:2f:00:00:09,patients,pellegrin/lobby,,,\nT-002,"
    )
    assert table(rules) == before | {("pellegrin", "T-000"): "10.99.0.20"}


def test_the_address_of_a_tablet_that_is_gone_is_free_again(rules):
    rules.change("tablets.csv", "T-002,64:1b:2f:00:00:02", "T-009,64:1b:2f:00:00:02")
    after = table(rules)
    assert ("pellegrin", "T-002") not in after
    assert after["pellegrin", "T-009"] == "10.99.0.17"


@pytest.mark.parametrize("own", ["10.99.0.17", "10.99.0.16"])
def test_an_own_address_needs_no_row_and_is_given_to_nobody(rules, own):
    rules.change("tablets.csv", "R52A,", f"R52A,{own}")
    after = table(rules)
    assert ("pellegrin", "T-001") not in after
    assert own not in after.values()


def test_an_own_address_elsewhere_does_not_replace_the_row(rules):
    rules.change("tablets.csv", "R52A,", "R52A,10.99.8.77")
    assert table(rules)["pellegrin", "T-001"] == "10.99.0.16"


@pytest.mark.parametrize(
    "wrong", ["10.50.0.1", "10.99.0.0", "10.99.3.255", "10.99.0.1", "10.99.0.18"]
)
def test_a_row_that_cannot_hold_is_replaced(rules, wrong):
    rules.change("allotted.csv", "T-004,10.99.0.19", f"T-004,{wrong}")
    assert table(rules)["pellegrin", "T-004"] == "10.99.0.19"


def test_a_site_whose_hospital_serves_dhcp_has_no_row(rules, site):
    site("ipv6: drop", "ipv6: drop\n    addresses: external\n    dhcp-server: [10.1.1.67]")
    assert set(table(rules)) == {("haut-leveque", "T-005")}


def test_a_full_network_is_told_with_the_first_who_gets_nothing(rules, site):
    rules.remove("allotted.csv")
    site("[10.99.0.0/22]", '["fd00::/64", 10.99.0.0/27]')
    site("[10.99.0.1]", '[10.99.0.17, "fd00::1"]')
    rows = "".join(
        f"N-{n:02},64:1b:2f:00:01:{n:02x},patients,pellegrin/lobby,,,\n" for n in range(12)
    )
    rules.add("tablets.csv", rows)
    with pytest.raises(
        BadValue, match=r"10\.99\.0\.0/27 is full, 2 tablets have no .* T-003: widen"
    ):
        table(rules)


@given(
    st.sets(st.integers(0, 200), max_size=30),
    st.sets(st.integers(0, 200), max_size=30),
    st.randoms(),
)
def test_every_tablet_has_one_address_of_its_own_and_a_second_run_changes_nothing(
    new_rules, before, after, order
):
    rules = new_rules()
    rules.options["allow_empty"] = True
    rules.remove("allotted.csv")

    def inventory(numbers):
        rows = [
            f"T-{n:03},64:1b:2f:00:01:{n:02x},{'patients' if n % 3 else 'visitors'},"
            f"pellegrin/lobby,,,{f'10.99.1.{n}' if n % 7 == 5 else ''}\n"
            for n in sorted(numbers)
        ]
        order.shuffle(rows)
        rules.write("tablets.csv", "id,mac,group,home,model,serial,address\n" + "".join(rows))
        return allot(rules.policy)

    from netguard.rules.inventory import write_allotted

    rules.options["require_addresses"] = False
    first = inventory(before)
    rules.write("allotted.csv", write_allotted(first))
    second = inventory(after)
    rules.write("allotted.csv", write_allotted(second))
    assert inventory(after) == second
    assert len(set(second.values())) == len(second)
    assert all(second[key] == address for key, address in first.items() if key in second)
    rules.options["require_addresses"] = True
    assert not [line for line in rules.said if "allotted" in line or "address" in line]
