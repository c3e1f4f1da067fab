"""The kernel and `verdict` agree on every packet of random policies; what is planted is found."""

import json
import random
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network
from itertools import count

import pytest

from netguard.core.denials import REASONS
from netguard.core.plan import compile_plan
from netguard.core.verdict import NEW, verdict
from netguard.render import nft_names, nftables
from tests.kernel import wire
from tests.kernel.drawn import GATEWAY, IN, OUT, Draw, Running, learned_of, opened, policy_of

SITES = ["pellegrin", "haut-leveque"]
POLICIES, OUTWARD, INWARD, LATER = 8, 900, 80, 160
# Never the same port twice in one namespace: connection tracking remembers.
NUMBERS = count(1)
QUICK = {"new_flow_rate": "1000000/s", "new_flow_burst": 1_000_000}


@pytest.fixture
def bench(own_bench):
    """Connection tracking remembers what a planted fault has let through: a bench for each test."""
    return own_bench


@dataclass
class Case:
    """One policy in the kernel, and everything in which kernel and judge differ."""

    bench: object
    ends: tuple
    dice: random.Random
    plan: object
    learned: dict
    left: dict
    fault: object = staticmethod(lambda text: text)
    wrong: list = field(default_factory=list)
    predicted: Counter = field(default_factory=Counter)
    running: list = field(default_factory=list)
    sent: int = 0
    # By counter, also of grants that were withdrawn.
    rules: dict = field(default_factory=dict)

    def load(self, plan, left):
        self.plan, self.left = plan, left
        self.rules |= nftables.counters(plan)
        self.bench.nft(self.fault(nftables.render(plan, (), opened(left))))

    def fresh(self):
        self.bench.run(self.bench.gw, "nft", "flush", "ruleset")
        self.load(self.plan, self.left)
        lines = []
        for service, addresses in self.learned.items():
            for name in nft_names.learned_sets_of(service, 4) if addresses else ():
                held = ", ".join(map(str, sorted(addresses)))
                lines.append(f"add element inet netguard {name} {{ {held} }}")
        self.bench.nft("\n".join(lines))

    def compare(self, packets, *, inward=False):
        """Send packets, and compare what arrives and what is counted with the judge."""
        sender, receiver = reversed(self.ends) if inward else self.ends
        gateway = self.gateway[inward]
        frames, expected, by_number = [], set(), {}
        for packet in packets:
            judged = verdict(self.plan, packet.flow, self.learned, self.left)
            marker = IN if inward else OUT
            number = (
                next(
                    int.from_bytes(p[p.find(marker) + 8 :][:4])
                    for p in packet.packets
                    if marker in p
                )
                if any(marker in p for p in packet.packets)
                else -1
            )
            by_number[number] = packet.flow, judged.rule
            frames += [wire.frame(packet.flow.mac, gateway, each) for each in packet.packets]
            if not packet.judged:
                continue
            self.count(packet.flow, judged)
            if judged.allowed and self.forwarded(packet.flow, judged):
                expected.add(number)
                if packet.flow.state == NEW and packet.flow.protocol in {"tcp", "udp"}:
                    self.running.append(Running(packet.flow, self.marks[judged.rule]))
        self.sent += len(packets)
        arrived = wire.carry(sender, receiver, frames, IN if inward else OUT)
        self.wrong += [(*by_number[n], n in arrived) for n in sorted(arrived ^ expected)]
        measured = self.counted()
        if measured != self.predicted:
            self.wrong.append(
                {"kernel": measured - self.predicted, "judge": self.predicted - measured}
            )
            self.predicted = measured

    @property
    def marks(self):
        return {grant.rule: grant.mark for grant in self.plan.grants}

    def forwarded(self, flow, judged):
        return judged.rule in self.marks and flow.destination != GATEWAY

    def count(self, flow, judged):
        part_of_a_flow = judged.steps[-1].why.startswith("part of")
        if judged.rule in REASONS and not judged.allowed:
            group = next((b.group for b in self.plan.bindings if b.mac == flow.mac), None)
            self.predicted[f"{group}/{judged.rule}" if group else judged.rule] += 1
            if judged.rule == "ipv6":
                self.predicted["ipv6/pellegrin"] += 1
            # A rogue answer to port 53 is turned to the appliance first, and refused there.
            asks = flow.port == 53 and flow.state == NEW and flow.source.version == 4
            if judged.rule == "rogue-dhcp" and asks and flow.destination != GATEWAY:
                self.predicted["intercepted"] += 1
        elif judged.reason.startswith("intercepted"):
            self.predicted["intercepted"] += 1
        elif not judged.allowed or (self.forwarded(flow, judged) and not part_of_a_flow):
            self.predicted[judged.rule] += 1

    def counted(self):
        rows = json.loads(self.bench.run(self.bench.gw, "nft", "-j", "list", "counters").stdout)
        found = Counter()
        for row in (row["counter"] for row in rows["nftables"] if "counter" in row):
            found[self.rules[row["name"]]] += row["packets"]
        return +found

    def play(self, outward=OUTWARD, inward=INWARD, later=LATER):
        """Open flows, answer them, change the plan under them, go on."""
        dice, outside = self.dice, self.ends[1].mac.hex(":")
        draw = Draw(dice, self.plan, self.learned, NUMBERS)
        self.compare([*(draw.outward() for _ in range(outward)), *draw.clock()])
        running, self.running = self.running, []
        dice.shuffle(running)
        running = running[:later]
        packets = [draw.inward(outside) for _ in range(inward)]
        packets += [flow.reply(next(NUMBERS), outside) for flow in running if dice.random() < 0.6]
        packets += self.errors(running, outside)
        self.compare(packets, inward=True)
        self.load(*self.changed())
        packets = [f.more(next(NUMBERS)) for f in running]
        packets += [f.complaint(next(NUMBERS)) for f in running if dice.random() < 0.3]
        self.compare(packets)
        # Those that were judged anew may belong to another grant now.
        again = {flow.flow: flow.mark for flow in self.running}
        for flow in running:
            flow.mark = again.get(replace(flow.flow, mark=flow.mark, state=NEW), flow.mark)
        packets = [
            f.reply(next(NUMBERS), outside)
            for f in running
            if f.answered or f.flow.protocol == "udp"
        ]
        self.compare(packets + self.errors(running, outside), inward=True)

    def errors(self, running, outside):
        routers = [ip_address("8.8.8.8"), ip_address("10.255.0.1"), ip_address("10.10.0.5")]
        return [
            flow.error(
                next(NUMBERS), outside, self.dice.choice(routers), known=self.dice.random() < 0.7
            )
            for flow in running
            if self.dice.random() < 0.4
        ]

    def changed(self):
        """Draw a change that running flows notice: (plan, seconds left)."""
        kind = self.dice.choice(["withdraw", "lost", "hours", "closing", "protected", "nothing"])
        plan = self.plan
        if kind == "withdraw" and plan.grants:
            gone = self.dice.choice(plan.grants)
            groups = tuple(
                replace(g, services=tuple(s for s in g.services if s != gone.service))
                if g.name == gone.group
                else g
                for g in plan.groups
            )
            return replace(
                plan, groups=groups, grants=tuple(g for g in plan.grants if g != gone)
            ), self.left
        if kind == "lost":
            inside = [b.tablet for b in plan.bindings if b.site == "pellegrin"]
            loans = tuple((id_, "stolen") for id_ in self.dice.sample(inside, 3))
            return replace(
                plan, loans=tuple(sorted({**plan.loan, **dict(loans)}.items()))
            ), self.left
        if kind == "closing":
            # What runs goes on for its grace, where the group has one.
            return plan, {name: min(seconds, 300) for name, seconds in self.left.items()}
        if kind == "hours":
            return plan, {name: 3600 - seconds for name, seconds in self.left.items()}
        if kind == "protected":
            more = (*plan.protected, ip_network("170.114.10.0/25"))
            return replace(plan, protected=more), self.left
        return plan, self.left


def case(bench, ends, base, seed, fault=lambda text: text):
    dice = random.Random(seed)
    policy = policy_of(dice, base)
    states = {id_: dice.choice(["lost", "stolen", "lent"]) for id_ in list(policy.tablets)[::5]}
    plan = replace(compile_plan(policy, SITES, states), **QUICK)
    plan = replace(plan, sites=tuple(replace(site, masquerade=False) for site in plan.sites))
    # 300: within the grace of ten minutes, for the group that has one.
    left = {g.name: dice.choice([0, 300, 3600, 3600, 3600, 3600]) for g in plan.groups if g.hours}
    made = Case(bench, ends, dice, plan, learned_of(dice, plan), left, fault)
    made.gateway = [
        bench.run(bench.gw, "cat", f"/sys/class/net/{name}/address").stdout.strip()
        for name in ("tab0", "up0")
    ]
    made.fresh()
    return made


def test_kernel_and_judge_agree_on_every_packet(bench, ends, small):
    first = random.SystemRandom().randrange(2**32)
    sent, rules = 0, Counter()
    for number in range(POLICIES):
        each = case(bench, ends, small(), first + number)
        each.play()
        assert each.wrong == [], f"seed {first + number}"
        sent += each.sent
        rules += each.predicted
    assert sent >= 5000, f"seed {first}: {sent}"
    met = {rule.rpartition("/")[2] for rule in rules}
    assert met >= set(REASONS) - {"new-flows"}, f"seed {first}: the draw met too few rules"


def without(text):
    return instead(text, "")


def instead(old, new):
    def change(script):
        head, mark, body = script.rpartition("}\nadd chain")
        changed = (mark + body).replace(old, new)
        assert changed != mark + body, f"not planted: {old}"
        return head + changed

    return change


def pattern(old, new, *, all_=False):
    def change(script):
        changed = re.sub(old, new, script, count=0 if all_ else 1)
        assert changed != script, f"not planted: {old}"
        return changed

    return change


FAULTS = {
    "protected is not looked at": without("ip daddr @protected4 goto x_protected"),
    "what clinical networks send is let through": without(
        "ip saddr @protected4 counter name c_protected_reply drop"
    ),
    "the first address of a protected network is open": pattern(
        r"(add element inet netguard protected4 \{ )(\d+\.\d+\.\d+\.)(\d+)/\d+",
        lambda m: f"{m[1]}{m[2]}{int(m[3]) + 1}",
    ),
    "a port more": pattern(
        r"tcp dport (\{ )?(\d+)",
        lambda m: f"tcp dport {m[1] or ''}{max(1, int(m[2]) - 1)}-{m[2]}",
        all_=True,
    ),
    "running flows need no grant": instead(
        "ct mark @grants accept", "ct state established,related accept"
    ),
    "whatever has a mark passes": instead("ct mark @grants accept", "ct mark != 0 accept"),
    "running flows are judged anew": without("ct mark @grants accept"),
    "the set of all services opens each": pattern(
        r"ip daddr @s_\w+_dns4 jump", "ip daddr @known4 jump", all_=True
    ),
    "learned addresses are not looked at": instead("@learned4 goto", "@known4 goto"),
    "static networks are not looked at": instead("ip daddr != @known4", ""),
    "the MAC alone is looked at": instead(
        "iifname . ether saddr . ip saddr @bind4", "iifname . ether saddr @tablets"
    ),
    "nobody looks who sends": instead("iifname . ether saddr . ip saddr @bind4", "ip version 4"),
    "lost tablets are called": without("ip daddr @lost4 goto x_loan"),
    "lost tablets have no reason": without("ether saddr @lost_mac goto x_loan"),
    "tablets see one another": without("ip daddr @tablet_net4 goto x_isolation"),
    "everybody may call a tablet": instead("counter name c_inbound drop", "accept"),
    "refused is let through": pattern(r"(counter name c_\w+__deny) \w.*", r"\1 accept", all_=True),
    "withdrawn grants stay": without("flush set inet netguard grants"),
    "who may send no longer still may": without("flush set inet netguard bind4"),
    "refusals are another group's": pattern(r'(0x\w+) : "r_lobby__', r'\1 : "r_night__', all_=True),
    "a tablet gets another group's services": pattern(
        r": goto g_lobby\b", ": goto g_night", all_=True
    ),
    "everybody gets the time": pattern(r"meta mark \{ [^}]* \} accept", "accept"),
    "router advertisements are not seen": without("icmpv6 type nd-router-advert goto x_rogue_ra"),
    "a tablet may be a DHCP server": without("udp sport 67 goto x_rogue_dhcp"),
    "IPv6 is not looked at": without("meta nfproto ipv6 goto x_ipv6"),
    "another resolver is reached": without(
        "iifname @tablet_if meta l4proto { tcp, udp } th dport 53 fib daddr type != local "
        "counter name c_intercepted redirect"
    ),
    "something new begins in the grace": pattern(
        r"meta mark \w+ meta time != @fresh_\w+ goto x_hours", "", all_=True
    ),
    "a closed group may send": pattern(
        r"meta mark \w+ meta time != @open_\w+ goto x_hours", "", all_=True
    ),
    # Some policies give these groups no service.
    "what runs goes on for ever": lambda text: re.sub(
        r"(ct mark \{[^}]*\}) meta time @open_\w+ accept", r"\1 accept", text
    ),
    "connection tracking opens what is odd": instead("ct state new goto by_group", "goto by_group"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(bench, ends, small, fault):
    """The same packets for each fault, enough of them for the rarest one."""
    for seed in range(200):
        each = case(bench, ends, small(), seed, FAULTS[fault])
        each.play()
        if each.wrong:
            return
    raise AssertionError("nobody noticed")
