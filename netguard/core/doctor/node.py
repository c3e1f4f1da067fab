"""The node itself, judged: processes, plan, kernel, files, clock. Facts come in as plain values.

What one fault brings along is said once: a proxy that is dead does not also count as a port that
nobody listens on, and what cannot be known without guard is `not checked`, by name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from netguard.core.doctor.findings import (
    Finding,
    failed,
    judged,
    listed,
    ok,
    unchecked,
    warning,
)

GUARD, DNS, WATCH, RADIUS = "NG-D101", "NG-D102", "NG-D103", "NG-D104"
DHCP, TIME, NAMES = "NG-D105", "NG-D106", "NG-D107"
PLAN, RULESET, BELT, SYSCTL, FOREIGN = "NG-D110", "NG-D111", "NG-D112", "NG-D113", "NG-D114"
CONNECTIONS, SETTINGS, SECRETS, EDITED = "NG-D115", "NG-D120", "NG-D121", "NG-D122"
DISK, STORES, CLOCK, CERTIFICATES = "NG-D123", "NG-D124", "NG-D125", "NG-D126"
PROGRAMS, FEEDS = "NG-D127", "NG-D128"

# A tablet in a call has some tens.
_CONNECTIONS = 50
_UNITS = {GUARD: "guard", DNS: "dns", WATCH: "watch"}
# What goes on without it, so that nobody pulls a cable in haste.
_MEANWHILE = {
    GUARD: "the kernel keeps the last plan, nothing new can be put into force",
    DNS: "no new name opens, calls that run go on",
    WATCH: "nobody tells of missing tablets, the event log waits to be read",
}


@dataclass(frozen=True, slots=True)
class Daemon:
    """One of our daemons: whether it answers, the process that holds its lock, and what it says."""

    answers: bool
    why: str = ""
    pid: int | None = None
    problems: tuple[str, ...] = ()


def daemon(code: str, seen: Daemon) -> list[Finding]:
    """Judge one of our daemons."""
    unit = f"netguard-{_UNITS[code]}"
    if seen.answers:
        wrong = [
            failed(code, problem, f"journalctl -u {unit} -n 50 says more")
            for problem in seen.problems
        ]
        return judged(code, wrong, f"answers, pid {seen.pid}" if seen.pid else "answers")
    if "try as root" in seen.why:
        return [unchecked(code, seen.why, "sudo netguard doctor")]
    if seen.pid is not None:
        text = f"does not answer although pid {seen.pid} runs: it hangs; {_MEANWHILE[code]}"
        return [failed(code, text, f"systemctl kill -s KILL {unit}; systemctl start {unit}")]
    text = f"does not run ({seen.why}); {_MEANWHILE[code]}"
    mend = f"systemctl restart {unit}; journalctl -u {unit} -n 50 says why it ended"
    return [failed(code, text, mend)]


@dataclass(frozen=True, slots=True)
class Port:
    """A port that has to be listened on: who should hold it, who does; `holder` empty: nobody."""

    address: str
    protocol: str
    number: int
    wanted: str
    holder: str = ""

    def __str__(self) -> str:
        return f"{self.protocol}/{self.number} of {self.address}"


@dataclass(frozen=True, slots=True)
class Server:
    """A server of the distribution with our configuration: its unit, its ports, and what it says."""

    program: str
    unit: str
    ports: tuple[Port, ...]
    trouble: tuple[str, ...] = ()


def server(code: str, seen: Server) -> list[Finding]:
    """Judge a server by the ports that it has to hold, and by what it or guard says of it."""
    silent = [port for port in seen.ports if not port.holder]
    strange = [port for port in seen.ports if port.holder and port.holder != port.wanted]
    wrong = []
    if silent and len(silent) == len(seen.ports):
        text = f"{seen.program} does not run: nobody listens on {listed(silent, 3)}"
        return [failed(code, text, f"systemctl restart {seen.unit}; journalctl -u {seen.unit}")]
    if silent:
        text = f"nobody listens on {listed(silent, 3)}, {seen.program} does not take it"
        wrong.append(
            failed(code, text, f"systemctl restart {seen.unit}; journalctl -u {seen.unit}")
        )
    for port in strange:
        text = f"{port} is held by {port.holder}, not by {port.wanted}"
        mend = f"ss -lnp 'sport = :{port.number}' names the process: stop it, restart {seen.unit}"
        wrong.append(failed(code, text, mend))
    wrong += [
        failed(code, trouble, f"systemctl restart {seen.unit}; journalctl -u {seen.unit}")
        for trouble in seen.trouble
    ]
    return judged(code, wrong, f"{seen.program} listens on {listed(seen.ports, 4)}")


@dataclass(frozen=True, slots=True)
class InForce:
    """What guard says of the plan: None for `number` while there is none."""

    number: int | None
    at: str = ""
    blocked: bool = False
    waiting_until: str = ""
    problems: tuple[str, ...] = ()
    # The plan that the name proxy answers from, where it answers.
    same_names: bool = True


def in_force(seen: InForce) -> list[Finding]:
    """Judge what is in force."""
    if seen.number is None and not seen.problems:
        text = "no plan is in force, the tablets' side is blocked"
        return [failed(PLAN, text, "netguard apply DIR")]
    wrong = []
    if seen.blocked:
        text = "the panic switch is pulled: nothing of the tablets passes"
        wrong.append(
            failed(PLAN, text, "netguard audit --since 1d says who; netguard fence restore")
        )
    wrong += [
        failed(PLAN, problem, "netguard status; mend what it names, guard tries again by itself")
        for problem in seen.problems
    ]
    if not seen.same_names:
        text = "the name proxy answers from another plan than the one in force"
        wrong.append(failed(PLAN, text, "systemctl restart netguard-dns"))
    waiting = f", rolls back at {seen.waiting_until} unless confirmed" if seen.waiting_until else ""
    return judged(PLAN, wrong, f"plan {seen.number} since {seen.at}{waiting}")


@dataclass(frozen=True, slots=True)
class Table:
    """Our table as it was read: `there` False where the kernel has none, `faults` against the plan."""

    there: bool
    forward_drops: bool = True
    faults: tuple[str, ...] = ()
    # What guard says: a change by somebody else that it could not repair.
    unrepaired: str = ""
    repaired: int = 0
    last: str = ""


def table(seen: Table) -> list[Finding]:
    """Judge whether the kernel holds the plan."""
    again = "netguard rollback and apply again, or systemctl restart netguard-guard: it loads the plan anew"
    if not seen.there:
        text = "the kernel has no table 'inet netguard'; the belt alone holds tablets back"
        return [failed(RULESET, text, "systemctl restart netguard-guard")]
    wrong = []
    if not seen.forward_drops:
        text = "the chain 'forward' of our table does not drop what no rule accepts"
        wrong.append(failed(RULESET, text, again))
    if seen.faults:
        text = f"the table is not that of the plan: {listed(seen.faults, 3)}"
        wrong.append(failed(RULESET, text, again))
    if seen.unrepaired:
        text = f"somebody changed the ruleset and guard could not repair it: {seen.unrepaired}"
        wrong.append(failed(RULESET, text, again))
    past = f"; changed by others {seen.repaired} times and repaired, last: {seen.last}"
    return judged(RULESET, wrong, f"as the plan says{past if seen.repaired else ''}")


def belt(wanted: Sequence[tuple[str, str]], held: Sequence[tuple[str, str]]) -> list[Finding]:
    """Judge the routing rules that refuse what has not passed our table: (family, interface)."""
    missing = [f"{family} for {name}" for family, name in wanted if (family, name) not in held]
    if missing:
        text = f"routing rules are missing: {listed(missing)}; an empty nftables would be open"
        return [failed(BELT, text, "systemctl restart netguard-guard; 'ip rule' shows pref 10")]
    return [ok(BELT, f"{len(wanted)} routing rules at pref 10")]


@dataclass(frozen=True, slots=True)
class Wanted:
    """One kernel setting: what it must be, or at least be, and what follows where it is not."""

    path: str
    value: int
    least: bool
    why: str


def sysctls(held: Mapping[str, int | None], wanted: Sequence[Wanted]) -> list[Finding]:
    """Judge kernel settings; what this kernel or namespace does not show is passed over."""
    wrong = []
    for each in wanted:
        found = held.get(each.path)
        if found is None or found == each.value or (each.least and found >= each.value):
            continue
        name = each.path.replace("/", ".")
        needed = f"at least {each.value}" if each.least else str(each.value)
        text = f"{name} is {found}, not {needed}: {each.why}"
        wrong.append(failed(SYSCTL, text, f"sysctl -w {name}={each.value}"))
    seen = sum(held.get(each.path) is not None for each in wanted)
    return judged(SYSCTL, wrong, f"{seen} settings as they must be")


def connections(used: int | None, most: int | None, tablets: int) -> list[Finding]:
    """Judge the room for connections."""
    if used is None or most is None:
        return [unchecked(CONNECTIONS, "this kernel shows no connection tracking")]
    if used * 10 >= most * 9:
        text = f"{used} of {most} connections are in use: new ones are dropped soon"
        mend = f"sysctl -w net.netfilter.nf_conntrack_max={most * 2}; netguard denials names floods"
        return [failed(CONNECTIONS, text, mend)]
    needed = tablets * _CONNECTIONS
    if most < needed:
        text = f"room for {most} connections, {tablets} tablets may need {needed}"
        return [warning(CONNECTIONS, text, f"sysctl -w net.netfilter.nf_conntrack_max={needed}")]
    return [ok(CONNECTIONS, f"{used} of {most} in use")]


def foreign(rows: Sequence[tuple[str, str]]) -> list[Finding]:
    """Judge tables of others: (what, why it matters), the second empty where it does not."""
    wrong = [
        warning(
            FOREIGN,
            f"{what} {why}",
            f"remove what loads it (firewalld, ufw, docker), then: nft delete table {what.split(',')[0]}",
        )
        for what, why in rows
        if why
    ]
    quiet = [what for what, why in rows if not why]
    return judged(FOREIGN, wrong, f"none that matters{': ' + listed(quiet) if quiet else ''}")


@dataclass(frozen=True, slots=True)
class Secret:
    """One file that nobody else may read: `problem` empty when all is well with it."""

    path: str
    problem: str
    mend: str


def secrets(seen: Sequence[Secret]) -> list[Finding]:
    """Judge files of secrets."""
    wrong = [failed(SECRETS, f"{s.path}: {s.problem}", s.mend) for s in seen if s.problem]
    return judged(SECRETS, wrong, f"{len(seen)} files, readable by those who need them alone")


def edited(folder: str, differs: bool | None) -> list[Finding]:
    """Judge the edited folder against what is in force; None: it cannot be read."""
    if differs is None:
        return [ok(EDITED, f"{folder or 'the folder that was applied'} cannot be read from here")]
    if differs:
        text = f"{folder} was edited and not applied"
        return [warning(EDITED, text, f"netguard plan {folder}; netguard apply {folder}")]
    return [ok(EDITED, f"{folder} is what is in force")]


@dataclass(frozen=True, slots=True)
class Disk:
    """One folder: bytes free of how many, inodes free of how many, and whether it can be written."""

    path: str
    free: int
    size: int
    inodes: int
    inodes_of: int
    read_only: bool = False


def disks(seen: Sequence[Disk]) -> list[Finding]:
    """Judge the room that is left: below 64 MiB or 2 % it fails, below 10 % it is worth a look."""
    wrong = []
    for disk in seen:
        mend = f"du -xsh {disk.path}/* | sort -h; make room, or grow the file system"
        left = f"{disk.free >> 20} MiB of {disk.size >> 20} MiB"
        if disk.read_only:
            text = f"{disk.path} is read only: nothing is stored, accounting waits in the NAS"
            wrong.append(failed(DISK, text, f"dmesg | tail; mount -o remount,rw {disk.path}"))
        elif disk.free < 64 << 20 or disk.free * 50 < disk.size:
            text = f"{disk.path} is full: {left} left; FreeRADIUS refuses accounting without room"
            wrong.append(failed(DISK, text, mend))
        elif disk.inodes_of and disk.inodes * 50 < disk.inodes_of:
            text = f"{disk.path} has {disk.inodes} of {disk.inodes_of} inodes left"
            wrong.append(failed(DISK, text, mend))
        elif disk.free * 10 < disk.size:
            wrong.append(warning(DISK, f"{disk.path} has {left} left", mend))
    return judged(DISK, wrong, listed(f"{d.path} {d.free >> 20} MiB free" for d in seen))


def stores(seen: Mapping[str, str], told: Sequence[str]) -> list[Finding]:
    """Judge databases: what is wrong with each by path, and what the daemons say of them."""
    mend = "netguard restore DIR brings a backup back, while guard and watch do not run"
    wrong = [failed(STORES, f"{path}: {why}", mend) for path, why in seen.items() if why]
    room = "df -h; netguard status has the words of the database"
    wrong += [failed(STORES, text, room) for text in told]
    return judged(STORES, wrong, f"{len(seen)} databases read and sound")


@dataclass(frozen=True, slots=True)
class Clock:
    """What keeps the clock: whether the kernel's is synchronised, what our chronyd answers.

    `stratum` None: chronyd gave no answer; 10 is its own clock (render/ntp.py). `error` in seconds.
    """

    kernel: bool
    stratum: int | None
    servers: int
    error: float = 0.0


def clock(seen: Clock) -> list[Finding]:
    """Judge whether somebody keeps our clock right: hours, alerts and CoA depend on it."""
    if seen.stratum is not None and 0 < seen.stratum < 10:
        return [ok(CLOCK, f"synchronised by chronyd, stratum {seen.stratum}")]
    if seen.kernel:
        return [ok(CLOCK, f"synchronised, at most {seen.error:.3f} s off")]
    if not seen.servers:
        text = "the clock follows nobody: no time.servers in the rules, no other service sets it"
        return [warning(CLOCK, text, "name the hospital's clocks: time: {servers: [...]}, apply")]
    if seen.stratum is None:
        return [unchecked(CLOCK, "chronyd does not answer, the kernel's clock is not synchronised")]
    text = "chronyd has no answer from any of its time servers, the clock runs freely"
    return [warning(CLOCK, text, "see NG-D208: the time servers, or the firewall before them")]


def certificates(seen: Mapping[str, float | str]) -> list[Finding]:
    """Judge certificates: days until each ends, or why it cannot be read."""
    wrong = []
    for path, days in seen.items():
        mend = f"renew {path}, then restart what reads it"
        if isinstance(days, str):
            wrong.append(failed(CERTIFICATES, f"{path}: {days}", mend))
        elif days <= 0:
            wrong.append(failed(CERTIFICATES, f"{path} ended {-days:.0f} days ago", mend))
        elif days < 14:
            wrong.append(warning(CERTIFICATES, f"{path} ends in {days:.0f} days", mend))
    first = min((d for d in seen.values() if isinstance(d, float)), default=None)
    text = (
        "none in use" if first is None else f"{len(seen)} files, the first ends in {first:.0f} days"
    )
    return judged(CERTIFICATES, wrong, text)


# The first versions that we have seen do what we need, and the one that is another program by then.
_VERSIONS = {"nft": ((1, 0, 2), (2,)), "freeradius": ((3, 2), (3, 3))}
_PACKAGES = {"nft": "nftables", "freeradius": "freeradius"}


def programs(seen: Mapping[str, tuple[int, ...] | None]) -> list[Finding]:
    """Judge the versions of programs; None: not there. An empty version could not be read."""
    wrong = []
    for program, (least, below) in _VERSIONS.items():
        version = seen.get(program)
        package = _PACKAGES[program]
        if version is None:
            text = f"the program {program} is missing"
            wrong.append(failed(PROGRAMS, text, f"apt install {package}"))
        elif version and not least <= version < below:
            wanted = f"{_dotted(least)} or later, below {_dotted(below)}"
            text = f"{program} is {_dotted(version)}, netguard is tried with {wanted}"
            wrong.append(warning(PROGRAMS, text, f"apt install {package} of Debian 12 or 13"))
    known = [f"{name} {_dotted(version)}" for name, version in seen.items() if version]
    return judged(PROGRAMS, wrong, listed(known))


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def feeds(seen: Mapping[str, tuple[bool, str, float | None]]) -> list[Finding]:
    """Judge the feeds of watch: (stale, last heard, how many seconds its clock is behind)."""
    wrong = []
    for feed, (stale, heard, skew) in seen.items():
        if stale:
            text = f"'{feed}' is silent since {heard or 'the start'}: its tablets are unreachable, none is missing"
            mend = "does its sender still send here? netguard doctor radius --for 2m"
            wrong.append(warning(FEEDS, text, mend))
        elif skew is not None and abs(skew) > 60:
            text = f"the clock of '{feed}' is {abs(skew):.0f} s {'behind' if skew > 0 else 'ahead'}"
            wrong.append(
                warning(FEEDS, text, "set NTP on it; what is over 10 minutes old is no evidence")
            )
    return judged(FEEDS, wrong, f"{len(seen)} feeds are heard" if seen else "none was heard yet")
