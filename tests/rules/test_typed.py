"""Shapes and words of files: each fault once, at its place, with the words that are legal there."""

import pytest

from netguard.rules.source import parse
from netguard.rules.typed import place


@pytest.mark.parametrize(
    ("file", "old", "new", "parts"),
    [
        ("groups.yaml", "    allow: [jitsi]", "    alow: [jitsi]", ["unknown-key", "mean 'allow'? keys here:"]),
        ("groups.yaml", "    allow: [jitsi]", "    hours: 07:00-22:00", ["missing-key", "key 'allow' is missing"]),
        ("groups.yaml", "groups:", "include: more/groups.yaml\ngroups:", ["no include statement", "'more/groups.yaml'"]),
        ("groups.yaml", "groups:", "include: [a, b]\ngroups:", ["no include statement", "what it names"]),
        ("groups.yaml", "groups:", "colour: red\ngroups:", ["unknown key 'colour', keys here: groups, profiles"]),
        ("groups.yaml", "[jitsi, time]", "jitsi", ["error syntax", "'allow' is a list, write [a, b]"]),
        ("groups.yaml", "[jitsi, time]", "[[jitsi], time]", ["expected one value, not a list"]),
        ("groups.yaml", "07:00-22:00", "[[07:00-22:00]]", ["expected one value, not a list"]),
        ("groups.yaml", "07:00-22:00", "{a: 07:00-22:00}", ["5:13", "'a' is not days of the week, write mon, mon-fri"]),
        ("netguard.yaml", "version: 1", "version: 2", ["'2' is not a word for 'version', write 1"]),
        ("netguard.yaml", "mode: router", "mode: [router]", ["'mode' is one word, write router"]),
        ("netguard.yaml", "mode: router", "defaults: {deny: rejekt}", ["did you mean 'reject'? write one of: reject, drop"]),
        ("netguard.yaml", "mode: router", "defaults: drop", ["'defaults' holds keys and values"]),
        ("netguard.yaml", "mode: router", "resolver2: x", ["did you mean 'resolver'?"]),
        ("sites.yaml", "edge: true}\n  haut", "edge: NO}\n  haut", ["'NO' is neither true nor false, write true or false"]),
        ("tests/cases.yaml", "expect: only", "expect: {by: x, vlam: y}", ["unknown key 'vlam', did you mean 'vlan'?"]),
        ("tests/cases.yaml", "expect: only", "expect: [only]", ["'expect' is one word, write one of: allow"]),
    ],
)  # fmt: skip
def test_a_fault_of_shape_is_told_once_with_what_is_legal(rules, file, old, new, parts):
    rules.change(file, old, new)
    rules.says(f"error {rules.load().findings[0].id} {file}", *parts)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["1:1 no rules in this file; the last good policy stays in force"]),
        ("# nothing\n", ["no rules in this file"]),
        ("- a\n", ["1:1 expected keys at the top (groups, profiles), found a list"]),
        ("word\n", ["1:1 expected keys at the top (groups, profiles), found one value"]),
    ],
)
def test_a_file_without_keys_says_what_it_holds(rules, text, parts):
    rules.write("groups.yaml", text)
    rules.says("error syntax groups.yaml", *parts)


def test_two_misspelt_keys_are_two_faults_and_no_missing_ones(rules):
    rules.change("groups.yaml", "allow: [jitsi, time]", "alow: [jitsi, time]")
    rules.change("groups.yaml", "sites: [haut", "site: [haut")
    assert [line.split()[1] for line in rules.said] == ["unknown-key", "unknown-key"]


def test_what_is_written_twice_is_told_and_the_first_is_judged(rules):
    rules.add("groups.yaml", "  patients: {allow: [zoom]}\n")
    rules.says("duplicate-key groups.yaml:9:3 key 'patients' already written at line 2")


def test_a_place_that_is_not_in_the_tree_is_that_of_what_holds_it():
    root = parse(b"a:\n  b: [x, y]\n  c: {d: e}\n", "f").root
    assert place(root, ("a", "b", 1)) == (2, 10)
    assert place(root, ("a", "b", 9)) == (2, 6)
    assert place(root, ("a", "nothing", "deep")) == (1, 1)
    assert place(root, ("a", "c", "d")) == (3, 10)
    assert place(root, ("a", "c"), key=True) == (3, 3)
    assert place(None, ("a",)) == (1, 1)
