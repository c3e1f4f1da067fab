"""The maker of a MAC and the maker of the model."""

import pytest


@pytest.mark.parametrize(
    ("model", "found"),
    [("iPad 6", ["oui-model"]), ("SM-T510", []), ("Unheard Of 1", [])],
)
def test_a_model_of_another_maker_is_told(rules, model, found):
    # 64:1b:2f is Samsung's.
    rules.change("tablets.csv", "SM-T510", model)
    assert [line.split()[1] for line in rules.said] == found


def test_a_mac_of_nobody_tells_nothing(rules):
    rules.change("tablets.csv", "64:1b:2f:00:00:01", "fc:ff:fc:00:00:01")
    assert rules.said == []


def test_makers_wait_until_the_rules_are_right(rules):
    rules.change("tablets.csv", "SM-T510", "iPad 6")
    rules.change("groups.yaml", "07:00", "7:00")
    rules.says("error schedule")
