#!/usr/bin/env python3
"""Writes deploy/grafana/*.json: what is on each dashboard is here, what Grafana wants around it as well.

    scripts/dashboards.py            write them
    scripts/dashboards.py --check    exit 1 when what is written is not what this makes

Classic JSON, schema 39: Grafana 9 and later migrate it forward. No plugin panels.
"""

import json
import sys
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "deploy" / "grafana"
# What every query names; and by site where a figure has one.
OF = 'job=~"$job", instance=~"$instance"'
SITE = f'{OF}, site=~"$site"'

FLEET = (
    ("stat", "Tablets present", "Tablets that are heard now.", "short",
     [(f'sum(netguard_presence_tablets{{{SITE}, presence="present"}})', "present")]),
    ("stat", "Tablets missing", "Tablets whose silence is no outage and no sleep in an area where they sleep.", "short",
     [(f'sum(netguard_presence_tablets{{{SITE}, presence="missing"}})', "missing")]),
    ("stat", "Tablets unreachable", "Their access point, controller or feed is down: nothing can be said of them.", "short",
     [(f'sum(netguard_presence_tablets{{{SITE}, presence="unreachable"}})', "unreachable")]),
    ("stat", "Reported lost or stolen", "What people said; these are refused everywhere.", "short",
     [(f'sum(netguard_loans{{{OF}, state=~"lost|stolen"}})', "lost or stolen")]),
    ("timeseries", "Tablets by presence", "All tablets of the chosen sites, by what their last sign of life means.", "short",
     [(f"sum by (presence) (netguard_presence_tablets{{{SITE}}})", "{{presence}}")]),
    ("timeseries", "Admissions", "What FreeRADIUS answered, by answer.", "reqps",
     [(f"sum by (answer) (rate(netguard_radius_admissions_total{{{SITE}}}[$__rate_interval]))", "{{answer}}")]),
    ("timeseries", "Alerts about tablets and places", "Raised, changed and cleared, by cause.", "short",
     [(f"sum by (kind, cause) (increase(netguard_presence_alerts_total{{{OF}}}[$__rate_interval]))", "{{kind}} {{cause}}")]),
    ("timeseries", "False alarms against the budget", "Alarms that a return resolved, in a week, beside what presence.yaml allows.", "short",
     [(f"sum(increase(netguard_presence_false_alarms_total{{{OF}}}[7d]))", "in the last week"),
      (f"7 * sum(netguard_presence_false_alarm_budget{{{OF}}})", "allowed in a week")]),
)  # fmt: skip
AREA_OF = f'{SITE}, area=~"$area"'
AREA = (
    ("timeseries", "Tablets here by presence", "Tablets heard last in the chosen areas.", "short",
     [(f"sum by (presence) (netguard_presence_tablets{{{AREA_OF}}})", "{{presence}}")]),
    ("timeseries", "Present by area", "Where the tablets are.", "short",
     [(f'sum by (area) (netguard_presence_tablets{{{AREA_OF}, presence="present"}})', "{{area}}")]),
    ("timeseries", "Missing and unreachable by area", "Silence that is unexplained, and silence behind something that is down.", "short",
     [(f'sum by (area, presence) (netguard_presence_tablets{{{AREA_OF}, presence=~"missing|unreachable"}})', "{{area}} {{presence}}")]),
)  # fmt: skip
NAMES = (
    ("timeseries", "Questions of tablets", "By what became of them; denied is a name that no rule allows.", "reqps",
     [(f"sum by (result) (rate(netguard_dns_queries_total{{{OF}}}[$__rate_interval]))", "{{result}}")]),
    ("stat", "Resolvers down", "Of the hospital's resolvers that netguard asks.", "short",
     [(f"sum(netguard_dns_upstream_down{{{OF}}})", "down")]),
    ("timeseries", "Answers refused for an address", "A name answered with a protected, own or special address; nothing was opened.", "short",
     [(f"sum by (reason) (increase(netguard_dns_refused_answers_total{{{OF}}}[$__rate_interval]))", "{{reason}}")]),
    ("timeseries", "Learned addresses that are open", "By service.", "short",
     [(f"sum by (set) (netguard_nft_set_elements{{{OF}}})", "{{set}}")]),
    ("timeseries", "New flows that are let in", "By group and service.", "pps",
     [(f'sum by (rule) (rate(netguard_policy_packets_total{{{OF}, verdict="accept"}}[$__rate_interval]))', "{{rule}}")]),
    ("timeseries", "Packets that are refused", "By group and reason.", "pps",
     [(f'sum by (rule) (rate(netguard_policy_packets_total{{{OF}, verdict="deny"}}[$__rate_interval]))', "{{rule}}")]),
)  # fmt: skip
APPLIANCE = (
    ("stat", "Daemons that answer", "guard and dns; watch is what is scraped.", "short",
     [(f"sum(netguard_up{{{OF}}})", "daemons")]),
    ("stat", "Rules in force since", "When the rules in force were applied.", "dateTimeAsIso",
     [(f"1000 * max(netguard_rules_applied_timestamp_seconds{{{OF}}})", "applied")]),
    ("stat", "Belt in place", "The routing rules that hold if somebody flushes the ruleset.", "bool_yes_no",
     [(f"min(netguard_belt_in_place{{{OF}}})", "belt")]),
    ("timeseries", "Enforcers that are not at the plan", "1 while one of them lags; it is tried again every few seconds.", "short",
     [(f"sum by (enforcer) (netguard_problem{{{OF}}})", "{{enforcer}}")]),
    ("timeseries", "Changes of the ruleset by somebody else", "Each was put back; netguard status names who it was.", "short",
     [(f"sum(increase(netguard_nft_drift_total{{{OF}}}[$__rate_interval]))", "changes")]),
    ("timeseries", "Records read", "Lines of the event log, and those that could not be read.", "reqps",
     [(f"sum by (kind) (rate(netguard_radius_records_total{{{OF}}}[$__rate_interval]))", "{{kind}}"),
      (f"sum(rate(netguard_radius_record_failures_total{{{OF}}}[$__rate_interval]))", "unreadable")]),
    ("timeseries", "Alerts delivered", "By channel, and attempts that failed.", "short",
     [(f"sum by (channel) (increase(netguard_notifications_total{{{OF}}}[$__rate_interval]))", "{{channel}}"),
      (f"sum by (channel, reason) (increase(netguard_notification_failures_total{{{OF}}}[$__rate_interval]))", "{{channel}} {{reason}}")]),
    ("timeseries", "Alerts in the outbox", "By what became of them; waiting is what no receiver has taken yet.", "short",
     [(f"sum by (state) (netguard_outbox_letters{{{OF}}})", "{{state}}")]),
)  # fmt: skip

DASHBOARDS = (
    ("netguard-fleet", "netguard: fleet", FLEET, ("site",)),
    ("netguard-area", "netguard: an area", AREA, ("site", "area")),
    ("netguard-names", "netguard: names and refusals", NAMES, ()),
    ("netguard-appliance", "netguard: the appliance", APPLIANCE, ()),
)
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WIDE, _NARROW, _TALL, _LOW = 12, 6, 8, 4


def dashboard(uid: str, title: str, panels: tuple, variables: tuple[str, ...]) -> dict:
    """Return one dashboard."""
    return {
        "uid": uid,
        "title": title,
        "tags": ["netguard"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "links": [
            {
                "type": "dashboards", "title": "netguard", "tags": ["netguard"], "asDropdown": True,
                "includeVars": True, "keepTime": True, "targetBlank": False, "icon": "external link",
                "tooltip": "", "url": "",
            }
        ],
        "annotations": {
            "list": [
                {
                    "name": "rules applied", "datasource": _SOURCE, "enable": True, "hide": False,
                    "iconColor": "blue", "titleFormat": "rules applied",
                    "expr": f"changes(netguard_rules_applied_timestamp_seconds{{{OF}}}[1m]) > 0",
                }
            ]
        },
        "templating": {"list": [_datasource(), *map(_variable, ("job", "instance", *variables))]},
        "panels": _laid_out(panels),
    }  # fmt: skip


def _datasource() -> dict:
    return {
        "name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source",
        "hide": 0, "multi": False, "includeAll": False, "refresh": 1, "regex": "", "current": {},
    }  # fmt: skip


def _variable(name: str) -> dict:
    metric = {"job": "netguard_up", "instance": 'netguard_up{job=~"$job"}'}.get(
        name, f"netguard_presence_tablets{{{OF}}}"
    )
    if name == "area":
        metric = f"netguard_presence_tablets{{{SITE}}}"
    query = f"label_values({metric}, {name})"
    return {
        "name": name, "label": name.capitalize(), "type": "query", "datasource": _SOURCE,
        "definition": query, "query": {"query": query, "refId": name}, "multi": True,
        "includeAll": True, "allValue": ".+", "refresh": 2, "sort": 1, "hide": 0, "regex": "",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }  # fmt: skip


def _laid_out(panels: tuple) -> list[dict]:
    found, x, y, tallest = [], 0, 0, 0
    for number, (kind, title, description, unit, targets) in enumerate(panels, 1):
        width, height = (_NARROW, _LOW) if kind == "stat" else (_WIDE, _TALL)
        if x + width > 24:
            x, y, tallest = 0, y + tallest, 0
        found.append(
            {
                "id": number,
                "type": kind,
                "title": title,
                "description": description,
                "datasource": _SOURCE,
                "gridPos": {"x": x, "y": y, "w": width, "h": height},
                "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
                "options": _options(kind),
                "targets": [
                    {
                        "refId": chr(65 + n), "datasource": _SOURCE, "expr": expr,
                        "legendFormat": legend, "editorMode": "code", "range": kind != "stat",
                        "instant": kind == "stat",
                    }
                    for n, (expr, legend) in enumerate(targets)
                ],
            }
        )  # fmt: skip
        x, tallest = x + width, max(tallest, height)
    return found


def _options(kind: str) -> dict:
    if kind == "stat":
        return {
            "reduceOptions": {"calcs": ["lastNotNull"]},
            "colorMode": "value",
            "graphMode": "none",
        }
    return {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


def main() -> int:
    """Write or compare."""
    stale = []
    FOLDER.mkdir(parents=True, exist_ok=True)
    for uid, title, panels, variables in DASHBOARDS:
        file = FOLDER / f"{uid}.json"
        text = json.dumps(dashboard(uid, title, panels, variables), indent=1) + "\n"
        if "--check" in sys.argv[1:]:
            if not file.exists() or file.read_text(encoding="utf-8") != text:
                stale.append(file.name)
        else:
            file.write_text(text, encoding="utf-8")
    if stale:
        print(f"not what scripts/dashboards.py makes: {', '.join(stale)}; run it")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
