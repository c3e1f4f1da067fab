"""Syslog messages and streams: what is read, what is refused, and whose clock is wrong by how much."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netguard.core import syslog
from netguard.errors import BadValue

NOW = datetime(2026, 11, 22, 6, 0, 0, tzinfo=UTC)
NO_ZONE = timedelta()


def read(text):
    return syslog.read(text.encode(), NOW)


def test_a_message_of_each_shape_is_read():
    old = read("<30>Nov 22 05:59:50 ap-7 hostapd[12]: wlan0: AP-STA-CONNECTED 02:00")
    assert (old.severity, old.host, old.app) == (6, "ap-7", "hostapd")
    assert old.text == "hostapd[12]: wlan0: AP-STA-CONNECTED 02:00"
    assert syslog.skew(old, NOW, NO_ZONE) == 10
    new = read(
        '<165>1 2026-11-22T06:00:05.003+00:00 host app 7 ID [x@1 a="q\\]\\"" b=""][y] \ufeffhi'
    )
    assert (new.host, new.app, new.text) == ("host", "app", "hi")
    assert syslog.skew(new, NOW, NO_ZONE) == pytest.approx(-5.003)
    aireos = read("<134>WLC001: *spamApTask0: Nov 22 06:59:00.930: %APF-6-USER_NAME_DELETED: x")
    assert (aireos.host, "%APF-6" in aireos.text) == ("WLC001", True)
    # No zone: an hour ahead of UTC is the site's own time.
    assert syslog.skew(aireos, NOW, timedelta(hours=1)) == 60
    newer = read("<30>2026-11-22T06:59:50.5+01:00 ap-7 hostapd[12]: wlan0: AP-STA-CONNECTED 02:00")
    assert (newer.host, newer.app, newer.text) == (
        "ap-7", "hostapd", "hostapd[12]: wlan0: AP-STA-CONNECTED 02:00",
    )  # fmt: skip
    assert newer.zoned
    assert syslog.skew(newer, NOW, timedelta(hours=1)) == 9.5
    odd = read("<30>2026-13-22T06:59:50Z ap-7 hostapd: x")
    assert (odd.host, odd.told, odd.zoned) == ("ap-7", None, False)
    nameless = read("<189>Nov 22 06:00:00.123 UTC: %CAPWAPAC-5-X: y")
    assert (nameless.host, nameless.text) == ("", "%CAPWAPAC-5-X: y")
    assert read("<13>just text").told is None
    meraki = read("<134>1 1795327200.857790 MR18 events type=association")
    assert (meraki.host, meraki.text) == ("MR18", "events type=association")
    assert meraki.zoned


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<30>1 2026-11-22T06:00:05Z host app", "lacks fields"),
        ("<30>1 today host app 7 ID - hi", "has no time"),
        ("<30>1 2026-11-22T06:00:05Z host app 7 ID hi", "has no structured data"),
    ],
)
def test_a_message_of_rfc_5424_that_is_none_is_refused_with_its_reason(text, words):
    with pytest.raises(BadValue, match=words):
        read(text)


@pytest.mark.parametrize("stamp", ["-", "2026-02-30T06:00:05Z"])
def test_a_time_that_is_none_is_not_told(stamp):
    message = read(f"<30>1 {stamp} host app 7 ID - hi")
    assert (message.text, message.told) == ("hi", None)
    assert syslog.skew(message, NOW, NO_ZONE) is None


def test_the_year_that_is_not_said_is_the_nearest_one():
    new_year = datetime(2027, 1, 1, 0, 0, 5, tzinfo=UTC)
    message = syslog.read(b"<30>Dec 31 23:59:59 ap hostapd: x", new_year)
    assert syslog.skew(message, new_year, NO_ZONE) == 6
    assert read("<30>Feb 30 10:00:00 ap hostapd: x").told is None
    leap = syslog.read(b"<30>Feb 29 10:00:00 ap x: y", datetime(2028, 2, 29, 10, tzinfo=UTC))
    assert syslog.skew(leap, datetime(2028, 2, 29, 10, tzinfo=UTC), NO_ZONE) == 0


def test_what_steers_a_terminal_is_written_out_and_a_long_line_is_cut():
    message = read("<30>ap hostapd: \x1b[31m a\u202e\x00b")
    assert message.text.isprintable()
    assert "\\x1b" in message.text
    long = syslog.read(b"<30>ap: " + b"x" * 70_000, NOW)
    assert len(long.text) <= syslog.LONGEST + 10
    assert long.text.endswith(syslog.CUT)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_a_refusal(data):
    for head in (b"", b"<30>", b"<30>1 "):
        with suppress(BadValue):
            message = syslog.read(head + data, NOW)
            assert (message.text + message.host + message.app).isprintable()


def frames(*parts):
    stream = syslog.Frames()
    return [frame for part in parts for frame in stream.feed(part)]


def test_streams_are_octet_counted_or_lines_and_may_be_cut_anywhere():
    data = b"5 <1>ab<2>cd\r\n\n6 <3>e\nf<4>g\n"
    wanted = [b"<1>ab", b"<2>cd", b"<3>e\nf", b"<4>g"]
    assert frames(data) == wanted
    assert frames(*(data[i : i + 1] for i in range(len(data)))) == wanted


@pytest.mark.parametrize("data", [b"999999999 <1>", b"65537 x", b"12x4 <1>", b"1234567"])
def test_a_length_that_is_none_ends_the_stream(data):
    with pytest.raises(BadValue, match="length"):
        frames(data)


def test_a_line_without_an_end_is_cut_once_and_the_next_one_read():
    stream, found = syslog.Frames(), []
    for _ in range(300):
        found += list(stream.feed(b"<1>" + b"x" * 1000))
    found += stream.feed(b"\n<2>y\n")
    assert [len(found[0]) > syslog.LONGEST, *found[1:]] == [True, b"<2>y"]
