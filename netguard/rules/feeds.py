"""feeds.yaml: who beside RADIUS may tell of tablets, and how their lines are read."""

from dataclasses import replace
from types import MappingProxyType

from netguard.core.policy import Feeds, TrapUser, Webhook
from netguard.errors import BadValue
from netguard.rules import schema, schema_feeds
from netguard.rules.messages import compiled, line_of
from netguard.rules.review import Review

# A table is tried line by line, for each message.
MOST_LINES = 64


def judge_feeds(review: Review) -> Feeds:
    """Return what the file says, or the defaults."""
    doc = review.documents.told
    if doc is None:
        return Feeds()
    given = doc.model.feeds
    syslog = given.syslog or schema_feeds.SyslogModel()
    for vendor, lines in syslog.messages.items():
        at = ("feeds", "syslog", "messages", vendor)
        review.known("vendor", vendor, frozenset(schema.VENDORS), doc, *at, key=True)
        if len(lines) > MOST_LINES:
            review.error(doc, "bad-number", f"more than {MOST_LINES} lines of one vendor", *at)
        for index, line in enumerate(lines):
            try:
                compiled(line_of(line))
            except BadValue as error:
                review.error(doc, error.finding, error.text, *at, index, "line")
    for name, webhook in given.webhooks.items():
        at = ("feeds", "webhooks", name, "site")
        review.known("site", webhook.site, review.documents.names.sites, doc, *at)
    if given.traps is not None and not (given.traps.community_file or given.traps.users):
        text = "no trap would be believed: give `community-file` (v2c) or `users` (v3)"
        review.error(doc, "missing-key", text, "feeds", "traps")
    return _feeds(given, syslog)


def _feeds(given: schema_feeds.FeedsModel, syslog: schema_feeds.SyslogModel) -> Feeds:
    feeds = Feeds(
        stale_after=given.stale_after,
        syslog_sources=tuple(syslog.sources),
        syslog_rate=syslog.rate,
        messages=MappingProxyType(
            {vendor: tuple(map(line_of, lines)) for vendor, lines in syslog.messages.items()}
        ),
        webhooks=MappingProxyType(
            {
                name: Webhook(name, each.vendor, each.site, each.secret_file)
                for name, each in given.webhooks.items()
            }
        ),
    )
    if given.traps is None:
        return feeds
    traps = given.traps
    return replace(
        feeds,
        trap_sources=tuple(traps.sources),
        trap_rate=traps.rate,
        community_file=traps.community_file,
        trap_users=tuple(
            TrapUser(name, each.auth, each.auth_file, each.privacy, each.privacy_file)
            for name, each in sorted(traps.users.items())
        ),
    )
