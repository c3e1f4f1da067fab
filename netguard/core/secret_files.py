"""Which files of secrets the rules and the settings of a node call for, and who reads each. Pure: names only."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from netguard.core.doctor.products import secret_goes
from netguard.core.policy import Policy

# Who reads it: FreeRADIUS (`secret = ...` in NAME.conf) or watch (the file is the secret).
RADIUS, WATCH = "radius", "watch"
# Who listens to RADIUS can guess a short secret at leisure; SNMPv3 takes no shorter password (RFC 3414 11.2).
_LEAST_RADIUS, _LEAST_SNMP = 16, 8


@dataclass(frozen=True, slots=True, order=True)
class SecretFile:
    """One file: its name in the rules, who reads it, what for.

    `made` is false for what somebody else chooses: a chat's URL, a mailbox' password. `sides` says for each NAS
    that has it where it is to be entered there: two secrets of one client cannot be valid at once. `least` is
    how many characters it has.
    """

    name: str
    reader: str
    purpose: str
    made: bool = True
    sides: tuple[str, ...] = ()
    least: int = 1

    @property
    def file(self) -> str:
        """Return the name on the disk."""
        return f"{self.name}.conf" if self.reader == RADIUS else self.name


def wanted(policy: Policy, sites: Iterable[str], mail_password: str = "") -> list[SecretFile]:
    """Return what a node that serves these sites needs, each file once, by reader and name."""
    found: dict[tuple[str, str], SecretFile] = {}

    def add(
        name: str | None, reader: str, purpose: str, *, made: bool = True, least: int = 1
    ) -> None:
        if name:
            file = found.setdefault((reader, name), SecretFile(name, reader, purpose, made))
            found[reader, name] = replace(file, least=max(file.least, least))

    for site in sorted(set(sites) & set(policy.sites)):
        for nas in policy.sites[site].nas.values():
            add(nas.secret_file, RADIUS, f"RADIUS secret of {nas.name}", least=_LEAST_RADIUS)
            file = found[RADIUS, nas.secret_file]
            side = f"{nas.name} ({nas.address.network_address}, {nas.vendor}): {secret_goes(nas.vendor)}"
            found[RADIUS, nas.secret_file] = replace(file, sides=(*file.sides, side))
    feeds = policy.feeds
    add(feeds.community_file, WATCH, "community of SNMP traps")
    for user in feeds.trap_users:
        for file_name, what in (user.auth_file, "authentication"), (user.privacy_file, "privacy"):
            add(file_name, WATCH, f"{what} of SNMP user {user.name}", least=_LEAST_SNMP)
    for hook in feeds.webhooks.values():
        add(hook.secret_file, WATCH, f"key of webhook {hook.name}")
    for receiver in policy.receivers.values():
        add(receiver.secret_file, WATCH, f"signature of webhooks to {receiver.name}")
        add(receiver.chat_file, WATCH, f"chat URL of {receiver.name}", made=False)
    add(mail_password, WATCH, "password of the mail server", made=False)
    return sorted(found.values(), key=lambda each: (each.reader, each.name))
