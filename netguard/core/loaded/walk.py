"""All packets of one sender at once, through a listed ruleset: what leaves it, what it is changed to, by which rules.

A packet's destination, protocol and port are regions (regions.py); who sends it, by which interface and
with which state of its connection is one value; whatever else a rule asks (its source port, a limit's
bucket) may be either way. So nothing that passes is missed; what is found to pass by a guess that no
packet can fulfil is the price, and `doubts` names what was not understood on its way.

Order of hooks and verdicts: nft(8), kernel net/netfilter/core.c; an accept ends one base chain, not the path.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from netguard.core import regions
from netguard.core.loaded.listing import HOOKS, Chain, Json, Listing, Part, Rule, elements
from netguard.core.loaded.packets import (
    At,
    Field,
    Sender,
    Strange,
    axis_box,
    box_of,
    interval,
    kind_of,
    merged,
)
from netguard.core.regions import ANYTHING, EVERY4, EVERY6, EVERYWHERE, Box, Region, Spans
from netguard.core.verdict import NEW

ACCEPT, DROP, LOCAL, END, RETURN = "accept", "drop", "local", "end", "return"
UNTRACKED = "untracked"
# Before this priority no packet belongs to a connection (NF_IP_PRI_CONNTRACK).
_CONNTRACK = -200
_EVERY = {4: EVERY4, 6: EVERY6}
_VERSION = {"ip": 4, "ip6": 6}
_TRANSPORT = {"tcp": "tcp", "udp": "udp", "icmp": "icmp", "icmpv6": "icmpv6"}
# What is redirected ends at a socket of the appliance; the kernel forwards nothing of it.
_FINAL = {
    "accept": ACCEPT, "masquerade": ACCEPT, "snat": ACCEPT, "drop": DROP, "reject": DROP,
    "return": RETURN, "continue": END, "redirect": LOCAL, "tproxy": LOCAL,
}  # fmt: skip
# Statements that neither decide nor change anything that is followed here.
_SILENT = frozenset({"counter", "log", "last", "comment"})
# What may be rewritten without changing who gets a packet.
_HARMLESS = frozenset({"dscp", "ecn", "ttl", "hoplimit", "flowlabel", "id", "checksum"})
_HARMLESS_META = frozenset({"priority", "nftrace"})
_HARMLESS_CT = frozenset({"label", "event"})
# Fields of a packet, or of what surrounds it, that may have any value.
_FREE = frozenset(
    {"meta", "payload", "ct", "fib", "rt", "tcp option", "exthdr", "ip option", "ipsec"}
)


class _Broken(Exception):
    """The rule ends here, as if it had not matched: what it looks up is not there."""


class Walker:
    """Follows senders through a listing. `learned`: what a set may hold at another moment, by name."""

    def __init__(self, listing: Listing, learned: Mapping[str, Spans], table: str) -> None:
        self.listing = listing
        self.learned = {("inet", table, name): spans for name, spans in learned.items()}
        self.strange: dict[str, None] = dict.fromkeys(listing.strange)
        self.leaks: list[At] = []
        self.offloads: list[At] = []
        self._cached: dict[tuple[object, ...], Spans] = {}
        self._indexes: dict[tuple[object, ...], dict[tuple[Json, ...], list[tuple[Part, ...]]]] = {}
        self._maps: dict[tuple[object, ...], dict[tuple[Part, ...], Json]] = {}
        self._tracked = False

    def passing(self, sender: Sender) -> list[At]:
        """Return the packets of a sender that leave by another interface, and those that leak on their way."""
        self.sender = sender
        self.version = sender.source.version
        self.leaks, self.offloads = [], []
        every = regions.box(_EVERY[self.version], ANYTHING)
        alive = [At(every, ct_mark=sender.ct_mark, state=sender.state)]
        for hook in HOOKS:
            device = sender.interface if hook == "ingress" else ""
            for chain in self.listing.at(hook, self.version, device):
                alive = self._through(chain, alive)
            if hook == "prerouting" and sender.state != NEW:
                # The kernel's NAT of an open connection: where it goes was decided with its first packet.
                moved = (replace(at, origin=at.sent, region=every) for at in alive)
                alive = merged(moved) if self._rewrites else alive
        return [*alive, *self.leaks]

    @property
    def _rewrites(self) -> bool:
        key = ("rewrites",)
        if key not in self._cached:
            changed = any(
                name in expression
                for rule in self.listing.rules()
                for expression in rule.expressions
                for name in ("dnat", "tproxy")
            )
            self._cached[key] = ANYTHING if changed else ()
        return bool(self._cached[key])

    def _through(self, chain: Chain, alive: list[At]) -> list[At]:
        """Return what goes on behind a base chain."""
        if chain.kind == "nat" and self.sender.state != NEW:
            return alive
        self._tracked = chain.priority > _CONNTRACK and chain.hook not in {"ingress", "egress"}
        out = []
        for verdict, at in self._chain(chain, alive, 0):
            if verdict == ACCEPT:
                out.append(at)
            elif verdict in {END, RETURN} and chain.policy == ACCEPT:
                out.append(replace(at, rules=(*at.rules, f"{chain}: policy accept")))
        return merged(out, by_rule=True)

    def _chain(self, chain: Chain, alive: list[At], depth: int) -> Iterator[tuple[str, At]]:
        if depth > 32:  # the kernel allows 16
            raise RecursionError(f"{chain}: jumps without end")
        for rule in chain.rules:
            if not alive:
                return
            if all(kind_of(each) in _SILENT | {"match", "limit"} for each in rule.expressions):
                continue
            left: list[At] = []
            for at in alive:
                for verdict, after in self._rule(rule, rule.expressions, at, depth):
                    if verdict == END:
                        left.append(after)
                    else:
                        yield verdict, after
            alive = merged(left)
        for at in alive:
            yield END, at

    def _rule(
        self, rule: Rule, expressions: tuple[Mapping[str, Json], ...], at: At, depth: int
    ) -> Iterator[tuple[str, At]]:
        """Yield what becomes of packets at the rest of a rule; END: they go on to the next one."""
        if not expressions:
            yield END, at
            return
        first, rest = expressions[0], expressions[1:]
        kind = kind_of(first)
        body = first[kind]
        if kind in _SILENT:
            yield from self._rule(rule, rest, at, depth)
        elif kind in {"match", "vmap"}:
            try:
                outcomes = self._asked(rule, kind, body, at)
            except (Strange, ValueError) as error:
                outcomes = self._either_way(rule, kind, body, at, str(error))
            for matched, after in outcomes:
                if matched is False:
                    yield END, after
                elif matched is True:
                    yield from self._rule(rule, rest, after, depth)
                else:
                    yield from self._rule(
                        rule, ({kind_of(matched): matched[kind_of(matched)]},), after, depth
                    )
        elif kind in {"limit", "quota", "ct count", "set", "map"}:
            # A bucket, a quota, a full set: what is said behind it happens, or does not.
            limited = kind not in {"set", "map"} or body.get("stmt")
            if limited:
                yield END, at
            yield from self._rule(rule, rest, at, depth)
        else:
            yield from self._statement(rule, kind, body, rest, at, depth)

    def _statement(
        self,
        rule: Rule,
        kind: str,
        body: Json,
        rest: tuple[Mapping[str, Json], ...],
        at: At,
        depth: int,
    ) -> Iterator[tuple[str, At]]:
        here = replace(at, rules=(*at.rules, f"{rule}: {kind}"))
        if kind in _FINAL:
            yield _FINAL[kind], (here if kind not in {"return", "continue"} else at)
        elif kind in {"jump", "goto"}:
            yield from self._to(rule, kind, body["target"], at, depth, rest)
        elif kind == "fwd":
            self.leaks.append(here)
        elif kind in {"mangle", "dnat"}:
            yield from self._change(rule, kind, body, rest, here, depth)
        else:
            if kind == "dup":
                self.leaks.append(here)
            elif kind == "flow":
                self.offloads.append(here)
            elif kind == "notrack":
                at = replace(at, state=UNTRACKED, ct_mark=None)
            else:
                self.strange[f"{rule}: {kind}"] = None
            yield from self._rule(rule, rest, at, depth)

    def _change(
        self,
        rule: Rule,
        kind: str,
        body: Json,
        rest: tuple[Mapping[str, Json], ...],
        at: At,
        depth: int,
    ) -> Iterator[tuple[str, At]]:
        change = self._mangled if kind == "mangle" else self._sent_elsewhere
        try:
            after = change(rule, body, at)
        except _Broken:
            yield END, at
            return
        except (Strange, ValueError) as error:
            self.strange[f"{rule}: {error}"] = None
            after = at
        yield from [(ACCEPT, after)] if kind == "dnat" else self._rule(rule, rest, after, depth)

    def _to(
        self,
        rule: Rule,
        kind: str,
        target: str,
        at: At,
        depth: int,
        rest: tuple[Mapping[str, Json], ...],
    ) -> Iterator[tuple[str, At]]:
        chain = self.listing.chains[rule.family, rule.table, target]
        for verdict, after in self._chain(chain, [at], depth + 1):
            if verdict not in {END, RETURN}:
                yield (
                    verdict,
                    replace(
                        after, rules=tuple(dict.fromkeys((*at.rules, str(rule), *after.rules)))
                    ),
                )
            elif kind == "goto":
                yield RETURN, after
            else:
                yield from self._rule(rule, rest, after, depth)

    # what a rule asks

    def _asked(
        self, rule: Rule, kind: str, body: Mapping[str, Json], at: At
    ) -> list[tuple[Json, At]]:
        """Return what a test splits packets into: (matched, or the verdict of a map, packets)."""
        if kind == "vmap":
            return self._mapped(rule, body, at)
        inverted = body["op"] == "!="
        if _is_local(body) and not self._rewrites:
            # What goes to an address of the appliance itself is not forwarded, and not followed here.
            return [(inverted, at)]
        fields = self._fields(body["left"], at)
        if fields is None:
            return [(False, at)]
        held = self._elements(rule, body["right"])
        may, must = self._matching(rule, body["right"], fields, held)
        within = self._where(fields)
        outside = regions.without(at.region, within)
        if may is None:
            asked = replace(at, region=regions.both(at.region, within))
            guessed = self._guess(body, asked, inverted) if asked.region else []
            return [*guessed, *([(False, replace(at, region=outside))] if outside else [])]
        yes = regions.both(at.region, may)
        no = regions.without(regions.both(at.region, within), must)
        if inverted:
            yes, no = no, yes
        return [
            (matched, replace(at, region=region))
            for matched, region in ((True, yes), (False, no), (False, outside)) if region
        ]  # fmt: skip

    def _mapped(self, rule: Rule, body: Mapping[str, Json], at: At) -> list[tuple[Json, At]]:
        fields = self._fields(body["key"], at)
        if fields is None:
            return [(False, at)]
        found: list[tuple[Json, At]] = []
        left = at.region
        for parts, target in self._elements(rule, body["data"], mapped=True):
            box, sure = box_of(parts, fields)
            if box is None:
                continue
            region = regions.both(left, box)
            if region:
                found.append((target, replace(at, region=region)))
            if sure:
                left = regions.without(left, box)
        if left:
            found.append((False, replace(at, region=left)))
        return found

    def _guess(self, body: Mapping[str, Json], at: At, inverted: bool) -> list[tuple[Json, At]]:
        """Take a field that may have any value as matching and as not; the same question has one answer."""
        key = json.dumps([body["left"], body["right"]])
        known = dict(at.guesses).get(key)
        answers = (True, False) if known is None else (known,)
        return [
            (
                matched is not inverted,
                replace(at, guesses=tuple(sorted({*at.guesses, (key, matched)}))),
            )
            for matched in answers
        ]

    def _either_way(
        self, rule: Rule, kind: str, body: Json, at: At, why: str
    ) -> list[tuple[Json, At]]:
        """Take what is not understood as anything, and say so of whatever passes by it."""
        doubt = f"{rule}: {why}"
        doubtful = replace(at, doubts=tuple(dict.fromkeys((*at.doubts, doubt))))
        if kind == "match":
            return [(True, doubtful), (False, doubtful)]
        self.strange[doubt] = None
        return [(False, doubtful)]

    def _elements(
        self,
        rule: Rule,
        right: Json,
        mapped: bool = False,
    ) -> Iterable[tuple[tuple[Part, ...], Json]]:
        if isinstance(right, str) and right.startswith("@"):
            return self.listing.sets[rule.family, rule.table, right[1:]].elements
        if isinstance(right, dict) and "set" in right:
            return elements(right["set"], mapped)
        return elements(right) if isinstance(right, list) else elements([right])

    def _matching(
        self,
        rule: Rule,
        right: Json,
        fields: list[Field],
        held: Iterable[tuple[tuple[Part, ...], Json]],
    ) -> tuple[Region | None, Region]:
        """Return the packets that may match, and those that surely do; None where any may and may not."""
        name = (
            (rule.family, rule.table, right[1:])
            if isinstance(right, str) and right[:1] == "@"
            else None
        )
        if (
            name is not None
            and name in self.learned
            and len(fields) == 1
            and fields[0].axis == "address"
        ):
            spans = self._of_set(name, held)
            return regions.box(regions.union((*self.learned[name], *spans)), ANYTHING), ()
        if name is not None and len(fields) == 1 and fields[0].axis:
            spans = self._of_set(name, held)
            box = axis_box(fields[0], spans)
            return box, box
        if all(field.axis or field.value is not None for field in fields):
            exact = tuple(field.value for field in fields if not field.axis)
            found: list[Box] = []
            for parts in self._near(held, fields, exact, name):
                held_by, _ = box_of(parts, fields)
                found.extend(held_by or ())
            return tuple(found), tuple(found)
        possible = [parts for parts, _ in held if box_of(parts, fields)[0]]
        return (None, ()) if possible or name in self.learned else ((), ())

    def _near(
        self,
        held: Iterable[tuple[tuple[Part, ...], Json]],
        fields: list[Field],
        exact: tuple[Json, ...],
        name: object,
    ) -> Iterable[tuple[Part, ...]]:
        """Return the elements of a set that can match; those of a large one are looked up, not searched."""
        axes = tuple(bool(field.axis) for field in fields)
        if name is None or any(isinstance(value, frozenset) for value in exact):
            return [parts for parts, _ in held]
        key = (name, axes)
        if key not in self._indexes:
            index: dict[tuple[Json, ...], list[tuple[Part, ...]]] = {}
            for parts, _ in held:
                known = tuple(p for p, axis in zip(parts, axes, strict=True) if not axis)
                single = all(isinstance(p, str) or p[0] == p[1] for p in known)
                index.setdefault(known if single else (), []).append(parts)
            self._indexes[key] = index
        index = self._indexes[key]
        wanted = tuple(value if isinstance(value, str) else (value, value) for value in exact)
        return [*index.get(wanted, ()), *(index.get((), ()) if wanted else ())]

    def _of_set(
        self, name: tuple[str, str, str], held: Iterable[tuple[tuple[Part, ...], Json]]
    ) -> Spans:
        key = ("spans", name)
        if key not in self._cached:
            self._cached[key] = regions.union(
                parts[0] for parts, _ in held if not isinstance(parts[0], str)
            )
        return self._cached[key]

    def _fields(self, left: Json, at: At) -> list[Field] | None:
        """Return what is asked of a packet; None where it has no such field. Raises Strange."""
        asked = left["concat"] if isinstance(left, dict) and "concat" in left else [left]
        found = [self._field(each, at) for each in asked]
        return (
            None
            if any(each is None for each in found)
            else [each for each in found if each is not None]
        )

    def _field(self, left: Json, at: At) -> Field | None:
        if not isinstance(left, dict):
            raise Strange(f"{left}")
        kind = kind_of(left)
        body = left[kind]
        if kind == "&":
            inner, mask = self._field(body[0], at), body[1]
            if inner is not None and isinstance(inner.value, int) and isinstance(mask, int):
                return Field(value=inner.value & mask)
            if inner is not None and not inner.axis:
                return Field()
            raise Strange(f"a part of {body[0]}")
        if kind == "meta":
            return self._meta(body["key"], at)
        if kind == "ct":
            return self._ct(body, at)
        if kind == "payload" and "protocol" in body:
            return self._payload(body["protocol"], body["field"])
        if kind in _FREE and "base" not in body:
            return Field()
        raise Strange(kind)

    def _meta(self, key: str, at: At) -> Field:
        if key == "iifname":
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

    def _ct(self, body: Mapping[str, Json], at: At) -> Field | None:
        if not self._tracked:
            return Field()
        if at.state == UNTRACKED and body["key"] != "state":
            return None
        if body["key"] == "state":
            return Field(value=at.state)
        if body["key"] == "mark":
            return Field(value=at.ct_mark)
        return Field()

    def _payload(self, protocol: str, name: str) -> Field | None:
        if protocol == "ether":
            return Field(value=self.sender.mac) if name == "saddr" else Field()
        if protocol in _VERSION:
            if _VERSION[protocol] != self.version:
                return None
            if name == "saddr":
                return Field(value=regions.number_of(self.sender.source))
            if name == "daddr":
                return Field(axis="address")
            return Field(axis="protocol") if name in {"protocol", "nexthdr"} else Field()
        if protocol == "th":
            return Field(axis="port") if name == "dport" else Field()
        if protocol in _TRANSPORT:
            wanted = regions.of_protocol(protocol)
            return Field(axis="port", within=wanted) if name == "dport" else Field(within=wanted)
        return Field()

    def _where(self, fields: list[Field]) -> Region:
        services: Spans = ANYTHING
        for field in fields:
            services = regions.meet(services, field.within)
        return regions.box(EVERYWHERE, services)

    # what a rule changes

    def _mangled(self, rule: Rule, body: Mapping[str, Json], at: At) -> At:
        kind = kind_of(body["key"])
        key = body["key"][kind]
        name = str(key.get("key", key.get("field", key.get("name", ""))))
        if kind == "meta" and name == "mark":
            return replace(at, mark=self._value(rule, body["value"], at))
        if kind == "ct" and name == "mark":
            return replace(at, ct_mark=self._value(rule, body["value"], at))
        if (kind, name) in {("payload", "daddr"), ("payload", "dport")} and key[
            "protocol"
        ] != "ether":
            if key["protocol"] in _VERSION and _VERSION[key["protocol"]] != self.version:
                return at
            return self._moved(
                at,
                body["value"] if name == "daddr" else None,
                body["value"] if name == "dport" else None,
            )
        if kind == "tcp option" or name in {
            "meta": _HARMLESS_META, "ct": _HARMLESS_CT, "payload": _HARMLESS
        }.get(kind, ()):  # fmt: skip
            return at
        raise Strange(f"sets {kind} {name}")

    def _value(self, rule: Rule, value: Json, at: At) -> int | None:
        """Return what a mark is set to, None where it may be anything."""
        if isinstance(value, int):
            return value
        if not isinstance(value, dict):
            return None
        kind = kind_of(value)
        body = value[kind]
        if kind in {"|", "&", "^"}:
            one, other = (self._value(rule, each, at) for each in body)
            if one is None or other is None:
                return None
            return {"|": one | other, "&": one & other, "^": one ^ other}[kind]
        if kind == "map":
            return self._looked_up(rule, body, at)
        field = self._field(value, at)
        return field.value if field is not None and isinstance(field.value, int) else None

    def _looked_up(self, rule: Rule, body: Mapping[str, Json], at: At) -> int | None:
        """Return what a map gives for a field of known value, None where that is not known."""
        fields = self._fields(body["key"], at)
        if fields is None:
            raise _Broken
        if any(field.axis or field.value is None for field in fields):
            return None
        key = (
            "map",
            str(rule),
            json.dumps(body["data"]) if isinstance(body["data"], str) else id(body["data"]),
        )
        if key not in self._maps:
            rows = self._elements(rule, body["data"], mapped=True)
            self._maps[key] = dict(rows)
        known = self._maps[key]
        exact = tuple(f.value if isinstance(f.value, str) else (f.value, f.value) for f in fields)
        if exact not in known:
            raise _Broken
        found = known[exact]
        return found if isinstance(found, int) else None

    def _sent_elsewhere(self, _rule: Rule, body: Mapping[str, Json], at: At) -> At:
        return self._moved(at, body.get("addr"), body.get("port"))

    def _moved(self, at: At, address: Json, port: Json) -> At:
        moved: list[Box] = []
        for each in at.region:
            addresses = each.addresses if address is None else (interval(address),)
            services = each.services
            if port is not None:
                first, last = interval(port)
                services = regions.union(
                    (number << 16 | first, number << 16 | last)
                    for number in range(256)
                    if regions.meet(services, ((number << 16, number << 16 | 0xFFFF),))
                )
            moved.append(Box(addresses, services))
        return replace(at, region=tuple(moved), origin=at.sent)


def _is_local(body: Mapping[str, Json]) -> bool:
    """Say whether a test asks if a packet goes to the appliance itself."""
    fib = body["left"].get("fib", {}) if isinstance(body["left"], dict) else {}
    asked = fib.get("flags")
    return (
        fib.get("result") == "type" and asked in ("daddr", ["daddr"]) and body["right"] == "local"
    )
