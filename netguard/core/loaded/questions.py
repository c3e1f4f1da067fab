"""What a rule asks of packets: a test splits them into those that match and those that do not.

A field is one known value (the sender's), a side of the region (destination, protocol, port), or free: it
may have any value, and both answers are followed. Raises Strange for what is not understood; the walk
then follows both answers with a doubt. Fields and their dependencies: nft(8), kernel net/netfilter/nft_*.c.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

from netguard.core import regions
from netguard.core.loaded.listing import Chain, Json, Key, Listing, Part, Rule, elements
from netguard.core.loaded.packets import (
    At,
    Broken,
    Field,
    Sender,
    Strange,
    box_of,
    kind_of,
    part_is,
    spans_of,
)
from netguard.core.regions import ANYTHING, EVERYWHERE, Box, Region, Spans
from netguard.core.verdict import INVALID

UNTRACKED = "untracked"
# Before this priority no packet belongs to a connection, behind the other its source is translated
# (NF_IP_PRI_CONNTRACK, NF_IP_PRI_NAT_SRC).
_CONNTRACK, _NAT_SRC = -200, 100
_VERSION = {"ip": 4, "ip6": 6}
_TRANSPORT = frozenset({"tcp", "udp", "icmp", "icmpv6"})
# Fields of a packet, or of what surrounds it, that may have any value.
_FREE = frozenset({"fib", "rt", "tcp option", "exthdr", "ip option", "ipsec"})
# Those of a packet that nothing on its way changes: the same question has one answer.
_LASTING = frozenset({"sport", "type", "code"})
_BETWEEN = {"<": (None, -1), "<=": (None, 0), ">": (1, None), ">=": (0, None)}
_MOST = (1 << 32) - 1

Elements = Iterable[tuple[tuple[Part, ...], Json]]
# Whether a test matches, or the verdict that a map gives; and for which packets.
Outcome = tuple[Json, At]


class Questions:
    """Answers for one sender after the other. `learned`: what a set may hold at another moment, by its key."""

    def __init__(self, listing: Listing, learned: Mapping[Key, Spans]) -> None:
        self.listing = listing
        self.learned = learned
        self._filled = set(_filled(listing))
        self._rewrites = any("dnat" in each for r in listing.rules() for each in r.expressions)
        self._spans: dict[tuple[Key, str], Spans] = {}
        self._indexes: dict[
            tuple[Key, tuple[bool, ...]],
            dict[tuple[Part, ...], list[tuple[tuple[Part, ...], Json]]],
        ] = {}
        self._last: tuple[object, tuple[object, ...]] = (None, ())
        self._of_senders = list(_of_senders(listing))

    def of(self, sender: Sender) -> None:
        """Turn to the packets of a sender."""
        self.sender = sender
        self.version = sender.source.version

    def kind(self, sender: Sender) -> tuple[object, ...]:
        """Return all that the ruleset can tell of who sends: of one kind, all packets fare alike."""
        self.of(sender)
        who = sender.interface, sender.mac, sender.source
        if self._last[0] != who:
            self._last = who, self._answers()
        return sender.state, sender.ct_mark, self._last[1]

    def _answers(self) -> tuple[object, ...]:
        answers: list[object] = [self.version]
        for name, left, held in self._of_senders:
            values = [self._of_sender(each) for each in left]
            # What else is asked there may be anything: elements that differ in that alone are kept apart.
            fields = [Field(value=v) if v is not None else Field(axis="any") for v in values]
            found = [
                (tuple(p for p, v in zip(parts, values, strict=True) if v is None), str(value))
                for parts, value in self._near(held, fields, name)
                if all(v is None or part_is(p, v) for p, v in zip(parts, values, strict=True))
            ]
            answers.append(tuple(found))
        return tuple(answers)

    def _of_sender(self, left: Json) -> Json:
        """Return the sender's value of a field, None where it is no sender's, "" where it has none."""
        who = sender_field(left)
        if who == "source" and _VERSION[left["payload"]["protocol"]] != self.version:
            return ""
        if who == "source":
            return regions.number_of(self.sender.source)
        return {"interface": self.sender.interface, "mac": self.sender.mac}.get(who)

    def enter(self, chain: Chain) -> None:
        """Turn to the rules of a base chain."""
        self._egress = chain.hook == "egress"
        self._tracked = chain.priority > _CONNTRACK and chain.hook not in {"ingress", "egress"}
        self._translated = self._egress or (
            chain.hook == "postrouting" and chain.priority > _NAT_SRC
        )

    def match(self, rule: Rule, body: Mapping[str, Json], at: At) -> list[Outcome]:
        """Return the packets that match, and those that do not; some may be in both."""
        inverted = body["op"] == "!="
        right = _bounded(body["op"], body["right"])
        if _is_local(body) and not self._rewrites:
            # What goes to an address of the appliance itself is not forwarded, and not followed here.
            return [(inverted, at)]
        fields = self._fields(body["left"], at)
        if fields is None:
            return [(False, at)]
        within = _where(fields)
        inside = regions.both(at.region, within)
        outside = regions.without(at.region, within)
        answers: list[Outcome] = []
        if inside:
            asked = at.with_region(inside)
            may, must = self._matching(rule, right, fields)
            if may is None:
                answers += self._either(body["left"], right, asked, inverted)
            else:
                yes, no = regions.both(inside, may), regions.without(inside, must)
                answers += (
                    (not inverted, asked.with_region(yes)),
                    (inverted, asked.with_region(no)),
                )
        answers.append((False, at.with_region(outside)))
        return [(matched, each) for matched, each in answers if each.region]

    def mapped(self, rule: Rule, body: Mapping[str, Json], at: At) -> list[Outcome]:
        """Return the packets of each verdict of a map; False: those that it does not hold."""
        fields = self._fields(body["key"], at)
        if fields is None:
            return [(False, at)]
        found: list[Outcome] = []
        left = at.region
        rows = self._elements(rule, body["data"], mapped=True)
        # What an element names itself goes before the one for all others.
        for parts, target in sorted(rows, key=lambda row: "*" in row[0]):
            box, sure = box_of(parts, fields)
            region = regions.both(left, box) if box is not None else ()
            if region:
                found.append((target, at.with_region(region)))
            if sure and box is not None:
                left = regions.without(left, box)
        return [*found, (False, at.with_region(left))] if left else found

    def number(self, rule: Rule, value: Json, at: At) -> int | None:
        """Return what a mark is set to, None where it may be anything. Raises Broken."""
        if isinstance(value, int):
            return value
        if not isinstance(value, dict):
            return None
        kind = kind_of(value)
        body = value[kind]
        if kind in {"|", "&", "^"}:
            one, other = (self.number(rule, each, at) for each in body)
            if one is None or other is None:
                return None
            return {"|": one | other, "&": one & other, "^": one ^ other}[kind]
        if kind == "map":
            return self._looked_up(rule, body, at)
        field = self._field(value, at) if _is_mark(value) else None
        return field.value if field is not None else None

    def _looked_up(self, rule: Rule, body: Mapping[str, Json], at: At) -> int | None:
        fields = self._fields(body["key"], at)
        if fields is None:
            raise Broken
        if any(field.axis or field.value is None for field in fields):
            return None
        rows = self._elements(rule, body["data"], mapped=True)
        near = self._near(rows, fields, _name(rule, body["data"]))
        found = [value for parts, value in near if box_of(parts, fields)[0]]
        if not found:
            raise Broken
        return found[0] if len(found) == 1 and isinstance(found[0], int) else None

    def _either(self, left: Json, right: Json, at: At, inverted: bool) -> list[Outcome]:
        """Take a free field as matching and as not."""
        lasting = (
            isinstance(left, dict)
            and left.get("payload", {}).get("field") in _LASTING
            and not self._translated
        )
        if not lasting:
            return [(True, at), (False, at)]
        key = json.dumps([left, right])
        known = dict(at.guesses).get(key)
        answers = (True, False) if known is None else (known,)
        return [(matched is not inverted, at.guessing(key, matched)) for matched in answers]

    def _elements(self, rule: Rule, right: Json, *, mapped: bool = False) -> Elements:
        name = _name(rule, right)
        if name is not None:
            held = self.listing.sets[name]
            if name in self._filled or held.strange:
                raise Strange(
                    f"@{name[2]} is filled by packets" if not held.strange else held.strange
                )
            return held.elements
        return written(right, mapped=mapped)

    def _matching(
        self, rule: Rule, right: Json, fields: Sequence[Field]
    ) -> tuple[Region | None, Region]:
        """Return the packets that may match, and those that surely do; None where any may and may not."""
        name = _name(rule, right)
        held = self._elements(rule, right)
        (first, *more) = fields
        if name is not None and name in self.learned:
            if more or first.axis != "address":
                return None, ()
            spans = regions.union((*self.learned[name], *self._spans_of(name, first, held)))
            return regions.box(spans, ANYTHING), ()
        if name is not None and not more and first.axis:
            box = first.box(self._spans_of(name, first, held))
            return box, box
        known = all(field.axis or field.value is not None for field in fields)
        found: list[Box] = []
        possible = False
        for parts, _ in self._near(held, fields, name) if known else held:
            box_, _ = box_of(parts, fields)
            possible |= bool(box_)
            found.extend(box_ or ())
        if known:
            return tuple(found), tuple(found)
        return (None, ()) if possible else ((), ())

    def _near(self, held: Elements, fields: Sequence[Field], name: Key | None) -> Elements:
        """Return the elements of a set that can match; those of a large one are looked up, not searched."""
        axes = tuple(bool(field.axis) for field in fields)
        if name is None or all(axes):
            return held
        if (name, axes) not in self._indexes:
            index: dict[tuple[Part, ...], list[tuple[tuple[Part, ...], Json]]] = {}
            for parts, value in held:
                known = tuple(p for p, axis in zip(parts, axes, strict=True) if not axis)
                single = all(map(_single, known))
                index.setdefault(known if single else (), []).append((parts, value))
            self._indexes[name, axes] = index
        index = self._indexes[name, axes]
        wanted = tuple(
            field.value if isinstance(field.value, str) else (field.value, field.value)
            for field in fields if not field.axis
        )  # fmt: skip
        return [*index.get(wanted, ()), *index.get((), ())]

    def _spans_of(self, name: Key, field: Field, held: Elements) -> Spans:
        key = name, field.axis
        if key not in self._spans:
            self._spans[key] = regions.union(spans_of(parts[0], field) for parts, _ in held)
        return self._spans[key]

    # fields

    def _fields(self, left: Json, at: At) -> list[Field] | None:
        """Return what is asked of a packet; None where it has no such field. Raises Strange."""
        found = [self._field(each, at) for each in asked(left)]
        if any(each is None for each in found):
            return None
        return [each for each in found if each is not None]

    def _field(self, left: Json, at: At) -> Field | None:
        if not isinstance(left, dict):
            raise Strange(f"{left}")
        kind = kind_of(left)
        body = left[kind]
        if kind == "&":
            return self._masked(body[0], body[1], at)
        if kind == "meta":
            return self._meta(body["key"], at)
        if kind == "ct":
            return self._ct(body["key"], at)
        if kind == "payload" and "protocol" in body:
            return self._payload(body["protocol"], body["field"])
        if kind in _FREE:
            return Field()
        raise Strange(f"asks for {kind}")

    def _masked(self, left: Json, mask: Json, at: At) -> Field | None:
        """Return a part of a field: exactly of a mark, anything of what nobody follows."""
        inner = self._field(left, at)
        if inner is None or (inner.value is None and not inner.axis):
            return inner
        if isinstance(mask, int) and _is_mark(left):
            return Field(value=inner.value & mask)
        raise Strange(f"a part of {json.dumps(left)}")

    def _meta(self, key: str, at: At) -> Field:
        if key == "iifname" and not self._egress:
            return Field(value=self.sender.interface)
        if key == "nfproto":
            return Field(value="ipv4" if self.version == 4 else "ipv6")
        if key == "protocol":
            return Field(value="ip" if self.version == 4 else "ip6")
        if key == "mark":
            return Field(value=at.mark)
        if key == "l4proto":
            return Field(axis="protocol")
        return Field()

    def _ct(self, key: str, at: At) -> Field | None:
        if not self._tracked:
            return Field()
        if key == "state":
            return Field(value=at.state)
        if at.state in {UNTRACKED, INVALID}:
            # Without a connection every other question ends the rule (nft_ct.c).
            return None
        return Field(value=at.ct_mark) if key == "mark" else Field()

    def _payload(self, protocol: str, name: str) -> Field | None:
        if protocol == "ether" and name == "saddr" and not self._egress:
            return Field(value=self.sender.mac)
        if protocol in _VERSION:
            return self._ip(protocol, name)
        if protocol == "th":
            return Field(axis="port") if name == "dport" else Field()
        if protocol in _TRANSPORT:
            within = regions.of_protocol(protocol)
            return Field(axis="port" if name == "dport" else "", within=within)
        return Field()

    def _ip(self, protocol: str, name: str) -> Field | None:
        if _VERSION[protocol] != self.version:
            return None
        if name == "saddr" and not self._translated:
            return Field(value=regions.number_of(self.sender.source))
        if name == "daddr":
            return Field(axis="address")
        # Not `nexthdr`: headers may stand before the one that counts.
        return Field(axis="protocol") if name == "protocol" else Field()


def asked(left: Json) -> list[Json]:
    """Return the fields that a question is about."""
    return left["concat"] if isinstance(left, dict) and "concat" in left else [left]


def written(right: Json, *, mapped: bool = False) -> Elements:
    """Return the elements that stand in the rule itself."""
    if isinstance(right, dict) and "set" in right:
        return elements(right["set"], mapped)
    return elements(right if isinstance(right, list) else [right])


def sender_field(left: Json) -> str:
    """Say which part of who sends a field is: "interface", "mac", "source", empty for none."""
    if not isinstance(left, dict):
        return ""
    payload = left.get("payload", {})
    if left.get("meta", {}).get("key") == "iifname":
        return "interface"
    if payload.get("field") != "saddr":
        return ""
    return {"ether": "mac", "ip": "source", "ip6": "source"}.get(payload.get("protocol", ""), "")


def all_asked(listing: Listing) -> Iterator[tuple[Key | None, list[Json], Elements]]:
    """Yield each question of a ruleset once: the set it is about, the fields, and the elements."""
    seen = set()
    for rule in listing.rules():
        for expression in rule.expressions:
            for left, right, mapped in _compared(expression):
                name = _name(rule, right)
                key = json.dumps([left, name or right])
                if key not in seen:
                    seen.add(key)
                    held = listing.sets[name].elements if name else _read(right, mapped=mapped)
                    yield name, asked(left), held


def _read(right: Json, *, mapped: bool) -> Elements:
    """Return the elements of a rule; none of what is not understood, the walk says so where it is asked."""
    try:
        return written(right, mapped=mapped)
    except ValueError:
        return ()


def _of_senders(listing: Listing) -> Iterator[tuple[Key | None, list[Json], Elements]]:
    for name, fields, held in all_asked(listing):
        if any(map(sender_field, fields)):
            yield name, fields, held


def _compared(expression: Mapping[str, Json]) -> Iterator[tuple[Json, Json, bool]]:
    kind = kind_of(expression)
    body = expression[kind]
    if kind == "match":
        yield body["left"], body["right"], False
    elif kind == "vmap":
        yield body["key"], body["data"], True
    elif isinstance(body, dict) and isinstance(body.get("value"), dict):
        lookup = body["value"].get("map")
        if lookup is not None:
            yield lookup["key"], lookup["data"], True


def _filled(listing: Listing) -> Iterator[Key]:
    """Yield the sets that rules fill as packets pass: what they hold now says little."""
    for rule in listing.rules():
        for expression in rule.expressions:
            kind = kind_of(expression)
            if kind in {"set", "map"} and isinstance(expression[kind], dict):
                named = expression[kind].get("set", expression[kind].get("map", ""))
                name = _name(rule, named)
                if name is not None:
                    yield name


def _name(rule: Rule, right: Json) -> Key | None:
    if isinstance(right, str) and right.startswith("@"):
        return rule.family, rule.table, right[1:]
    return None


def _bounded(op: str, right: Json) -> Json:
    """Return what a comparison compares with, as a set. Raises Strange."""
    if op in {"==", "!=", "in"}:
        return right
    if op not in _BETWEEN or not isinstance(right, int):
        raise Strange(f"compares by '{op}' with {right}")
    low, high = _BETWEEN[op]
    return {"range": [0 if low is None else right + low, _MOST if high is None else right + high]}


def _is_local(body: Mapping[str, Json]) -> bool:
    """Say whether a test asks if a packet goes to the appliance itself."""
    fib = body["left"].get("fib", {}) if isinstance(body["left"], dict) else {}
    flags = fib.get("flags")
    return (
        fib.get("result") == "type" and flags in ("daddr", ["daddr"]) and body["right"] == "local"
    )


def _is_mark(left: Json) -> bool:
    kind = kind_of(left)
    return kind in {"meta", "ct"} and left[kind]["key"] == "mark"


def _single(part: Part) -> bool:
    return not part.endswith("*") if isinstance(part, str) else part[0] == part[1]


def _where(fields: Sequence[Field]) -> Region:
    services: Spans = ANYTHING
    for field in fields:
        services = regions.meet(services, field.within)
    return regions.box(EVERYWHERE, services)
