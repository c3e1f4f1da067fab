"""Which secrets a node needs: those of its own sites, each once, and nobody else's."""

from dataclasses import replace

from netguard.core import usm
from netguard.core.policy import Feeds, Receiver, TrapUser, Webhook
from netguard.core.secret_files import RADIUS, WATCH, wanted


def names(found, reader):
    return [each.name for each in found if each.reader == reader]


def test_a_node_needs_the_secrets_of_its_own_sites(example):
    assert names(wanted(example, ["pellegrin"]), RADIUS) == ["nas-wlc-1"]
    assert names(wanted(example, ["pellegrin", "haut-leveque"]), RADIUS) == [
        "nas-wlc-1",
        "nas-wlc-2",
    ]
    assert names(wanted(example, ["elsewhere"]), RADIUS) == []


def test_each_feed_and_receiver_names_its_own(example):
    feeds = Feeds(
        community_file="traps",
        trap_users=(TrapUser("u", "sha256", "u-auth", "aes128", "u-privacy"),),
        webhooks={"mist": Webhook("mist", "mist", "pellegrin", "mist-key")},
    )
    receivers = {
        "a": Receiver("a", webhook="https://a.example", secret_file="shared"),
        "b": Receiver("b", webhook="https://b.example", secret_file="shared", chat_file="chat"),
    }
    policy = replace(example, feeds=feeds, receivers=receivers)
    found = wanted(policy, ["pellegrin"], "mail")
    assert names(found, WATCH) == [
        "chat",
        "mail",
        "mist-key",
        "shared",
        "traps",
        "u-auth",
        "u-privacy",
    ]
    assert {each.name for each in found if not each.made} == {"chat", "mail"}
    least = {each.name: each.least for each in found}
    assert (least["nas-wlc-1"], least["mail"]) == (16, 1)
    assert least["u-auth"] == least["u-privacy"] == usm.SHORTEST_PASSWORD
    # One file for two readers suits both.
    both = replace(policy, feeds=replace(feeds, community_file="u-auth"))
    (shared,) = (each for each in wanted(both, ["pellegrin"]) if each.name == "u-auth")
    assert shared.least == usm.SHORTEST_PASSWORD


def test_a_name_of_freeradius_is_a_snippet_and_one_of_watch_the_secret_itself(example):
    files = {each.name: each.file for each in wanted(example, ["pellegrin"])}
    assert files["nas-wlc-1"] == "nas-wlc-1.conf"
    assert files["webhook-security"] == "webhook-security"
