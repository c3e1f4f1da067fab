"""The processes of a node."""

from netguard.cli.words.base import Commands, command, count, json_flag, late


def add(commands: Commands) -> None:
    """Add these words to the parser."""
    for name, help_ in (
        ("guard", "keep kernel, FreeRADIUS and dnsmasq at the plan in force (CAP_NET_ADMIN)"),
        ("watch", "read events, show metrics and health (no capability)"),
        ("run", "run guard, dns and watch together, for the lab"),
    ):
        example = f"netguard --settings /etc/netguard/settings.yaml {name}"
        command(commands, name, help_, example, late("cli.daemons", name))
    _dns_commands(commands)


def _dns_commands(commands: Commands) -> None:
    dns = command(
        commands,
        "dns",
        "answer tablets' names from the allow-list (CAP_NET_ADMIN, CAP_NET_BIND_SERVICE), "
        "or with a WORD ask the running proxy",
        "netguard dns why zoom.us\n  netguard dns tail --follow --tablet T-001\n  netguard dns top",
        late("cli.daemons", "dns"),
    )
    words = dns.add_subparsers(dest="dns_word", metavar="WORD")
    top = command(
        words,
        "top",
        "show the names refused most, the names of the rules nobody asks for or nobody resolves",
        "netguard dns top --limit 50",
        late("cli.names", "top"),
    )
    top.add_argument("--limit", type=count, default=20, metavar="N", help="so many names")
    json_flag(top)
    tail = command(
        words,
        "tail",
        "show refused and failed questions: whose, which name, why",
        "netguard dns tail --follow --tablet T-001",
        late("cli.names", "tail"),
    )
    tail.add_argument("--follow", action="store_true", help="go on as they come")
    tail.add_argument("--tablet", metavar="ID", help="of this tablet only")
    tail.add_argument(
        "--limit", type=count, default=20, metavar="N", help="the newest N to begin with"
    )
    tail.add_argument("--json", action="store_true", help="one JSON object a line")
    for name, help_, example in (
        ("why", "say what becomes of a name, by group, and what is open for it", "why zoom.us"),
        ("flush", "forget the cached answers of a name", "flush zoom.us"),
    ):
        word = command(words, name, help_, f"netguard dns {example}", late("cli.names", name))
        word.add_argument("name", metavar="NAME", help="a host name")
        json_flag(word)
