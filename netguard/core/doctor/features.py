"""What our ruleset needs of a kernel, each by a script that `nft -c` lets the kernel judge and not load. Data."""

from collections.abc import Mapping, Sequence

from netguard.core.doctor.findings import Finding, failed, listed, ok

CODE = "NG-D116"
_TABLE = "inet netguard_doctor"


def _script(*blocks: str) -> str:
    lines = "\n".join(blocks)
    return f"table {_TABLE} {{\n{lines}\n}}\n"


def _forward(rule: str = "") -> str:
    return f"chain f {{\ntype filter hook forward priority 0; policy accept;\n{rule}\n}}"


def _nat(hook: str, priority: str, rule: str) -> str:
    return f"chain n {{\ntype nat hook {hook} priority {priority};\n{rule}\n}}"


def _named(kind: str, body: str) -> str:
    return f"{kind} {{\n{body}\n}}"


def together() -> str:
    """Return all of them as one script, each in a table of its own."""
    scripts = (script for script, _ in FEATURES.values())
    return "".join(s.replace(_TABLE, f"{_TABLE}{n}", 1) for n, s in enumerate(scripts))


# Each: the script, and the module of the kernel that it takes.
FEATURES: dict[str, tuple[str, str]] = {
    "base chains": (_script(_forward()), "nf_tables"),
    "sets with timeouts": (
        _script(_named("set s", "type ipv4_addr; flags timeout; timeout 1m; size 16;")),
        "nf_tables",
    ),
    "intervals": (
        _script(_named("set s", "type ipv4_addr; flags interval; elements = { 10.0.0.0/8 }")),
        "nf_tables",
    ),
    "concatenations": (
        _script(_named("set s", "type ifname . ether_addr . ipv4_addr; size 16;")),
        "nf_tables",
    ),
    "maps of marks": (_script(_named("map m", "type ether_addr : mark; size 16;")), "nf_tables"),
    "limits per tablet": (
        _script(
            _named("set s", "type ether_addr; flags dynamic,timeout; timeout 1m; size 16;"),
            _forward("update @s { ether saddr limit rate over 10/second } drop"),
        ),
        "nft_limit",
    ),
    "named counters": (_script("counter c { }", _forward("counter name c")), "nf_tables"),
    "connection marks": (_script(_forward("ct state new ct mark set 1 accept")), "nft_ct"),
    "rejects": (_script(_forward("reject with icmpx type admin-prohibited")), "nft_reject_inet"),
    "logging to a group": (
        _script(_forward('limit rate 5/second log prefix "netguard:x:" group 5')),
        "nfnetlink_log",
    ),
    "masquerade": (_script(_nat("postrouting", "srcnat", "masquerade")), "nft_masq"),
    "redirect of local addresses": (
        _script(_nat("prerouting", "dstnat", "udp dport 53 fib daddr type != local redirect")),
        "nft_redir, nft_fib_inet",
    ),
}


def judge(missing: Mapping[str, str], tried: Sequence[str] = tuple(FEATURES)) -> list[Finding]:
    """Judge what this kernel refused: by feature, nft's words."""
    wrong = [
        failed(
            CODE,
            f"this kernel has no {feature}: {words}",
            f"modprobe {FEATURES[feature][1].replace(',', '')}; else install Debian's own kernel",
        )
        for feature, words in missing.items()
    ]
    return wrong or [ok(CODE, f"all that the ruleset needs: {listed(tried, 12)}")]
