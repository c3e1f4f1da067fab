"""The knobs of one node: which sites it serves, where its files lie, who its daemons run as.

Values only; `rules/settings_file.py` reads them from YAML with the same care as the rules.
"""

from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_FILE = Path("/etc/netguard/settings.yaml")
ENVIRONMENT = "NETGUARD_SETTINGS"
RUNBOOK = "docs/runbook.md"


@dataclass(frozen=True, slots=True)
class Paths:
    """Folders; see docs/settings.md for who owns and who reads each."""

    rules: Path = Path("/etc/netguard/rules")
    state: Path = Path("/var/lib/netguard")
    run: Path = Path("/run/netguard")
    radius: Path = Path("/var/lib/netguard/radius")
    radius_log: Path = Path("/var/log/netguard/radius")
    radius_control: Path | None = None
    radius_secrets: Path = Path("/etc/netguard/secrets")
    dhcp: Path = Path("/var/lib/netguard/dhcp")
    # Communities and secrets of feeds, and tls.crt and tls.key of syslog over TLS.
    watch_secrets: Path = Path("/etc/netguard/watch-secrets")
    time: Path = Path("/var/lib/netguard/time")
    # HAProxy's and guard's, nobody else enters.
    sni: Path = Path("/var/lib/netguard/sni")
    # Who vouches for resolvers over TLS; None: the authorities that the system trusts.
    resolver_authorities: Path | None = None


@dataclass(frozen=True, slots=True)
class Users:
    """The static system users, one per process."""

    guard: str = "netguard-guard"
    dns: str = "netguard-dns"
    watch: str = "netguard-watch"
    radius: str = "netguard-radius"
    dhcp: str = "netguard-dhcp"
    time: str = "netguard-time"
    sni: str = "netguard-sni"


@dataclass(frozen=True, slots=True)
class MailServer:
    """Who takes our mail (RFC 6409): `tls` is starttls, tls (from the first byte, RFC 8314) or none.

    `password_file` names a file of the secrets of watch; `user` empty: nobody signs in.
    """

    host: str
    port: int
    sender: str
    tls: str = "starttls"
    user: str = ""
    password_file: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a daemon needs to know that is not a rule."""

    node: str
    sites: tuple[str, ...]
    paths: Paths = field(default_factory=Paths)
    users: Users = field(default_factory=Users)
    web_host: str = "127.0.0.1"
    web_port: int = 9869
    # Where our FreeRADIUS listens for the appliance's own questions (NETGUARD_RADIUS_SELF_PORT).
    radius_self: tuple[str, int] = ("127.0.0.1", 18121)
    # Where watch listens for controllers; None: it does not.
    syslog: tuple[str, int] | None = None
    syslog_tls: tuple[str, int] | None = None
    traps: tuple[str, int] | None = None
    webhooks: tuple[str, int] | None = None
    # None: receivers with a mail address are not reached that way.
    mail: MailServer | None = None
    # Who restarts FreeRADIUS, dnsmasq, chronyd and HAProxy for guard: `systemd`, or nobody (`none`).
    service_manager: str = "none"
    # Where people find docs/runbook.md: alerts link to its sections.
    runbook: str = RUNBOOK
    # So many seconds of presence pass in one: a lab shows in a minute what takes an hour.
    speed: int = 1

    @property
    def guard_socket(self) -> Path:
        """Return where guard listens."""
        return self.paths.run / "guard.sock"

    @property
    def dns_socket(self) -> Path:
        """Return where the name proxy listens for us, not for tablets."""
        return self.paths.run / "dns.sock"

    @property
    def watch_socket(self) -> Path:
        """Return where watch listens for commands."""
        return self.paths.run / "watch.sock"

    @property
    def watch_state(self) -> Path:
        """Return the folder of watch alone: who reads hostile bytes must not write guard's files."""
        return self.paths.state / "watch"

    @property
    def dns_state(self) -> Path:
        """Return the folder of the name proxy alone, for what it has learned."""
        return self.paths.state / "dns"
