"""prove: whether a plan keeps what the rules promise, as a dated file that can be kept."""

import argparse
import datetime
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from netguard import __version__
from netguard.adapters import files
from netguard.cli import folders
from netguard.cli.testing import sound
from netguard.core.plan import compile_plan
from netguard.core.proof import Claim, notes
from netguard.core.proof import prove as decide
from netguard.render import nftables
from netguard.rules.folder import Folder


def prove(arguments: argparse.Namespace) -> int:
    """Prove; 0 when every claim holds, 1 when one is refuted."""
    folder: Folder = folders.rules_folder(arguments)
    _, policy = sound(folder, arguments)
    node = folders.settings_if_any(arguments)
    plan = compile_plan(policy, node.sites if node is not None else sorted(policy.sites))
    claims = decide(policy, plan)
    today = folders.today(arguments)
    body = {
        "date": today.isoformat(),
        "organisation": policy.organisation,
        "netguard": __version__,
        "proved": all(claim.holds for claim in claims),
        "sites": [site.name for site in plan.sites],
        "tablets": len({binding.tablet for binding in plan.bindings}),
        "rules": folder.digest,
        "plan": plan.digest,
        "ruleset": sha256(nftables.render(plan).encode()).hexdigest(),
        "claims": [asdict(claim) for claim in claims],
        "notes": list(notes(plan)),
    }
    text = _text(body, claims)
    if arguments.out is not None:
        _keep(arguments.out, today, body, text)
    if arguments.json:
        sys.stdout.write(json.dumps(body, indent=1) + "\n")
    else:
        sys.stdout.write(text)
    wrong = sum(not claim.holds for claim in claims)
    sys.stderr.write(f"{len(claims) - wrong} proved, {wrong} refuted\n")
    return 1 if wrong else 0


def _keep(folder: Path, today: datetime.date, body: dict[str, Any], text: str) -> None:
    """Write both files; the hash of the plan is in the name, so that no proof replaces another's."""
    name = f"proof-{today.isoformat()}-{body['plan'][:12]}"
    files.write(folder / f"{name}.json", json.dumps(body, indent=1) + "\n")
    files.write(folder / f"{name}.txt", text)
    sys.stderr.write(f"kept as {folder / name}.json and .txt\n")


def _text(body: dict[str, Any], claims: Sequence[Claim]) -> str:
    lines = [
        f"{body['organisation']}: what no tablet does, and what each group does; {body['date']}, "
        f"netguard {body['netguard']}",
        f"{body['tablets']} tablets at {', '.join(body['sites'])}",
        f"rules    sha256 {body['rules']}",
        f"plan     sha256 {body['plan']}",
        f"ruleset  sha256 {body['ruleset']}",
        "",
    ]
    for claim in claims:
        lines.append(str(claim))
        packet = claim.packet
        if packet is not None:
            port = f"/{packet.port}" if packet.protocol in {"tcp", "udp"} else ""
            lines.append(
                f"    {packet.tablet or packet.group} {packet.mac} {packet.source} -> "
                f"{packet.destination} {packet.protocol}{port} ({packet.state}), at {packet.site}"
            )
            lines.append(f"    passes: {', '.join(packet.rules)}")
    lines += ["", *body["notes"]]
    return "\n".join(lines) + "\n"
