"""Words that only rule files have: what each accepts and what it says otherwise."""

import pytest
from pydantic import TypeAdapter, ValidationError

from netguard.rules import words

GOOD = [
    (words.Label, "Hôpital Pellegrin"),
    (words.Ssid, "CHU-TABLETTES"),
    (words.Ap, "70:3a:0e:*"),
    (words.MoreThan, "10/1m"),
    (words.Endpoint, "10.1.1.20:6514"),
    (words.Endpoint, "[fd00::1]:6514"),
    (words.Endpoint, "log.chu.example:6514"),
    (words.Url, "https://alerts.chu.example/security"),
    (words.Mail, "noc@chu.example"),
    (words.Zone, "Europe/Paris"),
    (words.SecretFile, "nas-wlc-1"),
    (words.TabletId, "T-001"),
    (words.HostName, "meet.chu.example"),
]
BAD = [
    (words.Label, "", "bad-text"),
    (words.Label, "x" * 201, "bad-text"),
    (words.Label, "a\nb", "bad-text"),
    (words.Ssid, "", "bad-text"),
    (words.Ssid, "é" * 17, "bad-text"),
    (words.Ssid, 'a"b', "bad-text"),
    (words.Ap, "a*b", "bad-text"),
    (words.Ap, "", "bad-text"),
    (words.Ap, "A" * 65, "bad-text"),
    (words.Ap, "AP-1\n", "bad-text"),
    (words.Heartbeats, "0x heartbeat", "bad-number"),
    (words.Heartbeats, "often", "bad-duration"),
    (words.Share, "1.1", "bad-number"),
    (words.Share, "0", "bad-number"),
    (words.Share, "half", "bad-number"),
    (words.Share, "٠.٥", "bad-number"),
    (words.MoreThan, "10", "bad-rate"),
    (words.MoreThan, "x/1m", "bad-number"),
    (words.Endpoint, "10.1.1.20", "bad-port"),
    (words.Endpoint, "10.1.1.20:0", "bad-number"),
    (words.Endpoint, "-:514", "bad-domain"),
    (words.Url, "ftp://a", "bad-url"),
    (words.Url, "https://", "bad-url"),
    (words.Url, "https://a b", "bad-url"),
    (words.Mail, "noc", "bad-text"),
    (words.Mail, "noc@chu", "bad-domain"),
    (words.Zone, "../../etc/passwd", "schedule"),
    (words.SecretFile, "../secret", "bad-name"),
    (words.TabletId, "-T", "bad-name"),
    (words.TabletId, "", "bad-name"),
    (words.TabletId, "T 1", "bad-name"),
    (words.Date, "20/11/2026", "bad-date"),
    (words.Date, "2026-13-01", "bad-date"),
    (words.Date, "20261120", "bad-date"),
    (words.PortsText, "any", "bad-port"),
    (words.Home, "pellegrin", "unknown-ref"),
]


@pytest.mark.parametrize(("word", "text"), GOOD)
def test_a_word_is_kept_as_it_is(word, text):
    assert TypeAdapter(word).validate_python(text) == text


@pytest.mark.parametrize(("word", "text", "finding"), BAD)
def test_no_other_word_is_read(word, text, finding):
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(word).validate_python(text)
    assert caught.value.errors()[0]["ctx"]["error"].finding == finding


def test_an_address_of_a_nas_may_be_a_network():
    assert str(words.nas_address("10.1.2.10")) == "10.1.2.10/32"
    assert str(words.nas_address("10.1.2.0/24")) == "10.1.2.0/24"


def test_a_share_is_a_part_of_one():
    assert TypeAdapter(words.Share).validate_python("0.6") == 0.6
