"""What a scrape costs: the series that a fleet of 10,000 tablets makes, and none that names one of them."""

from collections import Counter

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from netguard.core.presence.actions import CAUSES, STATES
from netguard.metrics import NetguardCollector, View


def fleet(sites=4, areas=50, groups=6, services=30):
    """A view as large as it gets: 2,000 access points in 200 areas, every presence in each of them."""
    view = View()
    names = [(f"site-{s}", f"area-{a}") for s in range(sites) for a in range(areas)]
    view.presence = {(*where, state): 10 for where in names for state in STATES}
    view.counters = {
        f"group-{g}/service-{s}": [1, 1] for g in range(groups) for s in range(services)
    }
    view.counters |= {f"group-{g}/reason-{r}": [1, 1] for g in range(groups) for r in range(15)}
    view.admissions = {
        (f"site-{s}", answer, f"group-{g}/admit"): 1
        for s in range(sites) for answer in ("accept", "reject") for g in range(groups)
    }  # fmt: skip
    view.alerts = Counter({(kind, cause): 1 for kind in ("raised", "cleared") for cause in CAUSES})
    view.guard = {
        "state": "guarding",
        "tablets": {f"site-{s}": 2500 for s in range(sites)},
        "belt": True,
    }
    view.dns = {
        "answers": [],
        "elements": {f"service-{s}": 100 for s in range(services)},
        "upstream": [],
    }
    return view


def exposed(view):
    collector, registry = NetguardCollector(), CollectorRegistry()
    collector.view = view
    registry.register(collector)
    return generate_latest(registry).decode()


def test_ten_thousand_tablets_are_at_most_two_thousand_series():
    series = [line for line in exposed(fleet()).splitlines() if not line.startswith("#")]
    assert 1000 < len(series) <= 2000


def test_what_is_known_in_advance_starts_at_nothing():
    text = exposed(View())
    for line in (
        'netguard_presence_alerts_total{cause="taken",kind="raised"} 0.0',
        'netguard_notifications_total{channel="alertmanager"} 0.0',
        'netguard_notification_failures_total{channel="mail",reason="refused"} 0.0',
        'netguard_outbox_letters{state="waiting"} 0.0',
    ):
        assert line in text


def test_what_left_the_air_is_counted_by_nas_and_bounded_outcomes():
    view = View()
    steps = [{"step": "kernel", "state": "done"}, {"step": "proof", "state": "failed"}]
    going = [{"step": "kernel", "state": "done"}, {"step": "proof", "state": "pending"}]
    view.guard = {
        "quarantined": ["T-001"],
        "removals": [{"tablet": "T-001", "steps": steps}, {"tablet": "T-002", "steps": going}],
        "coa": [["wlc-1", "disconnect", "sent", 3], ["wlc-1", "disconnect", "nak-503", 1]],
    }
    text = exposed(view)
    for line in (
        "netguard_quarantined 1.0",
        'netguard_removals{state="failing"} 1.0',
        'netguard_removals{state="going"} 1.0',
        'netguard_coa_requests_total{kind="disconnect",nas="wlc-1",outcome="sent"} 3.0',
        'netguard_coa_requests_total{kind="disconnect",nas="wlc-1",outcome="nak-503"} 1.0',
    ):
        assert line in text
    assert "T-001" not in text


def test_overdue_loans_are_counted_by_site():
    view = fleet()
    view.guard |= {"overdue": {"site-0": 0, "site-1": 3}}
    text = exposed(view)
    assert 'netguard_loans_overdue{site="site-0"} 0.0' in text
    assert 'netguard_loans_overdue{site="site-1"} 3.0' in text
