"""Names: questions per CPU-second and first packets that pass, ours beside dnsmasq and unbound.

All in namespaces of their own, interleaved in one run; the CPU time of the server's threads, every answer
checked; 1,000 names, 40 outstanding. Then the added latency at 500 questions a second, and for each server
how many first packets pass that follow the answers of fresh names at once. One JSON line at the end holds
the ratios. Aims: without a cache at least 2.5 times dnsmasq with nftset and no less than dnsmasq without,
with a cache at least 4 times the former. At the end what `sni: strict` costs a call: a connection through
HAProxy beside a direct one, and HAProxy's CPU time for it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

from field import GATEWAY, RESOLVER, Field, cpu_of, plan_of, strict

NAMES, EACH, ROUNDS, PAIRS = 1000, 8000, 5, 4
FRESH = 300
CLOSE = ("no_cache", "dnsmasq")
CALLS, CALL_ROUNDS = 200, 5
AIMS = {"no_cache/dnsmasq_nftset": 2.5, "no_cache/dnsmasq": 1.0, "cache/dnsmasq_nftset": 4.0}
DNSMASQ = (
    "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--cache-size=0",
    "--user=root", "--pid-file=", "--dns-forward-max=2000", f"--server={RESOLVER}", f"--listen-address={GATEWAY}",
    "--bind-interfaces",
)  # fmt: skip
UNBOUND = f"""server:
  interface: {GATEWAY}
  access-control: 0.0.0.0/0 allow
  num-threads: 1
  do-daemonize: no
  use-syslog: no
  username: ""
  chroot: ""
  pidfile: ""
  module-config: "iterator"
  do-ip6: no
  msg-cache-size: 0
  rrset-cache-size: 0
forward-zone:
  name: "."
  forward-addr: {RESOLVER}
remote-control:
  control-enable: no
"""


class Candidate:
    """One server with its namespaces."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.field = Field(plan_of(cache=name == "cache"), 2).__enter__()
        self.rates: list[float] = []
        try:
            self.process = self._start()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self.field.__exit__()

    def _start(self) -> "subprocess.Popen[str]":
        if self.name in {"cache", "no_cache"}:
            return self.field.proxy()
        if self.name == "unbound":
            path = self.field.folder / "unbound.conf"
            path.write_text(UNBOUND)
            command = ["unbound", "-d", "-c", str(path)]
        else:
            command = [*DNSMASQ]
            if self.name == "dnsmasq_nftset":
                # Both sets that a learned address is in, as ours does.
                sets = ",".join(f"4#inet#netguard#{name}" for name in ("s_zoom_dns4", "learned4"))
                command.append(f"--nftset=/names.example/{sets}")
        process = self.field.start(self.field.gw, *command)
        self.field.answering(process)
        return process

    def round(self) -> None:
        """Ask for the same names again: after the first round ours remembers what the kernel has."""
        before = cpu_of(self.process.pid)
        seen = self.field.load(0, "load", GATEWAY, str(NAMES), str(EACH))
        if seen["wrong"]:
            sys.exit(f"{self.name}: {seen['wrong']} wrong answers")
        self.rates.append(EACH / (cpu_of(self.process.pid) - before))


def main() -> None:
    if os.geteuid():
        sys.exit("bench dns makes network namespaces: run it as root")
    found: list[Candidate] = []
    try:
        for name in ("cache", "no_cache", "dnsmasq", "dnsmasq_nftset", "unbound"):
            found.append(Candidate(name))  # noqa: PERF401  # what is up is taken down again
        for number in range(ROUNDS + 1):
            for candidate in found:
                candidate.round()
                if number == 0:
                    # Fresh names, kernel adds included; shown beside the others.
                    candidate.fresh = candidate.rates.pop()  # type: ignore[attr-defined]
            if number:
                # The closest ratio is measured in more turns, of both sides alike.
                for candidate in [c for c in found if c.name in CLOSE] * (PAIRS - 1):
                    candidate.round()
        rows = {c.name: _measured(c) for c in found}
    finally:
        for candidate in found:
            candidate.close()
    print(
        f"{NAMES} names, {EACH} questions a round, {ROUNDS} rounds, {ROUNDS * PAIRS} of ours without a cache and dnsmasq in turns; q/CPU-s, of fresh names, ms at 500 q/s, first packets"
    )
    for name, row in rows.items():
        print(
            f"  {name:16} {row['rate']:8.0f} {row['fresh']:8.0f}   p50 {row['p50_ms']:.3f} p99 {row['p99_ms']:.3f}"
            f"   {row['passed']} of {row['sent']}"
        )
    rates = {candidate.name: candidate.rates for candidate in found}
    ratios = {key: _ratio(rates, *key.split("/")) for key in (*AIMS, "no_cache/unbound")}
    cost = server_name_cost()
    print(
        f"sni: strict: a connection in {cost['strict_ms']} ms, direct {cost['direct_ms']} ms (p50);"
        f" HAProxy's CPU {cost['haproxy_us']} us each"
    )
    line = {
        "bench": "dns",
        "server_name": cost,
        "ratios": ratios,
        "rows": rows,
        "aims": AIMS,
        "within_aim": all(ratios[key] >= aim for key, aim in AIMS.items()),
    }
    print(json.dumps(line))


def server_name_cost() -> dict[str, float]:
    """Open connections with a TLS hello through HAProxy and past it, in turns."""
    name = "n1.names.example"
    direct, checked = [], []
    with Field(plan_of(), 1) as loose, Field(strict(plan_of()), 1) as closed:
        loose.proxy()
        closed.proxy()
        haproxy = closed.haproxy()
        family = [
            int(p)
            for p in Path(f"/proc/{haproxy.pid}/task/{haproxy.pid}/children").read_text().split()
        ]
        before = sum(map(cpu_of, family))
        for _ in range(CALL_ROUNDS):
            direct.append(loose.load(0, "call", GATEWAY, name, str(CALLS), name))
            checked.append(closed.load(0, "call", GATEWAY, name, str(CALLS), name))
        used = sum(map(cpu_of, family)) - before
    lost = [c["passed"] for c in (*direct, *checked) if c["passed"][name] != CALLS]
    if lost:
        sys.exit(f"sni: connections were lost: {lost}")
    return {
        "direct_ms": median(c["p50_ms"] for c in direct),
        "strict_ms": median(c["p50_ms"] for c in checked),
        "haproxy_us": round(used / (CALL_ROUNDS * CALLS) * 1e6),
    }


def _ratio(rates: dict[str, list[float]], one: str, other: str) -> float:
    """The middle of the ratios of neighbouring turns where both had the same; else the ratio of the middles."""
    ours, theirs = rates[one], rates[other]
    if len(ours) == len(theirs):
        return round(median(a / b for a, b in zip(ours, theirs, strict=True)), 2)
    return round(median(ours) / median(theirs), 2)


def _measured(candidate: Candidate) -> dict[str, float]:
    even = candidate.field.load(0, "load", GATEWAY, str(NAMES), "1500", "--rate", "500")
    first = candidate.field.load(1, "first", GATEWAY, "fresh", str(FRESH))
    return {
        "rate": round(median(candidate.rates)),
        "fresh": round(candidate.fresh),  # type: ignore[attr-defined]
        "p50_ms": even["p50_ms"],
        "p99_ms": even["p99_ms"],
        "passed": first["tcp"] + first["udp"],
        "sent": first["asked"],
    }


if __name__ == "__main__":
    main()
