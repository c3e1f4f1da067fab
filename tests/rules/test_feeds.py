"""feeds.yaml: whose traps are believed."""

import pytest

from netguard.core.policy import TrapUser
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
