"""What tablets send anyway: the lease file of dnsmasq, and flows that grow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netguard.core.desk import Desk
from netguard.core.heartbeats import MOST_LEASES, Flows, read_holders, read_leases
from netguard.core.names import Mac

ONE = Mac.parse("64:1b:2f:6a:d5:79")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1764381600 64:1b:2f:6a:d5:79 10.99.0.11 tab 01:64:1b:2f:6a:d5:79\n", {ONE: 1764381600.0}),
        ("1764381600 64:1b:2f:6a:d5:79 10.99.0.11 *", {ONE: 1764381600.0}),
        # A renewal is a later line of the same MAC only in a file that is being replaced.
        ("5 64:1b:2f:6a:d5:79 10.0.0.1 * *\n9 64:1b:2f:6a:d5:79 10.0.0.1 * *\n", {ONE: 9.0}),
        ("0 64:1b:2f:6a:d5:79 10.99.0.11 * *\n", {}),
        ("duid 00:01:00:01:2f:aa\n1764381600 4 fd00::1 * 00:01\n", {}),
        ("-1 64:1b:2f:6a:d5:79 10.99.0.11 *\n1e9 64:1b:2f:6a:d5:79 10.99.0.11 *\n", {}),
        ("999999999999 64:1b:2f:6a:d5:79 10.99.0.11 *\n", {}),
        ("1764381600 64:1b:2f:6a:d5 10.99.0.11 * *\n", {}),
        ("1764381600 64:1b:2f:6a:d5:79\n", {}),
        ("", {}),
    ],
)
def test_the_lease_file_of_dnsmasq(text, found):
    assert read_leases(text) == found


def test_the_lease_file_of_dnsmasq_says_who_holds_an_address():
    text = "7 64:1b:2f:6a:d5:79 10.99.0.11 * *\n0 64:1b:2f:6a:d5:79 10.99.0.12 * *\nduid 00:01\n"
    assert read_holders(text) == {"10.99.0.11": ONE}


def test_of_a_lease_file_without_end_no_more_is_read():
    line = "7 64:1b:2f:6a:d5:79 10.99.0.11 * *\n"
    assert read_leases("x\n" * MOST_LEASES + line) == {}
    assert read_leases("x\n" * (MOST_LEASES - 1) + line) == {ONE: 7.0}


@given(st.text(max_size=300))
def test_no_text_breaks_it(text):
    assert all(end > 0 for end in read_leases(text).values())


def test_only_who_sent_since_the_last_look_was_heard():
    flows = Flows()
    assert flows.grown({1: ("10.0.0.1", 5), 2: ("10.0.0.2", 9)}) == set(), "may be old"
    assert flows.grown({1: ("10.0.0.1", 6), 2: ("10.0.0.2", 9)}) == {"10.0.0.1"}
    # A new connection counts, one that is gone does not, nor does one whose number came back.
    assert flows.grown({2: ("10.0.0.2", 9), 3: ("10.0.0.3", 1)}) == {"10.0.0.3"}
    assert flows.grown({3: ("10.0.0.3", 1), 4: ("10.0.0.4", 0)}) == set()


def test_the_proxy_says_who_asked_when():
    assert Desk().heard(5.0) == {}
