"""The folder as one policy: bounds, protection, and no meaning in any order."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st


def test_a_folder_becomes_one_policy(rules):
    policy = rules.policy
    assert policy.organisation == "chu-example"
    assert sorted(policy.services) == ["jitsi", "time"]
    assert [str(n) for n in policy.protected["pacs"].networks] == ["10.10.0.0/16"]
    assert [str(d) for d in policy.never.domains] == ["*.chu.internal"]
    assert (
        str(policy.where("protected", "pacs", "networks", "10.10.0.0/16")) == "protected.yaml:2:21"
    )
    assert [mac.text for mac in policy.never.macs] == ["f0:e5:c3:00:00:01"]


@pytest.mark.parametrize(
    ("learned", "parts"),
    [
        ("{ttl-floor: 2h}", ["bad-duration netguard.yaml:6:", "longer than ttl-ceiling"]),
        ("{ttl-floor: 500ms}", ["bad-duration", "below a second"]),
        ("{ttl-ceiling: 30s}", ["bad-duration", "longer than ttl-ceiling"]),
        ("{addresses-per-service: 65536}", ["bad-number", "out of range, 1 to 65535"]),
    ],
)
def test_what_is_learned_has_bounds(rules, learned, parts):
    rules.add("netguard.yaml", f"learned: {learned}\n")
    rules.says(*parts)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("never: {vlans: [200]}\n", "no 'protected:' here; it is mandatory"),
        ("protected:\n", "no 'protected:' here; it is mandatory"),
        ("protected: {}\n", "no protected networks; name the clinical networks"),
        ("protected: {pacs: {networks: [], owner: x}}\n", "'pacs' lists no network"),
    ],
)
def test_protected_networks_are_mandatory(rules, text, said):
    rules.write("protected.yaml", text)
    rules.says("error protected-missing protected.yaml:1:", said)


def test_the_file_of_protected_networks_is_mandatory(rules):
    rules.remove("protected.yaml")
    rules.says("error protected-missing protected.yaml:0", "file is missing; it is mandatory")


def shuffled(text: bytes, order: random.Random) -> bytes:
    """Shuffle the rows of a table below its header."""
    head, *rows = text.decode().splitlines()
    order.shuffle(rows)
    return "\n".join([head, *rows, ""]).encode()


def turned(text: bytes, order: random.Random) -> bytes:
    """Shuffle the blocks below the first key: groups, services, networks."""
    top, *lines = text.decode().splitlines()
    blocks: list[list[str]] = []
    for line in lines:
        if not line.startswith("   "):
            blocks.append([])
        blocks[-1].append(line)
    order.shuffle(blocks)
    return "\n".join([top, *(line for block in blocks for line in block), ""]).encode()


@given(st.randoms(use_true_random=False))
def test_no_order_of_lines_or_files_changes_the_policy(new_rules, order):
    plain, mixed = new_rules(), new_rules()
    names = list(mixed.files)
    order.shuffle(names)
    mixed.files = {name: mixed.files[name] for name in names}
    for name in ("tablets.csv", "allotted.csv"):
        mixed.files[name] = shuffled(mixed.files[name], order)
    for name in ("sites.yaml", "groups.yaml", "tests/cases.yaml"):
        mixed.files[name] = turned(mixed.files[name], order)
    mixed.files["services/all.yaml"] = mixed.files.pop("services/jitsi.yaml")
    assert mixed.policy == plain.policy


def test_a_session_of_less_than_five_minutes_would_be_asked_for_all_the_time(rules):
    rules.add("netguard.yaml", "defaults: {session-timeout: 4m}\n")
    rules.says("bad-duration netguard.yaml:6", "session-timeout is below 5m")
