"""lint --fix: what is mended means what was meant, and nothing else is touched."""

import datetime
import ipaddress
import shutil
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netguard.core.plan import compile_plan
from netguard.rules import fixing
from netguard.rules.findings import Finding
from netguard.rules.folder import Folder, read_folder
from netguard.rules.load import Loaded, load

BASE = Path(__file__).parents[1] / "bad" / "base"
JUDGE = partial(load, today=datetime.date(2026, 11, 22))
WHOLE = read_folder(BASE)


def plan_of(folder):
    policy = JUDGE(folder).policy
    return compile_plan(policy, list(policy.sites))


# Words of the folder that are names or keys, each with the file it stands in.
WORDS = [
    ("groups.yaml", "allow"), ("groups.yaml", "sites"), ("groups.yaml", "jitsi"), ("groups.yaml", "hours"),
    ("sites.yaml", "time-zone"), ("sites.yaml", "gateway"), ("sites.yaml", "interfaces"),
    ("sites.yaml", "cisco-9800"), ("sites.yaml", "message-authenticator"), ("sites.yaml", "required"),
    ("protected.yaml", "networks"), ("protected.yaml", "owner"), ("groups.yaml", "pellegrin"),
]  # fmt: skip


@st.composite
def slips(draw):
    """A folder with one word misspelt: a letter lost, doubled, or two that changed places."""
    name, word = draw(st.sampled_from(WORDS))
    at = draw(st.integers(1, len(word) - 2))
    slip = draw(st.sampled_from([
        word[:at] + word[at + 1 :], word[:at] + word[at] * 2 + word[at + 1 :],
        word[:at] + word[at + 1] + word[at] + word[at + 2 :],
    ]))  # fmt: skip
    text = WHOLE.files[name].decode()
    return Folder(
        "rules", {**WHOLE.files, name: text.replace(word, slip, 1).encode()}
    ), slip == word


@settings(max_examples=40, deadline=None)
@given(slips())
def test_a_slip_of_the_hand_is_mended_to_what_was_meant_or_left(slipped):
    folder, same = slipped
    fixed = fixing.fix(folder, JUDGE)
    if fixed.loaded.policy is not None:
        assert plan_of(fixed.folder) == plan_of(WHOLE)
    else:
        assert not same
        assert fixed.folder == folder or fixed.fixes
    assert fixing.fix(fixed.folder, JUDGE).fixes == ()


def test_most_slips_are_mended():
    mended = 0
    for name, word in WORDS:
        text = WHOLE.files[name].decode()
        folder = Folder("", {**WHOLE.files, name: text.replace(word, word[:-1], 1).encode()})
        fixed = fixing.fix(folder, JUDGE)
        mended += fixed.loaded.policy is not None and len(fixed.fixes) == 1
    assert mended >= len(WORDS) - 1


NETWORKS = st.lists(
    st.tuples(st.integers(0x01000000, 0x010000FF), st.integers(24, 32)), min_size=1, max_size=6
)
PORTS = st.lists(
    st.tuples(st.sampled_from(["tcp", "udp"]), st.integers(1, 30), st.integers(0, 8)),
    min_size=1,
    max_size=6,
)
NAMES = st.lists(
    st.sampled_from(["a.example.org", "*.example.org", "*.a.example.org", "b.a.example.org", "example.net"]),
    min_size=1, max_size=5, unique=True,
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(NETWORKS, PORTS, NAMES, st.booleans())
def test_what_is_taken_out_of_a_list_changes_no_meaning(networks, ports, names, block):
    def listed(values):
        values = [f'"{value}"' for value in dict.fromkeys(values)]
        return (
            "".join(f"\n      - {value}" for value in values) if block else f"[{', '.join(values)}]"
        )

    text = (
        "services:\n  more:\n    label: More\n    evidence: x\n    reviewed: 2026-11-20\n"
        f"    networks: {listed(str(ipaddress.ip_network(each, strict=False)) for each in networks)}\n"
        f"    domains: {listed(names)}\n"
        f"    ports: {listed(f'{p}/{a}-{a + more}' if more else f'{p}/{a}' for p, a, more in ports)}\n"
    )
    files = {**WHOLE.files, "services/more.yaml": text.encode()}
    files["groups.yaml"] = files["groups.yaml"].replace(
        b"allow: [jitsi, time]", b"allow: [jitsi, time, more]"
    )
    folder = Folder("", files)
    before = JUDGE(folder)
    assert before.policy is not None
    fixed = fixing.fix(folder, JUDGE)
    left = [finding for finding in fixed.loaded.findings if finding.id == "shadowed"]
    assert all("is already covered by" in finding.text for finding in left)  # names: resolved ahead
    assert compile_plan(fixed.loaded.policy, list(fixed.loaded.policy.sites)) == plan_of(folder)
    found = sum(finding.id == "shadowed" for finding in before.findings)
    assert len(fixed.fixes) == found - len(left)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("groups.yaml", "[jitsi, time]", "[video, time]"),  # nothing is like it
        ("services/jitsi.yaml", "10.60.0.40/32", "10.60.0.40/24"),  # would open 256 addresses
        ("sites.yaml", "10.99.0.0/22", "10.99.0.1/22"),
    ],
)
def test_what_needs_judgement_is_left_to_people(file, old, new):
    text = WHOLE.files[file].decode()
    assert old in text
    folder = Folder("", {**WHOLE.files, file: text.replace(old, new).encode()})
    fixed = fixing.fix(folder, JUDGE)
    assert (fixed.fixes, fixed.folder) == ((), folder)


def test_the_example_hospital_has_nothing_to_mend(tmp_path):
    shutil.copytree(BASE.parents[2] / "rules", tmp_path / "rules")
    folder = read_folder(tmp_path / "rules")
    fixed = fixing.fix(folder, partial(load, today=datetime.date(2026, 11, 22)))
    assert (fixed.fixes, fixed.laid_out) == ((), ())


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        # The mended key would stand there twice.
        ("groups.yaml", "allow: [jitsi, time]", "allow: [jitsi, time]\n    allw: [time]"),
        # The text is not where it was read: an escape, an item that is alone on its line of a list.
        ("groups.yaml", "[jitsi, time]", '["jit\\x73ii", time]'),
        (
            "services/jitsi.yaml",
            "[tcp/443, udp/10000]",
            "[tcp/1-500,\n      tcp/443\n      , udp/10000]",
        ),
    ],
)
def test_what_cannot_be_mended_cleanly_is_left_as_it_is(file, old, new):
    text = WHOLE.files[file].decode()
    assert old in text
    folder = Folder("", {**WHOLE.files, file: text.replace(old, new).encode()})
    fixed = fixing.fix(folder, JUDGE)
    assert fixed.fixes == ()
    assert fixed.loaded.findings


def test_findings_without_a_token_are_no_fixes():
    folder = Folder("", {**WHOLE.files, "empty.yaml": b""})
    places = [("groups.yaml", 0), ("groups.yaml", 1), ("empty.yaml", 1)]
    found = [Finding(file, n, 4, "error", "unknown-ref", "x", instead="y") for file, n in places]
    fixed = fixing.fix(folder, lambda folder: Loaded(None, tuple(found), 1))
    assert fixed.fixes == ()
    assert fixed.folder.files["groups.yaml"] == WHOLE.files["groups.yaml"]


def test_a_file_that_cannot_be_read_keeps_its_layout():
    files = {
        **WHOLE.files,
        "presence.yaml": b"presence: [",
        "groups.yaml": WHOLE.files["groups.yaml"] + b"\n\n",
    }
    fixed = fixing.fix(Folder("", files), JUDGE)
    assert fixed.folder.files["presence.yaml"] == b"presence: ["
    assert fixed.laid_out == ("groups.yaml",)
