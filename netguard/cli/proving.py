"""prove: whether a plan, or what is loaded, keeps what the rules promise, as a dated file to keep."""

import argparse
import asyncio
import datetime
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from netguard import __version__
from netguard.adapters import bypasses, files, nft
from netguard.cli import folders
from netguard.cli.testing import sound
from netguard.core.loaded import listing
from netguard.core.loaded import proof as loaded
from netguard.core.plan import Plan, compile_plan
from netguard.core.policy import Policy
from netguard.core.proof import ASSUMED, Claim, notes
from netguard.core.proof import prove as decide
from netguard.errors import NetguardError, UsageError
from netguard.render import nftables
from netguard.render.nft_names import TABLE
from netguard.rules.folder import Folder


def prove(arguments: argparse.Namespace) -> int:
    """Prove; 0 when every claim holds, 1 when one is refuted or not proven."""
    folder: Folder = folders.rules_folder(arguments)
    _, policy = sound(folder, arguments)
    node = folders.settings_if_any(arguments)
    plan = compile_plan(policy, node.sites if node is not None else sorted(policy.sites))
    today = folders.today(arguments)
    if arguments.live or arguments.ruleset is not None:
        rows, strange = _loaded(arguments)
        claims = _of_loaded(policy, plan, rows, strange)
        ruleset = sha256(_settled(rows).encode()).hexdigest()
        taken: tuple[str, ...] = loaded.ASSUMED
        about = "loaded"
    else:
        claims = decide(policy, plan)
        ruleset = sha256(nftables.render(plan).encode()).hexdigest()
        taken, about = ASSUMED, "plan"
    body = {
        "date": today.isoformat(),
        "organisation": policy.organisation,
        "netguard": __version__,
        "proved": all(claim.holds for claim in claims),
        "sites": [site.name for site in plan.sites],
        "tablets": len({binding.tablet for binding in plan.bindings}),
        "rules": folder.digest,
        "plan": plan.digest,
        "ruleset": ruleset,
        "about": about,
        "claims": [{**asdict(claim), "outcome": claim.outcome.lower()} for claim in claims],
        "notes": list(notes(plan, taken)),
    }
    text = _text(body, claims)
    if arguments.out is not None:
        _keep(arguments.out, today, body, text)
    if arguments.json:
        sys.stdout.write(json.dumps(body, indent=1) + "\n")
    else:
        sys.stdout.write(text)
    wrong = sum(not claim.holds for claim in claims)
    open_ = sum(claim.unproven for claim in claims)
    unproven = f", {open_} not proven" if open_ else ""
    sys.stderr.write(f"{len(claims) - wrong} proved, {wrong - open_} refuted{unproven}\n")
    return 1 if wrong else 0


def _loaded(arguments: argparse.Namespace) -> tuple[list[dict[str, Any]], list[str]]:
    """Return what the kernel holds, or a saved listing of it, and what stands in no listing."""
    if arguments.ruleset is None:
        # Reading the kernel's tables needs CAP_NET_ADMIN; nft says so itself.
        return asyncio.run(nft.everything()), asyncio.run(bypasses.bypasses())
    try:
        rows: list[dict[str, Any]] = json.loads(arguments.ruleset.read_text())["nftables"]
    except OSError as error:
        raise UsageError(f"{arguments.ruleset}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{arguments.ruleset}: not what 'nft -j list ruleset' prints; save that to the file"
        ) from error
    return rows, ["tc, XDP and legacy tables: a saved listing does not show them"]


def live(policy: Policy, plan: Plan) -> tuple[Claim, ...]:
    """Prove what the kernel holds now, everybody's tables."""
    rows, strange = asyncio.run(nft.everything()), asyncio.run(bypasses.bypasses())
    return _of_loaded(policy, plan, rows, strange)


def _of_loaded(
    policy: Policy, plan: Plan, rows: list[dict[str, Any]], strange: list[str]
) -> tuple[Claim, ...]:
    learned = nftables.learned_sets(plan)
    try:
        return loaded.prove(policy, plan, listing.read(rows), TABLE, learned, strange)
    except (KeyError, ValueError, TypeError, AttributeError, IndexError, RecursionError) as error:
        # A listing of a kernel or an nft to come: what cannot be read is never proved.
        raise NetguardError(f"the listed ruleset is not understood: {error!r}") from error


def _settled(rows: list[dict[str, Any]]) -> str:
    """Return the listing without what moves by itself: handles, counts, ends of elements."""
    moving = {"handle", "packets", "bytes", "expires", "metainfo"}

    def still(value: Any) -> Any:  # noqa: ANN401  # whatever nft prints
        if isinstance(value, dict):
            return {key: still(each) for key, each in value.items() if key not in moving}
        return [still(each) for each in value] if isinstance(value, list) else value

    return json.dumps(still(rows), sort_keys=True)


def _keep(folder: Path, today: datetime.date, body: dict[str, Any], text: str) -> None:
    """Write both files; a hash of what was proved is in the name, so that no proof replaces another's."""
    of = body["ruleset" if body["about"] == "loaded" else "plan"]
    name = f"proof-{'live-' if body['about'] == 'loaded' else ''}{today.isoformat()}-{of[:12]}"
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
        f"ruleset  sha256 {body['ruleset']}{', as loaded' if body['about'] == 'loaded' else ''}",
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
