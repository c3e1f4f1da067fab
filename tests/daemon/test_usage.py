"""What guard and watch gather of use: by group, bounded, and nothing that nobody asked for."""

import datetime
import json
from ipaddress import ip_address

from netguard.adapters.conntrack import Opened
from netguard.core.denials import Denial
from netguard.core.names import Mac
from netguard.core.plan import compile_plan
from netguard.core.records import Asked
from netguard.core.usage import ALLOWED, FLOW, MOST_AT_ONCE, REFUSED
from netguard.daemon.usage import FlowUse, UseRecorder

NOW = datetime.datetime(2026, 11, 29, tzinfo=datetime.UTC)


def plan_of(policy):
    return compile_plan(policy, ["pellegrin"])


def denial(binding, to="203.0.112.9", port=443, interface="tab0", mac=None):
    return Denial(
        NOW,
        f"{binding.group}/deny",
        interface,
        mac or binding.mac,
        binding.address,
        ip_address(to),
        "tcp",
        port,
    )


def connection(binding, mark, id_=1):
    return Opened(id_, binding.address.packed, ip_address("170.114.10.7").packed, 17, 8801, mark)


def rows(answer):
    return [json.loads(line) for line in answer["used"]]


def test_flows_are_told_by_group_and_only_once(policy):
    plan, use = plan_of(policy), FlowUse()
    first = plan.bindings[0]
    grant = next(g for g in plan.grants if g.group == first.group)
    opened = [connection(first, grant.mark), connection(first, 0, 2)]
    use.refused(plan, denial(first))
    # Nobody had asked before: what was there is not told, what comes now is.
    assert rows(use.take(plan, opened, 0.0)) == []
    for _ in range(3):
        use.refused(plan, denial(first))
    found = rows(use.take(plan, [*opened, connection(first, grant.mark, 3)], 30.0))
    assert [(r["kind"], r["answer"], r["rule"], r["group"], r["times"]) for r in found] == [
        (FLOW, ALLOWED, grant.rule, first.group, 1),
        (FLOW, REFUSED, f"{first.group}/deny", first.group, 3),
    ]
    assert not any("mac" in row or first.tablet in json.dumps(row) for row in found)
    assert rows(use.take(plan, opened, 60.0)) == []
    use.refused(plan, denial(first))
    assert rows(use.take(plan, opened, 900.0)) == []


def test_packets_of_nobody_are_not_counted(policy):
    plan, use = plan_of(policy), FlowUse()
    first = plan.bindings[0]
    use.take(plan, [], 0.0)
    use.refused(None, denial(first))
    use.refused(plan, denial(first, interface="up0"))
    use.refused(plan, denial(first, mac=Mac.parse("02:00:00:00:00:99")))
    assert rows(use.take(plan, [], 30.0)) == []


def test_a_scan_is_bounded_and_counted(policy):
    plan, use = plan_of(policy), FlowUse()
    use.take(plan, [], 0.0)
    for port in range(1, 3001):
        use.refused(plan, denial(plan.bindings[0], port=port))
    told = use.take(plan, [], 30.0)
    assert (len(told["used"]), told["dropped"]) == (MOST_AT_ONCE, 3000 - MOST_AT_ONCE)


def asked(mac, answer="accept", rule="patients/admit"):
    return Asked(NOW, Mac.parse(mac), "pellegrin", "wlc-1", "AP-1", "TABLETS", answer, rule, "640")


def test_an_hour_is_written_once_and_a_stranger_under_another_address():
    recorder = UseRecorder()
    known = "64:1b:2f:00:00:01"
    recorder.admissions(
        [asked(known), asked(known), asked("3c:28:6d:11:22:33", "reject", "unknown-mac")],
        {known: 1},
    )
    assert recorder.lines(3600.0 * 10 + 5) != ""
    assert recorder.lines(3600.0 * 10 + 900) == ""
    recorder.admissions([asked("3c:28:6d:11:22:33", "reject", "unknown-mac")], {})
    (row,) = map(json.loads, recorder.lines(3600.0 * 11).split("\n"))
    assert row["at"] == 36000.0
    assert row["mac"].startswith("3c:28:6d:")
    assert row["mac"] != "3c:28:6d:11:22:33"
    other = UseRecorder()
    other.admissions([asked("3c:28:6d:11:22:33", "reject", "unknown-mac")], {})
    assert json.loads(other.lines(0.0, at_once=True))["mac"] != row["mac"], "its key ends with it"
