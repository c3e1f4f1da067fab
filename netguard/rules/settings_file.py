"""The settings file of one node, read with the care and the messages of the rules.

docs/settings.md says what each key is for, who owns each folder and who reads it.
"""

import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from netguard.core.names import parse_address, parse_fqdn, parse_number, shown
from netguard.errors import BadValue, UsageError
from netguard.rules.findings import Finding
from netguard.rules.source import Unreadable, parse, read_bytes
from netguard.rules.typed import Document, typed
from netguard.rules.words import Mail, Model, Name, SecretFile, Url, read_by
from netguard.settings import RUNBOOK, MailServer, Paths, Settings, Users

_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}")


def _path(text: str) -> Path:
    # A relative path would mean another folder for each way of starting a daemon.
    if not text.startswith("/") or not text.isprintable() or ".." in text.split("/"):
        raise BadValue(
            "bad-path", f"{shown(text)} is not an absolute path, write /var/lib/netguard"
        )
    return Path(text)


def _path_or_nothing(text: str) -> Path | None:
    return _path(text) if text else None


def _user(text: str) -> str:
    if not _USER.fullmatch(text):
        raise BadValue("bad-name", f"{shown(text)} is not the name of a system user")
    return text


def _listen(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon:
        raise BadValue("bad-port", f"{shown(text)} lacks a port, write 127.0.0.1:9869")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    address = parse_address(bare)
    if address.version == 6 and bare == host:
        raise BadValue("bad-cidr", f"{shown(text)}: write IPv6 in brackets, [{bare}]:{port}")
    return str(address), parse_number(port, "port", 1, 65535)


def _server(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        raise BadValue("bad-port", f"{shown(text)} lacks a port, write smtp.chu.example:587")
    bare = host.removeprefix("[").removesuffix("]")
    try:
        name = str(parse_address(bare))
    except BadValue:
        name = parse_fqdn(bare)
    return name, parse_number(port, "port", 1, 65535)


def _speed(text: str) -> int:
    return parse_number(text, "speed", 1, 1000)


PathText = Annotated[Path, read_by(_path)]
User = Annotated[str, read_by(_user)]

_PATHS, _USERS = Paths(), Users()


class _Paths(Model):
    rules: PathText = _PATHS.rules
    state: PathText = _PATHS.state
    run: PathText = _PATHS.run
    radius: PathText = _PATHS.radius
    radius_log: PathText = _PATHS.radius_log
    radius_control: Annotated[Path | None, read_by(_path_or_nothing)] = _PATHS.radius_control
    radius_secrets: PathText = _PATHS.radius_secrets
    dhcp: PathText = _PATHS.dhcp
    watch_secrets: PathText = _PATHS.watch_secrets
    time: PathText = _PATHS.time
    sni: PathText = _PATHS.sni
    resolver_authorities: Annotated[Path | None, read_by(_path_or_nothing)] = (
        _PATHS.resolver_authorities
    )


class _Users(Model):
    guard: User = _USERS.guard
    dns: User = _USERS.dns
    watch: User = _USERS.watch
    radius: User = _USERS.radius
    dhcp: User = _USERS.dhcp
    time: User = _USERS.time
    sni: User = _USERS.sni


class _Listen(Model):
    web: Annotated[tuple[str, int], read_by(_listen)] = ("127.0.0.1", 9869)
    radius_self: Annotated[tuple[str, int], read_by(_listen)] = ("127.0.0.1", 18121)
    syslog: Annotated[tuple[str, int] | None, read_by(_listen)] = None
    syslog_tls: Annotated[tuple[str, int] | None, read_by(_listen)] = None
    traps: Annotated[tuple[str, int] | None, read_by(_listen)] = None
    webhooks: Annotated[tuple[str, int] | None, read_by(_listen)] = None


class _Mail(Model):
    server: Annotated[tuple[str, int], read_by(_server)]
    sender: Mail
    tls: Literal["starttls", "tls", "none"] = "starttls"
    user: str = ""
    password_file: SecretFile | None = None


class _SettingsFile(Model):
    nothing: ClassVar[str] = "no settings in this file; docs/settings.md lists the keys"
    version: Literal["1"]
    node: Name
    sites: list[Name]
    paths: _Paths = _Paths()
    users: _Users = _Users()
    listen: _Listen = _Listen()
    mail: _Mail | None = None
    service_manager: Literal["none", "systemd"] = "none"
    runbook: Url | None = None
    speed: Annotated[int, read_by(_speed)] = 1


def read_settings(path: Path) -> Settings:
    """Return the settings of a node; raises UsageError with every fault of the file."""
    document, findings = _read(path)
    if document is None or findings:
        raise UsageError("\n".join(finding.render() for finding in findings))
    given = document.model
    host, port = given.listen.web
    return Settings(
        node=given.node,
        sites=tuple(sorted(given.sites)),
        paths=Paths(**dict(given.paths)),
        users=Users(**dict(given.users)),
        web_host=host,
        web_port=port,
        radius_self=given.listen.radius_self,
        syslog=given.listen.syslog,
        syslog_tls=given.listen.syslog_tls,
        traps=given.listen.traps,
        webhooks=given.listen.webhooks,
        mail=_mail(given.mail) if given.mail is not None else None,
        service_manager=given.service_manager,
        runbook=given.runbook or RUNBOOK,
        speed=given.speed,
    )


def _mail(given: _Mail) -> MailServer:
    host, port = given.server
    password = given.password_file or ""
    return MailServer(host, port, given.sender, given.tls, given.user, password)


def check_settings(path: Path) -> list[Finding]:
    """Return what is wrong with a settings file; nothing means that it can be used."""
    return _read(path)[1]


def _read(path: Path) -> tuple[Document[_SettingsFile] | None, list[Finding]]:
    name = str(path)
    if not path.exists():
        raise UsageError(f"{name}: no such settings file; docs/settings.md shows one")
    real = path.resolve()
    try:
        data = read_bytes(real.parent, real, name)
    except Unreadable as error:
        return None, [error.finding]
    result = typed(parse(data, name), _SettingsFile)
    findings = list(result.findings)
    if result.document is not None:
        findings += _seen_together(result.document)
    return result.document, sorted(findings)


def _seen_together(document: Document[_SettingsFile]) -> list[Finding]:
    sites, users = document.model.sites, dict(document.model.users)
    findings = []
    if not sites:
        text = "no site, name the sites of the rules that this node serves"
        findings.append(document.error("missing-key", text, "sites"))
    for index, site in enumerate(sites):
        if site in sites[:index]:
            text = f"site '{site}' is named twice"
            findings.append(document.error("duplicate-name", text, "sites", index))
    mail = document.model.mail
    if mail is not None and mail.user and (mail.password_file is None or mail.tls == "none"):
        text = "a user signs in with a password-file, and never without TLS"
        findings.append(document.error("missing-key", text, "mail", "user"))
    first: dict[str, str] = {}
    for key, user in users.items():
        # One user for two processes would let each read and signal the other.
        if first.setdefault(user, key) != key:
            text = f"user '{user}' is already that of '{first[user]}', each process has its own"
            findings.append(document.error("duplicate-name", text, "users", key))
    return findings
