"""A first folder is complete and closed, and check has nothing to say about it."""

import datetime
from pathlib import Path

import pytest

from netguard.errors import UsageError
from netguard.rules.folder import Folder
from netguard.rules.init import QUESTIONS, Answers, answers, first_folder
from netguard.rules.load import load

GIVEN = {
    "organisation": "chu-example",
    "ssid": "CHU: «tablettes»",
    "vlan": "640",
    "network": "10.99.0.0/22",
    "gateway": "10.99.0.1",
    "interface": "tab0",
    "uplink": "up0",
    "nas_address": "10.1.2.10",
    "upstream": "10.1.1.53, 10.1.1.54",
    "protected": "pacs=10.10.0.0/16, staff = 10.20.0.0/16",
    "video_host": "meet.chu.example",
    "tablets": "T-001=3c286daa0110, T-002=3C-28-6D-AA-01-11",
}


def judged(files, day=datetime.date(2026, 11, 22)):
    return load(Folder("rules", files), today=day)


@pytest.mark.parametrize("video", ["", "10.60.0.40/32", "203.0.113.0/24", "8.26.56.0/24"])
def test_a_first_folder_has_no_finding(video):
    loaded = judged(first_folder(answers(GIVEN | {"video_network": video})))
    assert loaded.findings == ()
    assert loaded.policy.groups["patients"].allow == (
        "jitsi", "plumbing-check", "plumbing-push", "time",
    )  # fmt: skip
    private = [str(n) for n in loaded.policy.services["jitsi"].allow_private]
    assert private == ([video] if video.startswith(("10.", "203.")) else [])


def test_what_was_answered_stands_in_the_policy():
    policy = judged(first_folder(answers(GIVEN))).policy
    site = policy.sites["main"]
    assert (site.ssid, site.vlan, site.nas["wlc-1"].vendor) == ("CHU: «tablettes»", 640, "other")
    assert sorted(policy.protected) == ["pacs", "staff"]
    assert {key: str(a) for key, a in policy.allotted.items()} == {
        ("main", "T-001"): "10.99.0.16",
        ("main", "T-002"): "10.99.0.17",
    }


def test_every_fault_of_the_answers_is_told_with_its_flag():
    with pytest.raises(UsageError) as caught:
        answers(
            {"vlan": "1", "nas_vendor": "acme", "upstream": ",", "protected": "", "tablets": "",
             "video_network": "10.0.0.1/8"}
        )  # fmt: skip
    lines = str(caught.value).splitlines()
    assert "--organisation is missing: short name of the hospital, such as chu-example" in lines
    assert "--vlan: VLAN 1 is out of range, 2 to 4094" in lines
    assert any(line.startswith("--nas-vendor: 'acme' is none of hostapd,") for line in lines)
    assert any(line.startswith("--upstream: no resolver") for line in lines)
    assert any(line.startswith("--protected: name the clinical networks") for line in lines)
    assert any(line.startswith("--tablets: name one tablet at least") for line in lines)
    assert any(line.startswith("--video-network: 10.0.0.1/8 has host bits") for line in lines)


def test_a_pair_needs_both_halves():
    with pytest.raises(UsageError, match="'pacs' is not a list of NAME=NETWORK"):
        answers(GIVEN | {"protected": "pacs"})


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("gateway", "10.98.0.1", "gateway 10.98.0.1 lies in none of the site's networks"),
        ("protected", "pacs=10.99.0.0/16", "meets protected network 'pacs'"),
        ("tablets", "T-001=02:28:6d:aa:01:10", "turn off the private Wi-Fi address"),
    ],
)
def test_answers_that_contradict_each_other_write_nothing(key, text, said):
    with pytest.raises(UsageError, match=said):
        first_folder(answers(GIVEN | {key: text}))


def test_each_question_is_a_field_and_each_field_a_question():
    assert [question.key for question in QUESTIONS] == list(Answers.__slots__)


def test_the_plumbing_is_that_of_the_example_hospital():
    example = Path(__file__).parents[2] / "rules"
    files = first_folder(answers(GIVEN))
    ours = judged(files).policy.services
    names = ("plumbing-check", "plumbing-push", "time")
    copied = {
        f"services/{name}.yaml": (example / f"services/{name}.yaml").read_bytes() for name in names
    }
    theirs = judged(files | copied).policy.services
    for name in names:
        assert (ours[name].domains, ours[name].ports) == (theirs[name].domains, theirs[name].ports)
