"""Webhooks: nothing is believed that is not signed, and what is says where it is wrong."""

import hmac
import json
from contextlib import suppress
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netguard.core import webhooks
from netguard.errors import BadValue

SECRET = b"a-secret-of-the-hospital"


def signed(body):
    return {"x-mist-signature-v2": hmac.new(SECRET, body, sha256).hexdigest()}


def mist(topic, *events):
    body = json.dumps({"topic": topic, "events": list(events)}).encode()
    return webhooks.read("mist", body, signed(body), SECRET)


def test_what_mist_says_of_clients():
    event = {"mac": "3c286daa0110", "ap": "703a0e000001", "timestamp": 1795000000}
    (said,) = mist("client-join", event)
    assert (said.seen.kind, str(said.seen.mac), said.seen.ap, said.told) == (
        "associated", "3c:28:6d:aa:01:10", "70:3a:0e:00:00:01", 1795000000.0,
    )  # fmt: skip
    (said,) = mist("client-sessions", event | {"termination_reason": 3, "next_ap": "703a0e000002"})
    assert (said.seen.kind, said.seen.ap, said.seen.left) == (
        "roamed", "70:3a:0e:00:00:02", "70:3a:0e:00:00:01",
    )  # fmt: skip
    for number, reason in ((1, "disassociate"), (2, "inactive")):
        (said,) = mist("client-sessions", event | {"termination_reason": number})
        assert (said.seen.kind, said.seen.reason) == ("disassociated", reason)
    assert mist("client-sessions", event | {"termination_reason": 3}) == ()
    assert mist("zone", event) == ()


def test_what_mist_says_of_access_points():
    down = {"type": "AP_DISCONNECTED", "ap_name": "AP-CAR-301", "timestamp": True}
    (said,) = mist("device-updowns", down)
    assert (said.seen.kind, said.seen.ap, said.told) == ("ap-down", "ap-car-301", None)
    assert mist("device-events", down | {"type": "AP_CONFIGURED"}) == ()


def test_what_meraki_says_of_access_points():
    def read(**fields):
        body = json.dumps({"sharedSecret": SECRET.decode(), **fields}).encode()
        return webhooks.read("meraki", body, {}, SECRET)

    (said,) = read(alertType="APs went down", deviceName="AP 1", occurredAt="2026-11-22T06:00:00Z")
    assert (said.seen.kind, said.seen.ap, said.told) == ("ap-down", "ap 1", 1795327200.0)
    (said,) = read(alertType="APs came up", deviceMac="70:3a:0e:00:00:01", occurredAt="soon")
    assert (said.seen.kind, said.seen.ap, said.told) == ("ap-up", "70:3a:0e:00:00:01", None)
    (said,) = read(alertType="APs came up", deviceName="AP 1", occurredAt="2026-11-22T06:00:00")
    assert said.told is None, "a time of no zone is none"
    (said,) = read(alertType="APs came up", deviceName="AP 1", occurredAt=7)
    assert said.told is None
    assert read(alertType="Settings changed") == ()
    with pytest.raises(BadValue, match=r"\$\.deviceName"):
        read(alertType="APs came up")


@pytest.mark.parametrize(
    ("events", "place"),
    [
        ("x", r"\$\.events"),
        ([7], r"\$\.events\[0\]"),
        ([{"mac": 7}], r"\$\.events\[0\]\.mac"),
        ([{"mac": "3c286daa01", "ap": "703a0e000001"}], r"\$\.events\[0\]\.mac"),
    ],
)
def test_what_is_no_event_is_refused_with_its_place(events, place):
    body = json.dumps({"topic": "client-join", "events": events}).encode()
    with pytest.raises(BadValue, match=place):
        webhooks.read("mist", body, signed(body), SECRET)


@pytest.mark.parametrize("given", [None, "", "0" * 64, "é"])
def test_what_is_not_signed_is_not_read(given):
    body = b'{"topic": "client-join", "events": []}'
    headers = {} if given is None else {"x-mist-signature-v2": given}
    with pytest.raises(webhooks.Unsigned):
        webhooks.read("mist", body, headers, SECRET)
    with pytest.raises(webhooks.Unsigned):
        webhooks.read("mist", body, signed(body), b"")
    for secret in (given, 7):
        text = json.dumps({"sharedSecret": secret}).encode()
        with pytest.raises(webhooks.Unsigned):
            webhooks.read("meraki", text, {}, SECRET)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["topic", "events", "mac", "ap", "type", "timestamp", "client-join"]), inner)))  # fmt: skip
def test_any_signed_json_is_read_or_refused_with_its_path(value):
    body = json.dumps(value).encode()
    with suppress(BadValue):
        webhooks.read("mist", body, signed(body), SECRET)
