"""The shape of feeds.yaml, what beside RADIUS tells of tablets, and of the table of messages."""

from datetime import timedelta
from typing import Annotated, Literal

from netguard.core.names import Frequency
from netguard.rules.words import Model, Name, NetworkText, Often, SecretFile, Span, label, read_by

Line = Annotated[str, read_by(label)]


class MessageModel(Model):
    line: Line
    kind: Literal["associated", "roamed", "disassociated", "heard", "ap-up", "ap-down"]
    ap: Literal["", "host"] = ""
    more: list[Line] = []


class MessagesFile(Model):
    messages: dict[Name, list[MessageModel]]


class SyslogModel(Model):
    sources: list[NetworkText] = []
    rate: Often = Frequency(500, "s")
    messages: dict[Name, list[MessageModel]] = {}


class TrapUserModel(Model):
    auth: Literal["sha1", "sha256", "sha512"] = "sha256"
    auth_file: SecretFile
    privacy: Literal["aes128"] = "aes128"
    privacy_file: SecretFile


class TrapsModel(Model):
    sources: list[NetworkText] = []
    rate: Often = Frequency(500, "s")
    community_file: SecretFile | None = None
    users: dict[Name, TrapUserModel] = {}


class WebhookModel(Model):
    vendor: Literal["mist", "meraki"]
    site: Name
    secret_file: SecretFile


class FeedsModel(Model):
    stale_after: Span = timedelta(minutes=15)
    syslog: SyslogModel | None = None
    traps: TrapsModel | None = None
    webhooks: dict[Name, WebhookModel] = {}


class FeedsFile(Model):
    feeds: FeedsModel
