"""feeds.yaml: whose traps are believed."""

import json

import pytest

from netguard.core.policy import TrapUser
from netguard.errors import BadValue
from netguard.render import watch
from netguard.rules.messages import lines

USER = "{auth-file: a, privacy-file: p}"


@pytest.mark.parametrize(
    ("traps", "community", "users"),
    [
        ("{community-file: c}", "c", ()),
        (f"{{users: {{wlc: {USER}}}}}", None, (TrapUser("wlc", "sha256", "a", "aes128", "p"),)),
        (
            "{community-file: c, users: {wlc: {auth: sha512, auth-file: a, privacy-file: p}}}",
            "c",
            (TrapUser("wlc", "sha512", "a", "aes128", "p"),),
        ),
    ],
)
def test_traps_of_either_version_may_be_believed_and_watch_is_told(rules, traps, community, users):
    rules.write("feeds.yaml", f"feeds: {{traps: {traps}}}\n")
    policy = rules.policy
    assert (policy.feeds.community_file, policy.feeds.trap_users) == (community, users)
    book = watch.read(watch.render(policy, "x", ("pellegrin",), {}, {}, lines()))
    assert (book.feeds.community_file, book.feeds.trap_users) == (community, users)


def test_a_broken_installation_says_where_its_lines_are_wrong(tmp_path, monkeypatch):
    broken = tmp_path / "messages.yaml"
    broken.write_text("messages:\n  hostapd:\n    - {lin: x, kind: heard}\n")
    monkeypatch.setattr("netguard.rules.messages._SHIPPED", broken)
    with pytest.raises(BadValue, match=r"messages\.yaml:3"):
        lines.__wrapped__()


def test_a_book_of_another_version_is_not_read(rules):
    text = watch.render(rules.policy, "x", ("pellegrin",), {}, {}, lines())
    body = json.loads(text)
    with pytest.raises(BadValue, match=f"watch.json has version {body['version'] + 1}"):
        watch.read(json.dumps(body | {"version": body["version"] + 1}))


@pytest.mark.parametrize(
    ("traps", "finding", "text"),
    [
        (
            "{sources: [10.1.3.0/24]}",
            "missing-key feeds.yaml:1",
            "`community-file` (v2c) or `users`",
        ),
        ("{users: {wlc: {auth-file: a}}}", "missing-key feeds.yaml:1", "privacy-file"),
        ("{users: {wlc: {auth: md5, auth-file: a, privacy-file: p}}}", "feeds.yaml:1", "sha1"),
        ("{users: {wlc: {privacy: des, auth-file: a, privacy-file: p}}}", "feeds.yaml:1", "aes128"),
        ("{users: {wlc: {auth-file: ../a, privacy-file: p}}}", "feeds.yaml:1", "../a"),
    ],
)
def test_what_would_believe_nobody_or_anybody_is_an_error(rules, traps, finding, text):
    rules.write("feeds.yaml", f"feeds: {{traps: {traps}}}\n")
    rules.says(finding, text)


LINE = "{line: 'station {mac} joined', kind: associated}"


@pytest.mark.parametrize(
    ("feeds", "parts"),
    [
        (f"syslog: {{messages: {{cisco-9801: [{LINE}]}}}}", ("'cisco-9801'", "cisco-9800")),
        (f"syslog: {{messages: {{unifi: [{', '.join([LINE] * 65)}]}}}}", ("more than 64 lines",)),
        (
            "syslog: {messages: {unifi: [{line: 'station joined', kind: associated}]}}",
            ("error bad-template",),
        ),
        ("webhooks: {mist: {vendor: mist, site: pelegrin, secret-file: mist}}", ("'pelegrin'",)),
    ],
    ids=["another vendor", "too many", "no address", "another site"],
)
def test_a_feed_that_tells_nobody_anything_is_an_error(rules, feeds, parts):
    rules.write("feeds.yaml", f"feeds: {{{feeds}}}\n")
    rules.says("feeds.yaml:1", *parts)


def test_a_line_of_ones_own_and_a_webhook_are_taken(rules):
    webhooks = "{mist: {vendor: mist, site: pellegrin, secret-file: mist}}"
    rules.write(
        "feeds.yaml",
        f"feeds: {{syslog: {{messages: {{unifi: [{LINE}]}}}}, webhooks: {webhooks}}}\n",
    )
    (line,) = rules.policy.feeds.messages["unifi"]
    assert line.line == "station {mac} joined"
