"""What could pass or change packets and stands in no listing of nft: named, so that a proof can say so.

Legacy iptables (/proc/net/*_tables_names), traffic control with filters (tc(8)), and XDP programs
(ip-link(8)), of the network namespace of this process.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

_LEGACY = ("ip_tables_names", "ip6_tables_names", "arp_tables_names")
_TIMEOUT = 20.0
_PLACES = ("ingress", "egress")


async def bypasses(proc: Path = Path("/proc/net")) -> list[str]:
    """Return a line for each; one that cannot be looked at is named, too."""
    found = [
        f"legacy {file.removesuffix('_names')}: {table}"
        for file in _LEGACY
        if (proc / file).exists()
        for table in (proc / file).read_text().split()
    ]
    links = await _asked("ip", "-json", "-details", "link", "show")
    if links is None:
        return [*found, "XDP and tc: 'ip link show' fails"]
    for link in links:
        name = link.get("ifname", "")
        if link.get("xdp"):
            found.append(f"an XDP program on {name}")
        found += await _filters(name)
    return found


async def _filters(link: str) -> list[str]:
    found = []
    for place in _PLACES:
        rows = await _asked("tc", "-json", "filter", "show", "dev", link, place)
        if rows is None:
            found.append(f"tc {place} of {link}: 'tc filter show' fails")
        elif rows:
            found.append(f"tc filters at the {place} of {link}")
    return found


async def _asked(*words: str) -> list[dict[str, Any]] | None:
    try:
        process = await asyncio.create_subprocess_exec(
            *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        out, _ = await asyncio.wait_for(process.communicate(), _TIMEOUT)
        rows: list[dict[str, Any]] = json.loads(out or b"[]")
    except (OSError, TimeoutError, ValueError):
        return None
    return None if process.returncode else rows
