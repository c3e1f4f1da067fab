"""What the kernel answers to a batch differs by version; ours has to be understood by the oldest that we run on.

The kernel of this machine acknowledges the end of a batch, as Linux 6.10 and later do; Debian 12's 6.1 acknowledges
messages only. So that this stays seen between two runs of `make test-wifi` (which boots 6.1), the socket here
keeps to the contract of nfnetlink_rcv_batch in 6.1: net/netfilter/nfnetlink.c.
"""

import struct
from collections import deque

import pytest

from netguard.adapters import nfnetlink
from netguard.adapters.nfnetlink import Element, Elements, SetFull
from netguard.core.netlinkwire import attribute, generic, message
from netguard.errors import EnforcementError

BEGIN, END, ERROR = 0x10, 0x11, 2
ACK = 0x4
ENOENT, ENFILE = 2, 23


def headers(data):
    """Yield (type, flags, number) of each message of a batch."""
    at = 0
    while at < len(data):
        length, kind, flags, number, _ = struct.unpack_from("=IHHII", data, at)
        yield kind, flags, number
        at += length + (-length % 4)


class Linux61:
    """A netlink socket of nf_tables: begin and end of a batch are never acknowledged."""

    def __init__(self):
        self.refuses, self.batches, self._answers = {}, [], deque()

    def send(self, data):
        batch = list(headers(data))
        self.batches.append(batch)
        inner = [each for each in batch if each[0] not in {BEGIN, END}]
        # Errors of messages and acknowledgements are told after the commit, in the order of the messages.
        for place, (_, flags, number) in enumerate(inner):
            code = self.refuses.get(place, 0)
            if code or flags & ACK:
                self._answers.append(
                    message(ERROR, 0, number, struct.pack("=i", -code) + bytes(16))
                )

    def recv(self, _size, *_flags):
        if not self._answers:
            raise TimeoutError("timed out")
        return self._answers.popleft()

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        return None

    def __getattr__(self, name):
        return lambda *words: None


@pytest.fixture
def kernel(monkeypatch):
    held = Linux61()
    monkeypatch.setattr(nfnetlink.socket, "socket", lambda *_words: held)
    return held


def payload():
    return generic(1, 0) + attribute(1, b"netguard\0") + attribute(2, b"bind4\0")


def test_a_learned_address_is_confirmed_by_a_kernel_that_says_nothing_of_the_end(kernel):
    elements = Elements("netguard")
    elements.renew([Element("s_zoom_dns4", b"\x01\x02\x03\x04", 60_000)])
    elements.remove([("s_zoom_dns4", b"\x01\x02\x03\x04")])
    assert len(kernel.batches) == 2
    for batch in kernel.batches:
        asking = [kind for kind, flags, _ in batch if flags & ACK]
        assert len(asking) == 1
        assert asking[0] not in {BEGIN, END}
        assert batch[-2][1] & ACK, "the last message says that all of them were taken"


def test_a_refused_message_is_told_and_not_the_acknowledgement_behind_it(kernel):
    kernel.refuses = {0: ENFILE}
    with pytest.raises(SetFull):
        Elements("netguard").renew([Element("s_zoom_dns4", b"\x01\x02\x03\x04", 60_000)])


def test_a_new_table_is_filled_and_what_is_refused_is_told(kernel):
    nfnetlink.fill([payload()] * 3)
    kernel.refuses = {1: ENOENT}
    with pytest.raises(EnforcementError, match="No such file"):
        nfnetlink.fill([payload()] * 3)


def test_nothing_to_fill_asks_nobody(kernel):
    nfnetlink.fill([])
    assert kernel.batches == []
