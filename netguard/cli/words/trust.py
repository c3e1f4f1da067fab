"""What shows, before it is in force, that a change is meant."""

from pathlib import Path

from netguard.cli.words.base import Commands, command, folder, json_flag, late, today


def add(commands: Commands) -> None:
    """Add these words to the parser."""
    test = command(
        commands,
        "test",
        "run the cases that a rules folder carries (tests/*.yaml); one that fails stops apply",
        "netguard test rules/\n  netguard test rules/ --junit cases.xml",
        late("cli.testing", "test"),
    )
    folder(test)
    test.add_argument("--format", choices=("text", "json", "junit"), default="text")
    test.add_argument("--json", action="store_const", const="json", dest="format")
    test.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML for CI as well")
    today(test)
    fmt = command(
        commands,
        "fmt",
        "bring rule files into one layout; comments, order and alignment stay",
        "netguard fmt rules/\n  netguard fmt rules/ --check       in CI: 1 when a file would change",
        late("cli.layout", "fmt"),
    )
    folder(fmt)
    fmt.add_argument("--check", action="store_true", help="write nothing; 1 if any would change")
    schema = command(
        commands,
        "schema",
        "write JSON Schemas of the rule files, for editors",
        "netguard schema --out schema/",
        late("cli.layout", "schema"),
    )
    schema.add_argument(
        "--out", type=Path, default=Path("schema"), metavar="DIR", help="where (default: schema)"
    )
    plan = command(
        commands,
        "plan",
        "say what a rules folder would change against what is in force; 3 when there is anything",
        "netguard plan rules/ --native\n  netguard plan rules/ --against rules-old/ --json",
        late("cli.planning", "plan"),
    )
    folder(plan)
    plan.add_argument(
        "--against", type=Path, metavar="DIR", help="compare with DIR, without a running node"
    )
    plan.add_argument(
        "--native",
        action="store_true",
        help="then what changes in nftables, FreeRADIUS, DHCP, names",
    )
    json_flag(plan)
    today(plan)
    prove = command(
        commands,
        "prove",
        "prove for all packets that no tablet reaches what is protected, and each group only its services",
        "netguard prove rules/\n  netguard prove rules/ --out /srv/proofs\n"
        "  netguard prove rules/ --live              # what this kernel holds, everybody's tables\n"
        "  nft -j list ruleset > saved.json; netguard prove rules/ --ruleset saved.json",
        late("cli.proving", "prove"),
    )
    folder(prove)
    held = prove.add_mutually_exclusive_group()
    held.add_argument(
        "--live",
        action="store_true",
        help="prove what the kernel holds, everybody's tables; as root",
    )
    held.add_argument(
        "--ruleset", type=Path, metavar="FILE", help="the same of a saved 'nft -j list ruleset'"
    )
    prove.add_argument(
        "--out", type=Path, metavar="DIR", help="keep the proof there, as JSON and as text, dated"
    )
    json_flag(prove)
    today(prove)
