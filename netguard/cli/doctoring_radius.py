"""doctor radius: what the NASes really send, and which setting to change on which product."""

import argparse
import sys

from netguard.adapters import clock
from netguard.adapters.files import Copies
from netguard.cli import folders
from netguard.cli.doctoring import report
from netguard.core.doctor import nas
from netguard.core.doctor.heard import Ear, Neighbours
from netguard.core.doctor.nas import Probe
from netguard.core.plan import Plan, compile_plan
from netguard.daemon.doctor import radius as hearing
from netguard.errors import NetguardError, UsageError
from netguard.rules.findings import errors
from netguard.rules.folder import read_folder
from netguard.rules.load import load
from netguard.settings import Settings

LONGEST = 24 * 3600.0


def radius(arguments: argparse.Namespace) -> int:
    """Listen, or read a capture; 0 when all was checked and is well, 1 when not."""
    if (arguments.within is None) == (arguments.pcap is None):
        raise UsageError("say how long to listen, --for 10m, or which capture to read, --pcap FILE")
    begin = clock.monotonic()
    live = arguments.pcap is None
    # Live, the message says which settings file is missing: only a node can be listened on.
    node = folders.settings(arguments) if live else folders.settings_if_any(arguments)
    plan = _plan(arguments, node)
    clients = hearing.clients(plan, node.paths.radius_secrets if node else None, arguments.nas)
    names = hearing.tablets(plan)
    ear, neighbours = Ear(clients), Neighbours(names)
    probes: dict[str, Probe] = {}
    if live:
        _listen(arguments, ear, neighbours, plan)
        probes = {} if arguments.no_probe else hearing.probe(clients)
    else:
        hearing.read(ear, neighbours, arguments.pcap, _share)
    found = nas.judge(ear, probes, neighbours, names)
    if ear.unread:
        sys.stderr.write(f"{ear.unread} packets of RADIUS ports are no RADIUS\n")
    about = node.node if node is not None and live else str(arguments.pcap)
    return report(arguments, found, about, clock.monotonic() - begin)


def _listen(arguments: argparse.Namespace, ear: Ear, neighbours: Neighbours, plan: Plan) -> None:
    seconds = folders.seconds(arguments.within, "--for")
    if not 1 <= seconds <= LONGEST:
        raise UsageError(f"--for {arguments.within}: write a span from 1s to 24h")
    interfaces = [name for site in plan.sites for name in site.interfaces]
    lost = hearing.listen(ear, neighbours, interfaces, seconds, _Progress(ear, seconds))
    if lost:
        sys.stderr.write(
            f"{lost} packets came faster than they could be read: counts are too low\n"
        )


def _plan(arguments: argparse.Namespace, node: Settings | None) -> Plan:
    """Compile the rules that are meant: those named, those in force, or the folder here."""
    current = Copies(node.paths.state).current() if node is not None else None
    if arguments.rules is None and current is not None:
        applied, path = current
        folder = read_folder(path, applied.name)
    else:
        arguments.folder = arguments.rules
        folder = read_folder(folders.rules_path(arguments))
    loaded = load(folder, today=clock.today(), allow_empty=True)
    if loaded.policy is None:
        listed = "\n".join(finding.render() for finding in errors(loaded.findings)[:5])
        raise NetguardError(f"these rules have errors, 'netguard check' lists them all:\n{listed}")
    served = (
        node.sites if node is not None and arguments.rules is None else sorted(loaded.policy.sites)
    )
    return compile_plan(loaded.policy, served)


def _share(read: float) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{read:4.0%} read; Ctrl-C ends it with what was read\033[K\r")
        sys.stderr.flush()


class _Progress:
    """One line that is written over, on a terminal; nothing elsewhere."""

    def __init__(self, ear: Ear, seconds: float) -> None:
        self._ear, self._seconds = ear, seconds
        self._shown = sys.stderr.isatty()

    def __call__(self, past: float) -> None:
        if not self._shown:
            return
        heard = self._ear.heard.values()
        asked = sum(each.counts["requests"] for each in heard)
        told = sum(each.counts["accounting"] for each in heard)
        sys.stderr.write(
            f"\r{past:4.0f} of {self._seconds:.0f} s: {asked} requests, {told} accounting records, "
            f"{len(self._ear.unknown)} unknown senders; Ctrl-C ends it with what was heard\033[K"
        )
        if past + 1 > self._seconds:
            sys.stderr.write("\n")
        sys.stderr.flush()
