"""What it costs to bring a ruleset into the kernel: a whole plan, one changed tablet, one learned address.

10,000 tablets and 5,000 learned addresses, from the plan in memory to the kernel: CPU time of everything that
takes part (user and system, the loading process included), all candidates in turn in one run, in a network
namespace of their own. The limit is a batch of netlink messages packed by hand from the same elements; the
peers are the nft program for each element, and firewalld, where it is installed.
"""

import json
import os
import resource
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import textwrap
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from statistics import median
from typing import Any

from netguard.adapters import nfnetlink
from netguard.core.names import Mac
from netguard.core.netlinkwire import NESTED, attribute, generic, message, messages
from netguard.core.plan import Plan, compile_plan
from netguard.core.policy import Policy, Tablet
from netguard.render import filling, nft_names, nftables
from netguard.rules.folder import read_folder
from netguard.rules.load import load

ROOT = Path(__file__).parents[2]
TABLETS, LEARNED, ROUNDS, SINGLES = 10_000, 5_000, 7, 2_000
AIMS = {"whole load / packed by hand": (">=", 0.75), "one learned address, ms": ("<=", 0.05)}
SERVICE = "zoom"
# A message of netlink holds what 16 bits of length can say.
PER_MESSAGE = 500
NEWSETELEM, NLMSG_ERROR = (10 << 8) | 12, 2


def cpu() -> float:
    """Return the seconds of CPU that this process and all it has waited for have used."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime


def measured(what: Callable[[], object]) -> float:
    before = cpu()
    what()
    return cpu() - before


def timed(times: list[float], what: Callable[[], Any]) -> Any:
    before = cpu()
    done = what()
    times.append(cpu() - before)
    return done


def nft(text: str) -> None:
    done = subprocess.run(
        ["nft", "-f", "-"], input=text, text=True, capture_output=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr[:500])


# the plan


def hospital(count: int) -> Plan:
    """Return the example's policy at one site, with so many tablets."""
    loaded = load(read_folder(ROOT / "rules"), today=date(2026, 11, 22))
    assert loaded.policy is not None
    policy: Policy = loaded.policy
    site = replace(policy.sites["pellegrin"], networks=(ip_network("10.96.0.0/16"),))
    open_all_day = {name: replace(group, hours=None) for name, group in policy.groups.items()}
    tablets = {f"T-{n:05}": tablet(n) for n in range(count)}
    plan = compile_plan(
        replace(
            policy,
            sites={**policy.sites, "pellegrin": site},
            groups=open_all_day,
            tablets=tablets,
            allotted={},
            learned=replace(policy.learned, addresses_per_service=2 * LEARNED),
        ),
        ["pellegrin"],
    )
    assert len(plan.bindings) == count
    return plan


def tablet(number: int) -> Tablet:
    mac = Mac.parse(f"3c286d{number:06x}")
    address = IPv4Address("10.96.1.0") + number
    return Tablet(f"T-{number:05}", mac, "patients", ("pellegrin", "cardio-3"), address=address)


# by hand


def pack(plan: Plan) -> list[bytes]:
    """Pack the elements of the plan's large sets and of the learned ones."""
    interface = b"tab0".ljust(16, b"\0")
    rows = [
        (bytes.fromhex(str(b.mac).replace(":", "")), b.address.packed)
        for b in plan.bindings
        if b.address is not None
    ]
    number = group_number(plan)
    sets = {
        "tablets": [key(interface + mac.ljust(8, b"\0")) for mac, _ in rows],
        "bind4": [key(interface + mac.ljust(8, b"\0") + address) for mac, address in rows],
        "group_number": [key(mac) + nested(2, attribute(1, number)) for mac, _ in rows],
    }
    for name in nft_names.learned_sets_of(SERVICE, 4):
        sets[name] = [
            key(address.packed) + attribute(4, struct.pack("!Q", 600_000)) for address in learned()
        ]
    return [
        place(name) + nested(3, b"".join(nested(1, each) for each in part))
        for name, elements in sets.items()
        for part in parts(elements)
    ]


def nested(kind: int, data: bytes) -> bytes:
    return attribute(kind | NESTED, data)


def key(data: bytes) -> bytes:
    return nested(1, attribute(1, data))


def place(name: str) -> bytes:
    return generic(1, 0) + attribute(1, b"netguard\0") + attribute(2, name.encode() + b"\0")


def parts(elements: list[bytes]) -> Iterable[list[bytes]]:
    for at in range(0, len(elements), PER_MESSAGE):
        yield elements[at : at + PER_MESSAGE]


def group_number(plan: Plan) -> bytes:
    """Return the number that the renderer gives the tablets' group, as the kernel's mark."""
    text = nftables.render(plan)
    line = next(each for each in text.splitlines() if big(each) and " group_number " in each)
    return struct.pack("=I", int(line.split(" : ")[1].split(",")[0], 16))


def send(payloads: list[bytes]) -> None:
    """Commit one batch; raises when the kernel refuses any message."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as wire:
        # SO_SNDBUFFORCE and SO_RCVBUFFORCE: a batch in one send, and an error of each message.
        wire.setsockopt(socket.SOL_SOCKET, 32, 64 << 20)
        wire.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)
        wire.bind((0, 0))
        wire.settimeout(30)
        head = message(0x10, 1, 1, generic(0, 10))
        body = [message(NEWSETELEM, 0x401, 2 + n, each) for n, each in enumerate(payloads)]
        end = 2 + len(payloads)
        wire.send(head + b"".join(body) + message(0x11, 5, end, generic(0, 10)))
        while True:
            for kind, sequence, answer in messages(wire.recv(1 << 16)):
                code = struct.unpack_from("=i", answer)[0] if kind == NLMSG_ERROR else 0
                if code:
                    raise OSError(-code, f"message {sequence}: {os.strerror(-code)}")
                if sequence == end:
                    return


def learned() -> list[IPv4Address]:
    return [IPv4Address("198.18.0.0") + number for number in range(LEARNED)]


def learned_text() -> str:
    """Return the same learned elements for nft."""
    words = ", ".join(f"{address} timeout 600s" for address in learned())
    sets = nft_names.learned_sets_of(SERVICE, 4)
    return "".join(f"add element inet netguard {name} {{ {words} }}\n" for name in sets)


def held() -> dict[str, int]:
    """Return how many elements each set of the table holds: what was loaded is really there."""
    done = subprocess.run(
        ["nft", "-j", "list", "table", "inet", "netguard"], check=True, capture_output=True
    )
    rows = json.loads(done.stdout)["nftables"]
    return {
        row[kind]["name"]: len(row[kind].get("elem", []))
        for row in rows
        for kind in ("set", "map")
        if kind in row
    }


# the candidates


def inside(results: Path) -> None:
    """Measure all of nftables in this process' own namespace."""
    plan = hospital(TABLETS)
    frame = "\n".join(line for line in nftables.render(plan).splitlines() if not big(line)) + "\n"
    changed = replace(plan, bindings=plan.bindings[1:])
    difference = nftables.difference(changed, plan)
    assert difference
    kinds = ("render", "ours", "text", "nft", "pack", "hand", "one")
    times: dict[str, list[float]] = {name: [] for name in kinds}
    took: list[float] = []
    for _ in range(ROUNDS):
        nft("flush ruleset")
        script = timed(times["text"], lambda: nftables.render(plan) + learned_text())
        timed(times["nft"], lambda script=script: nft(script))
        ours = held()
        nft("flush ruleset")
        # As guard does where no table stands: the frame, then all tablets; names come from the proxy.
        made = timed(times["render"], lambda: (nftables.frame(plan), messages_of(plan)))
        timed(times["ours"], lambda made=made: (nft(made[0]), nfnetlink.fill(made[1])))
        assert held() == ours, "the same elements as nft loads"
        nft("flush ruleset")
        packed = timed(times["pack"], lambda: pack(plan))
        timed(times["hand"], lambda packed=packed: (nft(frame), send(packed)))
        assert held() == ours, "the same elements both ways"
        nft(nftables.render(changed) + learned_text())
        began = time.perf_counter()
        timed(times["one"], lambda: nft(difference))
        took.append(time.perf_counter() - began)
        assert held() == ours
    each = singles()
    body = {name: median(values) for name, values in times.items()}
    body |= {"one tablet, seconds": median(took), **each, "elements": sum(ours.values())}
    results.write_text(json.dumps(body))


def messages_of(plan: Plan) -> list[bytes]:
    """Return what guard and, for learned addresses, the name proxy send to a new table."""
    keys = [key(address.packed) + attribute(4, struct.pack("!Q", 600_000)) for address in learned()]
    names = nft_names.learned_sets_of(SERVICE, 4)
    return [
        *filling.messages(plan, nftables.ALWAYS),
        *(
            place(name) + nested(3, b"".join(nested(1, each) for each in part))
            for name in names
            for part in parts(keys)
        ),
    ]


def big(line: str) -> bool:
    names = ("tablets", "bind4", "group_number")
    return any(line.startswith(f"add element inet netguard {name} ") for name in names)


def singles() -> dict[str, float]:
    """Return the CPU seconds of one learned address, in the large table that stands."""
    sets = nft_names.learned_sets_of(SERVICE, 4)
    elements = nfnetlink.Elements(nft_names.TABLE)
    fresh = [IPv4Address("100.64.0.0") + number for number in range(SINGLES)]

    def add() -> None:
        for address in fresh:
            elements.renew(nfnetlink.Element(name, address.packed, 600_000) for name in sets)

    own = measured(add) / SINGLES
    elements.close()
    few = fresh[:20]

    def spawn() -> None:
        for address in few:
            words = [f"add element inet netguard {n} {{ {address} timeout 600s }}" for n in sets]
            nft("\n".join(words))

    return {"address": own, "address by nft": measured(spawn) / len(few)}


def firewalld() -> float | None:
    """Return the CPU seconds that firewalld needs to load 15,000 addresses; None where it is missing.

    With an own D-Bus and an own folder of configuration, inside the namespace.
    """
    program = shutil.which("firewalld")
    if program is None or shutil.which("dbus-daemon") is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        words = ["bash", "-c", FIREWALLD, folder, program]
        entries = [str(IPv4Address("10.96.1.0") + n) for n in range(TABLETS + LEARNED)]
        sets = Path(folder, "ipsets")
        sets.mkdir()
        body = "".join(f"<entry>{entry}</entry>" for entry in entries)
        (sets / "fleet.xml").write_text(f'<ipset type="hash:ip">{body}</ipset>')
        (Path(folder) / "zones").mkdir()
        (Path(folder) / "zones" / "public.xml").write_text(
            '<zone><rule><source ipset="fleet"/><accept/></rule></zone>'
        )
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    loaded = (done.stderr.split() or ["0"])[-1]
    if done.returncode or loaded != str(len(entries)):
        raise RuntimeError(f"firewalld: {loaded} addresses; {done.stderr.strip()[-400:]}")
    return int(done.stdout.split()[-1]) / os.sysconf("SC_CLK_TCK")


FIREWALLD = textwrap.dedent(r"""
    set -eu
    cat > "$0/bus.conf" <<END
    <busconfig><type>system</type><listen>unix:path=$0/bus</listen><auth>EXTERNAL</auth>
    <policy context="default"><allow user="*"/><allow own="*"/>
    <allow send_type="method_call"/><allow send_type="method_return"/>
    <allow send_type="signal"/><allow send_type="error"/>
    <allow receive_type="method_call"/><allow receive_type="method_return"/>
    <allow receive_type="signal"/><allow receive_type="error"/></policy></busconfig>
    END
    dbus-daemon --config-file="$0/bus.conf" --nofork & bus=$!
    trap 'kill $bus' EXIT
    export DBUS_SYSTEM_BUS_ADDRESS="unix:path=$0/bus"
    for _ in $(seq 100); do [ -S "$0/bus" ] && break; sleep 0.05; done
    "$1" --nofork --nopid --system-config "$0" >/dev/null 2>"$0/log" & wall=$!
    ticks() { sed 's/.*) //' "/proc/$wall/stat" | awk '{print $12 + $13}'; }
    before=-1
    # Ready when its table stands and it has had nothing to do for a second.
    for _ in $(seq 60); do
        sleep 1
        kill -0 $wall || { cat "$0/log" >&2; exit 1; }
        now=$(ticks)
        if [ "$now" = "$before" ] && nft list tables | grep -q firewalld; then break; fi
        before=$now
    done
    nft list set inet firewalld fleet | tr , '\n' | grep -c '10[.]9' >&2
    echo "$now"
    kill $wall && wait $wall || true
""").lstrip()


def main() -> int:
    """Run it all in one namespace and print what was measured."""
    if os.geteuid() != 0:
        sys.stderr.write("bench load needs root: it makes a network namespace\n")
        return 1
    name = f"ng-bench-{uuid.uuid4().hex[:8]}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        with tempfile.NamedTemporaryFile(suffix=".json") as results:
            words = [sys.executable, __file__, "--inside", results.name]
            subprocess.run(["ip", "netns", "exec", name, *words], check=True)
            found = json.loads(Path(results.name).read_text())
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)
    return report(found)


def report(found: dict[str, float | None]) -> int:
    """Print the figures, the aims and the JSON line."""
    ms = {key: value * 1000 for key, value in found.items() if value is not None}
    print(f"{found['elements']:.0f} elements, CPU time of all that takes part, median of {ROUNDS}")
    print(f"  packed by hand, one batch        {ms['pack']:8.1f} + {ms['hand']:.1f} ms")
    print(f"  ours, framed and filled          {ms['render']:8.1f} + {ms['ours']:.1f} ms")
    print(f"  ours, all of it by nft -f        {ms['text']:8.1f} + {ms['nft']:.1f} ms")
    print(f"  firewalld, 15,000 addresses      {shown(found.get('firewalld'))}")
    print(
        f"  one changed tablet, a difference {ms['one']:8.1f} ms CPU, {ms['one tablet, seconds']:.1f} ms"
    )
    print(f"  one learned address, ours        {ms['address']:8.4f} ms")
    print(f"  one learned address, nft program {ms['address by nft']:8.4f} ms")
    ratios = {
        "whole load / packed by hand": (found["pack"] + found["hand"])
        / (found["render"] + found["ours"]),
        "all by nft -f / packed by hand": (found["pack"] + found["hand"])
        / (found["text"] + found["nft"]),
        "one learned address, ms": ms["address"],
        "nft program / ours, one address": found["address by nft"] / found["address"],
        "one changed tablet, s": found["one tablet, seconds"],
    }
    if found.get("firewalld"):
        ratios["firewalld / ours, whole load"] = found["firewalld"] / (
            found["render"] + found["ours"]
        )
    for name, (way, aim) in AIMS.items():
        met = ratios[name] >= aim if way == ">=" else ratios[name] <= aim
        print(f"  aim: {name} {way} {aim}: {ratios[name]:.3f}{'' if met else ', MISSED'}")
    print(json.dumps({"bench": "load", "ratios": {k: round(v, 4) for k, v in ratios.items()}}))
    return 0


def shown(seconds: float | None) -> str:
    return "not installed" if seconds is None else f"{seconds * 1000:8.1f} ms"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        inside(Path(sys.argv[2]))
        body = json.loads(Path(sys.argv[2]).read_text())
        body["firewalld"] = firewalld()
        Path(sys.argv[2]).write_text(json.dumps(body))
    else:
        sys.exit(main())
