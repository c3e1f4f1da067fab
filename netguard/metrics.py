"""All metric families of netguard, built afresh at each scrape from what the daemons say.

Names and labels follow Prometheus' naming practice: base units, `_total` on counters, labels from
small closed sets. A MAC, an address or a name never becomes a label. Every series that is known in
advance starts at 0.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from netguard import __version__
from netguard.core.loans import STATES
from netguard.core.presence.actions import BLIND, CAUSES, CLEARED, RAISED, UPDATED
from netguard.core.removal import FAILED

REFUSALS = ("protected", "own", "special")
ANSWERS = ("accept", "reject")
KINDS = (RAISED, UPDATED, CLEARED)
CHANNELS = ("alertmanager", "webhook", "syslog", "mail", "chat")


@dataclass(slots=True)
class View:
    """What watch knows at one moment; None where a daemon does not answer."""

    guard: Mapping[str, Any] | None = None
    counters: Mapping[str, list[int]] = field(default_factory=dict)
    dns: Mapping[str, Any] | None = None
    admissions: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    accounting: Mapping[str, int] = field(default_factory=dict)
    bad_records: int = 0
    last_record: float | None = None
    strangers: int | None = None
    store_failures: int = 0
    # By site, area and presence; by state before and after; by kind and cause.
    presence: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    transitions: Counter[tuple[str, str]] = field(default_factory=Counter)
    alerts: Counter[tuple[str, str]] = field(default_factory=Counter)
    told: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    false_alarms: int = 0
    budget: float | None = None
    # Of the outbox: by state, and when the oldest waiting one was written (0: none waits); by channel;
    # by channel and reason.
    letters: Mapping[str, int] = field(default_factory=dict)
    oldest_letter: float = 0.0
    sent: Counter[str] = field(default_factory=Counter)
    unsent: Counter[tuple[str, str]] = field(default_factory=Counter)
    # By feed, a NAS being one: when it last said something, whether it is silent too long, how wrong its clock is.
    feeds: Mapping[str, tuple[float, bool, float | None]] = field(default_factory=dict)


class NetguardCollector(Collector):
    """Hands the current view to a registry as metric families."""

    def __init__(self) -> None:
        self.view = View()

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        view = self.view
        build = InfoMetricFamily("netguard_build", "Version of netguard")
        build.add_metric([], {"version": __version__})
        yield build
        up = GaugeMetricFamily("netguard_up", "1 while a daemon answers", labels=["daemon"])
        up.add_metric(["guard"], float(view.guard is not None))
        up.add_metric(["dns"], float(view.dns is not None))
        yield up
        yield from _guard(view)
        yield from _packets(view.counters)
        yield from _names(view)
        yield from _radius(view)
        yield from _presence(view)
        yield from _feeds(view)
        yield from _delivery(view)


_ENFORCERS = ("dns", "psk", "radius", "radius-clients", "resume", "enforce", "store", "sni")


def _guard(view: View) -> Iterator[Metric]:
    guard = view.guard or {}
    applied = guard.get("applied") or {}
    in_force = GaugeMetricFamily(
        "netguard_plan_in_force", "1 while a plan is in force, 0 while blocked"
    )
    in_force.add_metric([], float(guard.get("state") == "guarding"))
    yield in_force
    if applied:
        when = GaugeMetricFamily(
            "netguard_rules_applied_timestamp_seconds", "When the rules in force were applied"
        )
        when.add_metric([], datetime.fromisoformat(applied["at"]).timestamp())
        yield when
        rules = InfoMetricFamily("netguard_rules", "The rules in force")
        rules.add_metric(
            [],
            # With the loans: of two nodes with the same rules, equal plans refuse the same tablets.
            {
                "number": str(applied["number"]),
                "rules": applied["rules"],
                "plan": guard.get("plan") or applied["plan"],
            },
        )
        yield rules
    tablets = GaugeMetricFamily(
        "netguard_tablets", "Tablets that may join, by site", labels=["site"]
    )
    for site, count in sorted((guard.get("tablets") or {}).items()):
        tablets.add_metric([site], count)
    yield tablets
    loans = GaugeMetricFamily(
        "netguard_loans", "Tablets by what people said of them last", labels=["state"]
    )
    for state in STATES:
        loans.add_metric([state], (guard.get("loans") or {}).get(state, 0))
    yield loans
    overdue = GaugeMetricFamily(
        "netguard_loans_overdue",
        "Lent tablets that were to be back by now, by the site where they belong",
        labels=["site"],
    )
    # An older guard counts none.
    for site, count in sorted((guard.get("overdue") or {}).items()):
        overdue.add_metric([site], count)
    yield overdue
    profiles = GaugeMetricFamily(
        "netguard_profile_since_timestamp_seconds",
        "When a profile of the rules was switched on; absent while it is off",
        labels=["profile"],
    )
    for each in guard.get("profiles") or ():
        profiles.add_metric([each["name"]], datetime.fromisoformat(each["since"]).timestamp())
    yield profiles
    yield from _off_the_air(guard)
    drift = CounterMetricFamily(
        "netguard_nft_drift", "Changes of the ruleset made by somebody else"
    )
    drift.add_metric([], guard.get("drifts", 0))
    yield drift
    named = CounterMetricFamily(
        "netguard_server_names_refused",
        "TLS connections refused for the server they named, or for naming none",
    )
    named.add_metric([], guard.get("server_names_refused", 0))
    yield named
    belt = GaugeMetricFamily(
        "netguard_belt_in_place", "1 while the routing rules of the belt are there"
    )
    belt.add_metric([], float(bool(guard.get("belt"))))
    yield belt
    problems = GaugeMetricFamily(
        "netguard_problem", "1 while an enforcer is not at the plan in force", labels=["enforcer"]
    )
    for enforcer in _ENFORCERS:
        problems.add_metric([enforcer], float(enforcer in (guard.get("problems") or {})))
    yield problems


def _off_the_air(guard: Mapping[str, Any]) -> Iterator[Metric]:
    apart = GaugeMetricFamily("netguard_quarantined", "Tablets in quarantine")
    apart.add_metric([], len(guard.get("quarantined") or ()))
    yield apart
    removals = guard.get("removals") or ()
    going = GaugeMetricFamily(
        "netguard_removals", "Refused tablets that have to leave the air", labels=["state"]
    )
    failing = sum(any(s["state"] == FAILED for s in each["steps"]) for each in removals)
    going.add_metric(["failing"], failing)
    going.add_metric(["going"], len(removals) - failing)
    yield going
    asked = CounterMetricFamily(
        "netguard_coa_requests",
        "Disconnect- and CoA-Requests by NAS and by what they brought (nak-CODE: RFC 5176 3.6)",
        labels=["nas", "kind", "outcome"],
    )
    # NASes are those of the rules, outcomes those of a table: nothing from the wire is a label.
    for nas, kind, outcome, count in guard.get("coa") or ():
        asked.add_metric([nas, kind, outcome], count)
    yield asked


def _packets(counters: Mapping[str, list[int]]) -> Iterator[Metric]:
    packets = CounterMetricFamily(
        "netguard_policy_packets",
        "First packets of flows by deciding rule",
        labels=["rule", "verdict"],
    )
    for rule, (count, _) in sorted(counters.items()):
        group, slash, what = rule.partition("/")
        allowed = (slash and what != "deny") or rule == "intercepted"
        packets.add_metric([rule if slash else group, "accept" if allowed else "deny"], count)
    yield packets


def _names(view: View) -> Iterator[Metric]:
    dns = view.dns or {}
    queries = CounterMetricFamily(
        "netguard_dns_queries", "Questions of tablets by result", labels=["result"]
    )
    refused = CounterMetricFamily(
        "netguard_dns_refused_answers", "Answers refused for an address in them", labels=["reason"]
    )
    results = dict.fromkeys(
        (
            "allowed",
            "denied",
            "canary",
            "time",
            "no-data",
            "failed",
            "refused",
            "malformed",
            "limited",
            "dropped",
        ),
        0,
    )
    refusals = dict.fromkeys(REFUSALS, 0)
    for kind, reason, count in dns.get("answers", ()):
        if kind == "refused-address":
            refusals[reason] = refusals.get(reason, 0) + count
        elif kind in results:
            results[kind] += count
    for result, count in results.items():
        queries.add_metric([result], count)
    for reason, count in refusals.items():
        refused.add_metric([reason], count)
    yield queries
    yield refused
    elements = GaugeMetricFamily(
        "netguard_nft_set_elements", "Learned addresses that are open now", labels=["set"]
    )
    for service, count in sorted((dns.get("elements") or {}).items()):
        elements.add_metric([service], count)
    yield elements
    for kind, help_ in (
        ("cached", "Questions answered from an answer that still lived"),
        ("stale", "Questions answered from an ended answer while no resolver answered"),
        ("evicted", "Addresses that made room in a full set"),
    ):
        family = CounterMetricFamily(f"netguard_dns_{kind}", help_)
        family.add_metric([], sum(n for k, _, n in dns.get("answers", ()) if k == kind))
        yield family
    down = GaugeMetricFamily("netguard_dns_upstream_down", "Resolvers that do not answer now")
    down.add_metric([], sum(bool(each["down"]) for each in dns.get("upstream", ())))
    yield down
    failures = CounterMetricFamily(
        "netguard_dns_upstream_failures", "Upstream questions without an answer"
    )
    failures.add_metric([], sum((dns.get("upstream_failures") or {}).values()))
    yield failures


def _presence(view: View) -> Iterator[Metric]:
    tablets = GaugeMetricFamily(
        "netguard_presence_tablets",
        "Tablets by where they were heard last and what that means",
        labels=["site", "area", "presence"],
    )
    for key, count in sorted(view.presence.items()):
        tablets.add_metric(list(key), count)
    yield tablets
    changes = CounterMetricFamily(
        "netguard_presence_transitions", "Changes of presence", labels=["before", "after"]
    )
    for change, count in sorted(view.transitions.items()):
        changes.add_metric(list(change), count)
    yield changes
    alerts = CounterMetricFamily(
        "netguard_presence_alerts", "Incidents by what was said of them", labels=["kind", "cause"]
    )
    known = {(kind, cause): 0 for kind in KINDS for cause in (*CAUSES, BLIND)}
    for what, count in sorted((known | dict(view.alerts)).items()):
        alerts.add_metric(list(what), count)
    yield alerts
    false = CounterMetricFamily(
        "netguard_presence_false_alarms", "Alarms of a missing tablet that its return resolved"
    )
    false.add_metric([], view.false_alarms)
    yield false
    if view.budget is not None:
        budget = GaugeMetricFamily(
            "netguard_presence_false_alarm_budget", "False alarms a day that the rules allow"
        )
        budget.add_metric([], view.budget)
        yield budget
    told = CounterMetricFamily("netguard_presence_events", "Events that the engine was told")
    told.add_metric([], view.told)
    yield told


def _feeds(view: View) -> Iterator[Metric]:
    dropped = CounterMetricFamily(
        "netguard_feed_dropped", "Messages of feeds that were not used", labels=["reason"]
    )
    for reason, count in sorted(view.dropped.items()):
        dropped.add_metric([reason], count)
    yield dropped
    stale = GaugeMetricFamily(
        "netguard_feed_stale", "1 while a feed is silent for too long", labels=["feed"]
    )
    skew = GaugeMetricFamily(
        "netguard_feed_clock_skew_seconds", "How far a feed's clock is behind", labels=["feed"]
    )
    for feed, (_, silent, behind) in sorted(view.feeds.items()):
        stale.add_metric([feed], float(silent))
        if behind is not None:
            skew.add_metric([feed], behind)
    yield stale
    yield skew


def _delivery(view: View) -> Iterator[Metric]:
    sent = CounterMetricFamily(
        "netguard_notifications", "Alerts that receivers have taken", labels=["channel"]
    )
    failed = CounterMetricFamily(
        "netguard_notification_failures",
        "Attempts that receivers did not take",
        labels=["channel", "reason"],
    )
    for channel in CHANNELS:
        sent.add_metric([channel], view.sent[channel])
        for reason in ("unreachable", "refused"):
            failed.add_metric([channel, reason], view.unsent[channel, reason])
    yield sent
    yield failed
    letters = GaugeMetricFamily(
        "netguard_outbox_letters", "Alerts in the outbox by what became of them", labels=["state"]
    )
    for state in ("waiting", "sent", "dead", "held"):
        letters.add_metric([state], view.letters.get(state, 0))
    yield letters
    oldest = GaugeMetricFamily(
        "netguard_outbox_oldest_timestamp_seconds",
        "When the oldest alert that waits was written",
    )
    if view.oldest_letter:
        oldest.add_metric([], view.oldest_letter)
    yield oldest


def _radius(view: View) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "netguard_radius_admissions", "Answers of FreeRADIUS", labels=["site", "answer", "reason"]
    )
    for (site, answer, reason), count in sorted(view.admissions.items()):
        requests.add_metric([site, answer, reason], count)
    yield requests
    records = CounterMetricFamily(
        "netguard_radius_records", "Lines of the event log", labels=["kind"]
    )
    for kind in ("admission", "accounting"):
        records.add_metric([kind], view.accounting.get(kind, 0))
    yield records
    bad = CounterMetricFamily("netguard_radius_record_failures", "Lines of the event log put aside")
    bad.add_metric([], view.bad_records)
    yield bad
    failures = CounterMetricFamily(
        "netguard_store_failures", "Times that records could not be read or stored, and waited"
    )
    failures.add_metric([], view.store_failures)
    yield failures
    if view.strangers is not None:
        strangers = GaugeMetricFamily(
            "netguard_unknown_macs", "MACs outside the inventory that were refused and remembered"
        )
        strangers.add_metric([], view.strangers)
        yield strangers
    last = GaugeMetricFamily(
        "netguard_feed_last_event_timestamp_seconds", "Last event of a feed", labels=["feed"]
    )
    if view.last_record is not None:
        last.add_metric(["radius"], view.last_record)
    for feed, (at, _, _) in sorted(view.feeds.items()):
        last.add_metric([feed], at)
    yield last
