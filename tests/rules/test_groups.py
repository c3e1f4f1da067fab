"""Groups add and never remove, and a profile only takes."""

from datetime import timedelta

import pytest

from netguard.core.week import wall_clock


def test_a_group_inherits_services_and_what_it_does_not_say_itself(rules):
    rules.add("groups.yaml", "  demo: {extends: patients, allow: []}\n")
    rules.change(
        "groups.yaml", "hours:", "rate: {down: 4Mbit, up: 2Mbit}\n    deny: drop\n    hours:"
    )
    demo = rules.policy.groups["demo"]
    assert demo.allow == ("jitsi", "time")
    assert demo.sites == ("pellegrin",)
    assert (demo.rate.down, demo.deny, str(demo.hours)) == (4_000_000, "drop", "07:00-22:00")
    assert str(rules.policy.where("groups", "demo", "allow", "time")) == "groups.yaml:4:20"


def test_a_group_without_sites_is_admitted_everywhere(rules):
    rules.add("groups.yaml", "  all: {allow: []}\n")
    assert rules.policy.groups["all"].sites == ("haut-leveque", "pellegrin")
    assert rules.policy.groups["all"].deny == "reject"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("  a: {extends: a, allow: []}\n", ["extends itself: a -> a"]),
        ("  a: {extends: patient, allow: []}\n", ["unknown group 'patient', did you mean 'patients'?"]),
        (
            "  a: {extends: b, allow: []}\n  b: {extends: nobody, allow: []}\n",
            ["groups.yaml:10:16", "unknown group 'nobody'"],
        ),
        ("  a: {sites: [mars], allow: []}\n", ["unknown site 'mars', known:"]),
        ("  a: {allow: [zoom]}\n", ["unknown service 'zoom', known:"]),
        ("  a: {allow: [], session-timeout: 4m}\n", ["bad-duration", "below 5m"]),
        (
            "  a: {allow: []}\nprofiles: {crisis: {b: {allow: []}}}\n",
            ["unknown-ref", "unknown group 'b', known: a,"],
        ),
        ("  a: {allow: []}\nprofiles: {crisis: {a: {allow: [zoom]}}}\n", ["unknown service 'zoom'"]),
    ],
)  # fmt: skip
def test_a_group_that_names_what_is_not_there_is_one_error(rules, text, parts):
    rules.add("groups.yaml", text)
    rules.change(
        "tests/cases.yaml",
        "cases:",
        "cases:\n  - {name: x, from: {group: '*'}, to: {protected: '*'}, expect: never}",
    )
    errors = [line for line in rules.said if line.startswith("error")]
    assert len(errors) == 1
    assert all(part in errors[0] for part in parts)


def test_a_loop_is_told_on_each_of_its_lines_and_nowhere_else(rules):
    rules.add(
        "groups.yaml",
        "  a: {extends: b, allow: []}\n  b: {extends: c, allow: []}\n  c: {extends: b, allow: []}\n",
    )
    lines = [line for line in rules.said if "extends itself" in line]
    assert [line.split()[2] for line in lines] == ["groups.yaml:10:16", "groups.yaml:11:16"]


@pytest.mark.parametrize(
    ("profile", "parts"),
    [
        ("{allow: [hidden]}", ["error unverified", "services/unverified/hidden.yaml:1:"]),
        ("{allow: [jitsi]}", ["error profile-widens", "'quiet' does not allow 'jitsi'"]),
        ("{rate: {down: 9Mbit, up: 1Mbit}}", ["profile-widens", "the rate of group 'quiet' is lower"]),
        ("{rate: {down: 1Mbit, up: 9Mbit}}", ["profile-widens", "the rate of group 'quiet' is lower"]),
    ],
)  # fmt: skip
def test_a_profile_never_widens(rules, profile, parts):
    hidden = "services: {hidden: {domains: [a.example], ports: [tcp/443], label: Hidden}}\n"
    rules.write("services/unverified/hidden.yaml", hidden)
    rules.add("groups.yaml", "  quiet: {allow: [], rate: {down: 2Mbit, up: 2Mbit}}\n")
    rules.add("groups.yaml", f"profiles: {{crisis: {{quiet: {profile}}}}}\n")
    rules.add(
        "tests/cases.yaml", "  - {name: q, from: {group: quiet}, expect: only, services: []}\n"
    )
    found = [line for line in rules.said if "profile-widens" in line or "unverified" in line]
    assert any(all(part in line for part in parts) for line in found)
    rules.files["groups.yaml"] = rules.files["groups.yaml"].replace(profile.encode(), b"{}")
    assert rules.said == []


def test_a_profile_may_set_a_rate_where_the_group_has_none(rules):
    rules.add("groups.yaml", "profiles: {crisis: {patients: {rate: {down: 1Mbit, up: 1Mbit}}}}\n")
    assert rules.said == []


def test_a_group_may_not_allow_what_nobody_has_verified(rules):
    hidden = "services: {hidden: {domains: [a.example], ports: [tcp/443], label: Hidden}}\n"
    rules.write("services/unverified/hidden.yaml", hidden)
    rules.change("groups.yaml", "[jitsi, time]", "[jitsi, time, hidden]")
    rules.says("error unverified", "groups.yaml:4:26", "see services/unverified/hidden.yaml:1:")


def test_who_is_told_must_exist_where_receivers_are_written(rules):
    rules.change("groups.yaml", "    hours:", "    notify: desk\n    hours:")
    assert rules.said == []
    rules.write("alerts.yaml", "alerts: {}\nreceivers: {desc: {mail: a@chu.example}}\n")
    assert "unknown receiver 'desk', did you mean 'desc'?" in rules.said[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "{allow: [], grace: 10m}",
            "error unused groups.yaml",
        ),
        ("{allow: [], hours: 07:00-22:00, grace: 90s}", "grace is whole minutes"),
        (
            "{allow: [], hours: 07:00-23:50, grace: 430m}",
            "the hours that begin at 07:00 after a pause of 430m, write at most 429m",
        ),
        (
            "{allow: [], hours: 07:00-22:00, grace: 3d}",
            "reaches into the hours that begin at 07:00",
        ),
        (
            "{allow: [], hours: [10:00-12:00, 14:00-20:00], grace: 2h}",
            "begin at 14:00 after a pause of 120m",
        ),
        (
            "{allow: [], hours: {mon: 10:00-24:00, tue: 01:00-08:00}, grace: 1h}",
            "begin at 01:00 after a pause of 60m",
        ),
    ],
)
def test_a_grace_follows_hours_and_ends_before_the_next_ones(rules, words, said):
    rules.add("groups.yaml", f"  late: {words}\n")
    assert [line for line in rules.said if said in line], rules.said


def test_a_grace_is_inherited_with_or_without_the_hours(rules):
    rules.add("groups.yaml", "  late: {allow: [], hours: 07:00-22:00, grace: 10m}\n")
    rules.add("groups.yaml", "  later: {allow: [], extends: late, hours: 07:00-20:00}\n")
    rules.add("groups.yaml", "  never: {allow: [], extends: late, grace: 0m}\n")
    rules.add(
        "tests/cases.yaml",
        "".join(
            f"  - {{name: {g}, from: {{group: {g}}}, expect: only, services: []}}\n"
            for g in ("late", "later", "never")
        ),
    )
    hours = {name: group.hours for name, group in rules.policy.groups.items()}
    assert [wall_clock(hours[g].lasting[0][1]) for g in ("late", "later", "never")] == [
        "22:10",
        "20:10",
        "22:00",
    ]


def test_hours_are_one_window_several_or_by_days(rules):
    written = {
        "one": "07:00-22:00",
        "two": "[14:00-20:00, 10:00-12:00]",
        "days": '{mon-fri: [10:00-12:00, 14:00-20:00], "sat,sun": 14:00-18:00}',
        "late": "{weekdays: 20:00-24:00, weekend: [00:00-01:00, 20:00-24:00]}",
    }
    rules.add(
        "groups.yaml", "".join(f"  {g}: {{allow: [], hours: {h}}}\n" for g, h in written.items())
    )
    rules.add(
        "groups.yaml",
        "  block:\n    allow: []\n    hours:\n      mon-fri: [10:00-12:00]\n      sat,sun: 14:00-18:00\n",
    )
    rules.add("groups.yaml", "  heir: {allow: [], extends: block, grace: 15m}\n")
    names = [*written, "block", "heir"]
    cases = (
        f"  - {{name: {g}, from: {{group: {g}}}, expect: only, services: []}}\n" for g in names
    )
    rules.add("tests/cases.yaml", "".join(cases))
    assert rules.said == []
    assert {g: str(rules.policy.groups[g].hours) for g in names} == {
        "one": "07:00-22:00",
        "two": "10:00-12:00, 14:00-20:00",
        "days": "mon-fri 10:00-12:00, 14:00-20:00; sat-sun 14:00-18:00",
        "late": "mon-fri 20:00-24:00; sat-sun 00:00-01:00, 20:00-24:00",
        "block": "mon-fri 10:00-12:00; sat-sun 14:00-18:00",
        "heir": "mon-fri 10:00-12:00; sat-sun 14:00-18:00",
    }
    assert rules.policy.groups["heir"].hours.grace == timedelta(minutes=15)


def test_every_fault_of_the_hours_by_days_is_told_at_its_place(rules):
    rules.change("groups.yaml", "07:00-22:00", "{mon-fri: [10:00-12:00, 11:00-13:00], weekend: []}")
    assert [line.split(" ", 3)[2] for line in rules.said] == [
        "groups.yaml:5:36",
        "groups.yaml:5:50",
    ]


def test_how_long_tablets_are_lent_is_inherited_and_a_profile_says_how_long_meanwhile(rules):
    rules.change("groups.yaml", "    hours:", "    loan-length: 14d\n    hours:")
    rules.add("groups.yaml", "  demo: {extends: patients, allow: []}\n")
    rules.add("groups.yaml", "  short: {extends: patients, allow: [], loan-length: 36h}\n")
    rules.add("groups.yaml", "profiles: {crisis: {patients: {loan-length: 60d}, short: {}}}\n")
    policy = rules.policy
    lengths = {name: each.loan_length for name, each in policy.groups.items() if each.loan_length}
    day = timedelta(days=1)
    assert lengths == {"patients": 14 * day, "demo": 14 * day, "short": 1.5 * day}
    crisis = policy.profiles["crisis"].groups
    assert (crisis["patients"].loan_length, crisis["short"].loan_length) == (60 * day, None)
    assert (crisis["patients"].allow, crisis["patients"].rate) == (None, None)


@pytest.mark.parametrize(
    ("own", "length", "parts"),
    [
        ("14d", "13d", ["profile-shortens groups.yaml:10:45", "'patients' last longer, write 14d or more"]),
        ("36h", "1d", ["profile-shortens groups.yaml:10:45", "write 36h or more"]),
        (None, "60d", ["profile-shortens groups.yaml:9:45", "have no end, write loan-length there first"]),
    ],
)  # fmt: skip
def test_a_profile_never_shortens_loans(rules, own, length, parts):
    if own is not None:
        rules.change("groups.yaml", "    hours:", f"    loan-length: {own}\n    hours:")
    rules.add("groups.yaml", f"profiles: {{crisis: {{patients: {{loan-length: {length}}}}}}}\n")
    rules.says("error", *parts)
    rules.change("groups.yaml", f"loan-length: {length}}}", f"loan-length: {own or length}}}")
    if own is not None:
        assert rules.said == []


@pytest.mark.parametrize("length", ["2m", "59m", "367d", "0s"])
def test_a_loan_of_minutes_is_one_of_months_that_was_misspelt(rules, length):
    rules.change("groups.yaml", "    hours:", f"    loan-length: {length}\n    hours:")
    rules.says("error bad-duration groups.yaml:5:18", "from 1h to 366d, and m are minutes")
    rules.change("groups.yaml", f"loan-length: {length}", "loan-length: 14d")
    rules.add("groups.yaml", f"profiles: {{crisis: {{patients: {{loan-length: {length}}}}}}}\n")
    assert "error bad-duration groups.yaml:10:45" in rules.said[0]
    rules.change("groups.yaml", "loan-length: 14d", "loan-length: soon")
    assert "'soon' is not a duration" in rules.said[0]
