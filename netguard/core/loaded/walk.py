"""All packets of one sender at once, through a listed ruleset: what leaves it, changed to what, by which rules.

A packet's destination, protocol and port are regions (regions.py); who sends it, by which interface and
with which state of its connection is one value; whatever else a rule asks (its source port, a limit's
bucket) may be either way. So nothing that passes is missed; what is found to pass by a guess that no
packet can fulfil is the price, and `doubts` and `strange` name what was not understood.

Order of hooks and verdicts: nft(8), kernel net/netfilter/core.c; an accept ends one base chain, not the path.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from netguard.core import regions
from netguard.core.loaded.listing import HOOKS, Chain, Json, Listing, Rule
from netguard.core.loaded.packets import (
    At,
    Broken,
    Sender,
    Strange,
    interval,
    kind_of,
    merged,
    protocols_in,
)
from netguard.core.loaded.questions import UNTRACKED, Outcome, Questions
from netguard.core.regions import ANYTHING, EVERY4, EVERY6, EVERYWHERE, Box, Spans
from netguard.core.verdict import ESTABLISHED, NEW, RELATED

ACCEPT, DROP, LOCAL, END, RETURN = "accept", "drop", "local", "end", "return"
_EVERY = {4: EVERY4, 6: EVERY6}
_VERSION = {"ip": 4, "ip6": 6}
# What is redirected ends at a socket of the appliance; the kernel forwards nothing of it.
_FINAL = {
    "accept": ACCEPT, "masquerade": ACCEPT, "snat": ACCEPT, "drop": DROP, "reject": DROP,
    "redirect": LOCAL,
}  # fmt: skip
_LEAVING = {"return": RETURN, "continue": END}
# Statements that neither decide nor change anything that is followed here.
_SILENT = frozenset({"counter", "log", "last"})
# A bucket, a quota, a full set, a socket that is not there: what stands behind happens, or does not.
_MAYBE = frozenset({"limit", "quota", "ct count", "set", "map", "tproxy"})
# What may be rewritten without changing who gets a packet.
_HARMLESS = {
    "meta": frozenset({"priority", "nftrace"}),
    "ct": frozenset({"label", "event"}),
    "payload": frozenset({"dscp", "ecn", "ttl", "hoplimit", "flowlabel", "id", "checksum"}),
}
# The kernel allows 16 jumps; a listing that has more is none.
_DEPTH = 32


@dataclass(frozen=True, slots=True)
class _Place:
    """Where packets are in a rule: what of it is still to come, and how many jumps led there."""

    rule: Rule
    left: tuple[Mapping[str, Json], ...]
    depth: int

    def behind(self) -> "_Place":
        return replace(self, left=self.left[1:])


Step = Iterator[tuple[str, At]]


class Walker:
    """Follows senders through a listing. `learned`: what a set of our table may hold at another moment."""

    def __init__(self, listing: Listing, learned: Mapping[str, Spans], table: str) -> None:
        self.listing = listing
        self.ask = Questions(listing, {("inet", table, name): s for name, s in learned.items()})
        self.strange: dict[str, None] = dict.fromkeys(listing.strange)
        self.offloads: list[At] = []
        self._leaks: list[At] = []
        self._known: dict[tuple[object, ...], tuple[list[At], list[At]]] = {}
        self._rewrites = any("dnat" in each for r in listing.rules() for each in r.expressions)

    def passing(self, sender: Sender) -> list[At]:
        """Return the packets of a sender that leave by another interface, and those that leak on their way.

        `offloads` are afterwards those that a rule has put into a flowtable.
        """
        kind = self.ask.kind(sender)
        if kind not in self._known:
            self._known[kind] = self._passing(sender), self.offloads
        found, self.offloads = self._known[kind]
        return found

    def _passing(self, sender: Sender) -> list[At]:
        self.version = sender.source.version
        self._leaks, self.offloads = [], []
        every = regions.box(_EVERY[self.version], ANYTHING)
        alive = [At(every, ct_mark=sender.ct_mark, state=sender.state)]
        for hook in HOOKS:
            device = sender.interface if hook == "ingress" else ""
            for chain in self.listing.at(hook, self.version, device):
                alive = self._through(chain, alive)
            if hook == "prerouting" and self._rewrites and sender.state in {ESTABLISHED, RELATED}:
                # The kernel's NAT of an open connection: where it goes was decided with its first packet.
                both = frozenset({"address", "port"})
                alive = merged(
                    replace(at, origin=at.sent, region=every, moved=both) for at in alive
                )
        return [*alive, *self._leaks]

    def _through(self, chain: Chain, alive: list[At]) -> list[At]:
        """Return what goes on behind a base chain."""
        # Only the first packet of a tracked connection comes by the chains of NAT.
        spared = [at for at in alive if chain.kind == "nat" and at.state != NEW]
        self.ask.enter(chain)
        out = []
        for verdict, at in self._chain(chain, [at for at in alive if at not in spared], 0):
            if verdict == ACCEPT:
                out.append(at)
            elif verdict in {END, RETURN} and chain.policy == ACCEPT:
                out.append(at.by(f"{chain}: policy accept"))
        return merged([*spared, *out], by_rule=True)

    def _chain(self, chain: Chain, alive: list[At], depth: int) -> Step:
        if depth > _DEPTH:
            raise ValueError(f"{chain}: jumps without end")
        for rule in chain.rules:
            if all(kind_of(each) in _SILENT | {"match", "limit"} for each in rule.expressions):
                continue
            left: list[At] = []
            for at in alive:
                here: list[At] = []
                for verdict, after in self._rule(_Place(rule, rule.expressions, depth), at):
                    if verdict == END:
                        here.append(after)
                    else:
                        yield verdict, after
                # Where all of them go on anyway, those that did so by a detour are among them.
                whole = any(after is at for after in here)
                left += (each for each in here if each is at or not whole or each.ways != at.ways)
            alive = merged(left)
        for at in alive:
            yield END, at

    def _rule(self, place: _Place, at: At) -> Step:
        """Yield what becomes of packets at the rest of a rule; END: they go on to the next one."""
        if not place.left:
            yield END, at
            return
        kind = kind_of(place.left[0])
        body = place.left[0][kind]
        behind = place.behind()
        if kind in _SILENT:
            yield from self._rule(behind, at)
        elif kind in {"match", "vmap"}:
            for matched, after in self._asked(place.rule, kind, body, at):
                if matched is False:
                    yield END, after
                elif matched is True:
                    yield from self._rule(behind, after)
                else:
                    yield from self._statement(replace(place, left=(matched,)), after)
        elif kind in _MAYBE:
            yield END, at
            yield from self._rule(behind, at)
        else:
            yield from self._statement(place, at)

    def _asked(self, rule: Rule, kind: str, body: Mapping[str, Json], at: At) -> list[Outcome]:
        """Return the answers; of a question that is not understood both, with a doubt."""
        try:
            if kind == "match":
                return self.ask.match(rule, body, at)
            return self.ask.mapped(rule, body, at)
        except (Strange, ValueError) as error:
            doubt = f"{rule}: {error}"
            if kind == "vmap":
                self.strange[doubt] = None
                return [(False, at)]
            return [(True, at.doubting(doubt)), (False, at.doubting(doubt))]

    def _statement(self, place: _Place, at: At) -> Step:
        kind = kind_of(place.left[0])
        body = place.left[0][kind]
        here = at.by(f"{place.rule}: {kind}")
        if kind in _FINAL:
            yield _FINAL[kind], here
        elif kind in _LEAVING:
            yield _LEAVING[kind], at
        elif kind in {"jump", "goto"}:
            yield from self._to(place, body["target"], at)
        elif kind in {"mangle", "dnat"}:
            yield from self._change(place, here)
        elif kind == "fwd":
            self._leaks.append(here)
        elif kind == "dup":
            self._leaks.append(here)
            yield from self._rule(place.behind(), here)
        elif kind == "flow":
            self.offloads.append(here)
            yield from self._rule(place.behind(), here)
        elif kind == "notrack":
            yield from self._rule(place.behind(), replace(at, state=UNTRACKED))
        else:
            self.strange[f"{place.rule}: {kind}"] = None
            yield from self._rule(place.behind(), at)

    def _to(self, place: _Place, target: str, at: At) -> Step:
        kind = kind_of(place.left[0])
        rule = place.rule
        chain = self.listing.chains[rule.family, rule.table, target]
        for verdict, after in self._chain(chain, [at.by(str(rule))], place.depth + 1):
            if verdict not in {END, RETURN}:
                yield verdict, after
            elif kind == "goto":
                yield RETURN, replace(after, rules=at.rules)
            else:
                yield from self._rule(place.behind(), replace(after, rules=at.rules))

    # what a rule changes

    def _change(self, place: _Place, at: At) -> Step:
        kind = kind_of(place.left[0])
        body = place.left[0][kind]
        try:
            if kind == "dnat":
                if _VERSION.get(body.get("family", ""), self.version) != self.version:
                    yield from self._rule(place.behind(), at)
                else:
                    yield ACCEPT, _moved(at, body.get("addr"), body.get("port"))
                return
            after, broken = self._mangled(place.rule, body, at)
        except Broken:
            yield END, at
            return
        except (Strange, ValueError) as error:
            self.strange[f"{place.rule}: {error}"] = None
            after, broken = at, at
        if broken is not None and broken.region:
            yield END, broken
        if after.region:
            yield from self._rule(place.behind(), after)

    def _mangled(self, rule: Rule, body: Mapping[str, Json], at: At) -> tuple[At, At | None]:
        """Return packets as a rule changes them, and those that may not have what it changes."""
        kind = kind_of(body["key"])
        key = body["key"][kind]
        name = str(key.get("key", key.get("field", key.get("name", ""))))
        protocol = key.get("protocol", "")
        value = body["value"]
        if _VERSION.get(protocol, self.version) != self.version:
            raise Broken
        if (kind, name) == ("meta", "mark"):
            return replace(at, mark=self.ask.number(rule, value, at)), None
        if (kind, name) == ("ct", "mark"):
            return replace(at, ct_mark=self.ask.number(rule, value, at)), None
        if protocol in _VERSION and name == "daddr":
            return _moved(at, value, None), None
        if protocol in {"tcp", "udp"} and name == "dport":
            within = regions.box(EVERYWHERE, regions.of_protocol(protocol))
            there = at.with_region(regions.both(at.region, within))
            return _moved(there, None, value), at.with_region(regions.without(at.region, within))
        if kind == "tcp option" or name in _HARMLESS.get(kind, ()):
            return at, None if kind in {"meta", "ct"} or protocol in _VERSION else at
        raise Strange(f"sets {kind} {protocol} {name}")


def _moved(at: At, address: Json, port: Json) -> At:
    """Return packets sent to another address, or port. Raises Strange."""
    moved: list[Box] = []
    for each in at.region:
        addresses = each.addresses if address is None else (interval(address),)
        services = each.services
        if port is not None:
            first, last = interval(port)
            services = regions.union(
                (number << 16 | first, number << 16 | last) for number in protocols_in(services)
            )
        moved.append(Box(addresses, services))
    sides = {"address"} if address is not None else set()
    sides |= {"port"} if port is not None else set()
    return replace(at, region=tuple(moved), origin=at.sent, moved=at.moved | sides)
