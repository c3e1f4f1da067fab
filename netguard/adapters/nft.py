"""The nft program: whole rulesets in one transaction, and what the kernel holds, read back.

For loads and audits only; single elements go through nfnetlink.py, 200 times faster. libnftables
is never loaded into a process of ours.
"""

import asyncio
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from netguard.errors import EnforcementError

TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Held:
    """What the kernel's table holds: names, counters, a digest of all that does not move, and all of it."""

    chains: tuple[str, ...]
    sets: tuple[tuple[str, str], ...]
    counters: dict[str, tuple[int, int]]
    digest: str
    rows: list[dict[str, Any]] = field(repr=False)


async def load(script: str) -> int:
    """Apply a script as one transaction, or nothing of it; returns the pid that did it.

    Raises EnforcementError with nft's words. The kernel names the pid in its news of the change,
    which is how our own changes are told from those of others.
    """
    _, pid = await _nft("-f", "-", script=script)
    return pid


async def check(script: str) -> None:
    """Let the kernel judge a script without applying it."""
    await _nft("-c", "-f", "-", script=script)


async def read(family: str, table: str, learned: frozenset[str]) -> Held | None:
    """Read our table back; None when it is not there. `learned` are the sets whose elements move."""
    if (family, table) not in await _tables():
        return None
    try:
        rows = await _list("table", family, table)
    except EnforcementError:
        if (family, table) in await _tables():
            raise
        # Somebody took it away between the two looks.
        return None
    chains = tuple(row["chain"]["name"] for row in rows if "chain" in row)
    sets = tuple(
        (kind, row[kind]["name"]) for row in rows for kind in ("set", "map") if kind in row
    )
    counters = {
        row["counter"]["name"]: (row["counter"]["packets"], row["counter"]["bytes"])
        for row in rows
        if "counter" in row
    }
    digest = await asyncio.to_thread(_digest, rows, learned)
    return Held(chains, sets, counters, digest, rows)


async def policies(family: str, table: str) -> dict[str, str] | None:
    """Return the policy of each chain of our table, empty for one without; None without the table.

    Asks for no element: a large table, which always has chains, costs as little as a small one.
    """
    # Not the list of tables: for that nft reads every element first.
    chains = [row["chain"] for row in await _list("chains", family) if "chain" in row]
    return {c["name"]: c.get("policy", "") for c in chains if c["table"] == table} or None


async def rules(family: str, table: str, chain: str) -> list[dict[str, Any]]:
    """Return the rules of one chain, as `nft -j` lists them."""
    rows = await _list("chain", family, table, chain)
    return [row["rule"] for row in rows if "rule" in row]


async def everything() -> list[dict[str, Any]]:
    """Return the whole ruleset of this network namespace, everybody's tables, as `nft -j` lists it."""
    return await _list("ruleset")


@dataclass(frozen=True, slots=True)
class Hook:
    """A base chain of somebody else's table, as nft(8) names its parts."""

    table: str
    chain: str
    type: str
    hook: str
    priority: int


async def foreign_tables(family: str, table: str) -> list[str]:
    """Return the tables that are not ours, as `family name`."""
    return [f"{f} {t}" for f, t in await _tables() if (f, t) != (family, table)]


async def foreign_hooks(family: str, table: str) -> list[Hook]:
    """Return the base chains of all tables but ours."""
    chains = [row["chain"] for row in await _list("chains") if "chain" in row]
    return [
        Hook(
            f"{chain['family']} {chain['table']}",
            chain["name"],
            chain["type"],
            chain["hook"],
            int(chain.get("prio", 0)),
        )
        for chain in chains
        if "hook" in chain and (chain["family"], chain["table"]) != (family, table)
    ]


async def _tables() -> list[tuple[str, str]]:
    rows = await _list("tables")
    return [(row["table"]["family"], row["table"]["name"]) for row in rows if "table" in row]


async def _list(*what: str) -> list[dict[str, Any]]:
    text, _ = await _nft("-j", "list", *what)
    rows: list[dict[str, Any]] = json.loads(text)["nftables"]
    return rows


def _digest(rows: list[dict[str, Any]], learned: frozenset[str]) -> str:
    """Digest what must not move: no handles, no counts, no elements that come and go by themselves."""
    still: list[str] = []
    rules: dict[str, list[str]] = {}
    for row in rows:
        for kind, body in row.items():
            if kind == "metainfo":
                continue
            moving = {"handle", "packets", "bytes"} | (
                {"elem"} if body.get("name") in learned else set()
            )
            kept = {key: value for key, value in body.items() if key not in moving}
            if "elem" in kept:
                kept["elem"] = sorted(kept["elem"], key=json.dumps)
            text = json.dumps({kind: kept}, sort_keys=True)
            if kind == "rule":
                # Order matters between the rules of one chain, and nowhere else.
                rules.setdefault(body["chain"], []).append(text)
            else:
                still.append(text)
    lines = [*sorted(still), *(text for chain in sorted(rules) for text in rules[chain])]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


async def _nft(*arguments: str, script: str | None = None) -> tuple[str, int]:
    try:
        process = await asyncio.create_subprocess_exec(
            "nft",
            *arguments,
            stdin=asyncio.subprocess.PIPE if script is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            # Moments of `meta time` are printed by the clock of a time zone: by the one without changes.
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "TZ": "UTC"},
        )
    except FileNotFoundError as error:
        raise EnforcementError(
            "the program nft is missing, install the package nftables"
        ) from error
    try:
        async with asyncio.timeout(TIMEOUT):
            out, err = await process.communicate(script.encode() if script is not None else None)
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise EnforcementError(f"nft did not end within {TIMEOUT:.0f} s") from error
    if process.returncode:
        words = err.decode(errors="replace").strip()
        if "Operation not permitted" in words:
            words = "needs CAP_NET_ADMIN: " + words.splitlines()[0]
        raise EnforcementError(f"nft: {words[:2000]}")
    return out.decode(), process.pid
