"""The elements of a plan's large sets as netlink messages: what fills a table that nobody has used yet.

nft takes as long to parse 10,000 tablets as the kernel to store them. Where no table stood before, the
frame (`nftables.frame`) is loaded by nft and lets nothing pass; these messages open it, in one batch
(docs/adr/0011). Layout: linux/netfilter/nf_tables.h; parts of a concatenated key are padded to four bytes.
"""

import struct
from collections.abc import Iterable, Iterator

from netguard.core.netlinkwire import NESTED, attribute, generic
from netguard.core.plan import Plan
from netguard.core.shaping import MAJOR, class_numbers
from netguard.render.nft_names import TABLE

# What 16 bits of length can say: an element takes 76 bytes at most.
PER_MESSAGE = 500
_INET = 1
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS = 1, 2, 3
_LIST_ELEMENT, _KEY, _DATA, _VALUE = 1, 1, 2, 1
_IFNAMSIZ = 16


def messages(plan: Plan) -> list[bytes]:
    """Return the payloads of NFT_MSG_NEWSETELEM for `nft_sets.PER_TABLET`, in the order to send them.

    The set that lets a tablet send comes last, so that nobody is let in half.
    """
    names = {site.name: [_interface(i) for i in site.interfaces] for site in plan.sites}
    macs = {
        binding.mac: bytes.fromhex(binding.mac.text.replace(":", "")) for binding in plan.bindings
    }
    group = {binding.mac: binding.group for binding in plan.bindings}
    marks = {each.name: _nested(_DATA, attribute(_VALUE, struct.pack("=I", each.number)))
             for each in plan.groups}  # fmt: skip
    number = _Element(6)
    address = _Element(4)
    known = _Element(_IFNAMSIZ + 8)
    bound = _Element(_IFNAMSIZ + 12)
    return [
        *_sent(
            "class4",
            (
                address.of(
                    held.packed,
                    _nested(_DATA, attribute(_VALUE, struct.pack("=I", MAJOR << 16 | minor))),
                )
                for held, minor in class_numbers(plan).items()
            ),
        ),
        *_sent("group_number", (number.of(macs[mac], marks[group[mac]]) for mac in sorted(macs))),
        *_sent(
            "tablets",
            (
                known.of(name + macs[b.mac] + b"\0\0")
                for b in plan.bindings
                for name in names[b.site]
            ),
        ),
        *_sent(
            "bind4",
            (
                bound.of(name + macs[b.mac] + b"\0\0" + b.address.packed)
                for b in plan.bindings
                if b.address is not None and b.tablet not in plan.loan
                for name in names[b.site]
            ),
        ),
    ]


class _Element:
    """Elements whose keys are so many bytes; the headers around the key are made once."""

    def __init__(self, length: int) -> None:
        self._padding = b"\0" * (-length % 4)
        value = 4 + length
        padded = value + len(self._padding)
        self._key = struct.pack("=HHHH", 4 + padded, _KEY | NESTED, value, _VALUE)

    def of(self, key: bytes, more: bytes = b"") -> bytes:
        """Return one element: its key, then its other attributes as they are."""
        body = self._key + key + self._padding + more
        return struct.pack("=HH", 4 + len(body), _LIST_ELEMENT | NESTED) + body


def _sent(name: str, elements: Iterable[bytes]) -> Iterator[bytes]:
    place = (
        generic(_INET, 0)
        + attribute(_LIST_TABLE, TABLE.encode() + b"\0")
        + attribute(_LIST_SET, name.encode() + b"\0")
    )
    listed = list(elements)
    for at in range(0, len(listed), PER_MESSAGE):
        yield place + _nested(_LIST_ELEMENTS, b"".join(listed[at : at + PER_MESSAGE]))


def _nested(kind: int, data: bytes) -> bytes:
    return attribute(kind | NESTED, data)


def _interface(name: str) -> bytes:
    return name.encode().ljust(_IFNAMSIZ, b"\0")
