"""What is written is read back, and no bytes run away with the reader."""

from hypothesis import given
from hypothesis import strategies as st

from netguard.core.netlinkwire import attribute, attributes, generic, message, messages

ATTRIBUTES = st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=40)), max_size=8)


@given(ATTRIBUTES)
def test_attributes_are_read_back_in_their_order(given_ones):
    payload = generic(1, 5) + b"".join(attribute(kind, data) for kind, data in given_ones)
    assert list(attributes(payload)) == given_ones


@given(
    st.lists(
        st.tuples(st.integers(0, 65535), st.integers(0, 2**32 - 1), st.binary(max_size=40)),
        max_size=5,
    )
)
def test_messages_are_read_back_when_each_is_padded(given_ones):
    data = b""
    for kind, number, payload in given_ones:
        data += message(kind, 0, number, payload)
        data += b"\0" * (-len(data) % 4)
    assert list(messages(data)) == given_ones


@given(st.binary(max_size=200))
def test_no_bytes_run_away_with_the_reader(data):
    for _, _, payload in messages(data):
        assert len(payload) <= len(data)
    assert sum(len(value) + 4 for _, value in attributes(data)) <= len(data)
