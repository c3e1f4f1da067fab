#!/usr/bin/env python3
"""Draws a dashboard's panels as one SVG, from the answers of a Prometheus to the very queries of the dashboard.

    scripts/panels.py --prometheus http://127.0.0.1:9090 --range 600 deploy/grafana/netguard-fleet.json > fleet.svg

For docs and for a look without a Grafana. Standard library only.
"""

import argparse
import json
import sys
import urllib.parse
import urllib.request
from datetime import UTC, datetime
from html import escape
from pathlib import Path

CELL, ROW, GAP, HEAD = 40, 30, 6, 22
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b", "#17becf", "#7f7f7f")
MOST = len(COLOURS)


def ask(base: str, path: str, **words: str) -> list[dict]:
    """Return what a Prometheus answers."""
    url = f"{base}/api/v1/{path}?{urllib.parse.urlencode(words)}"
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)["data"]["result"]


def filled(expr: str, interval: int) -> str:
    """Return a panel's query with its variables set to "All"."""
    text = expr.replace("$__rate_interval", f"{interval}s")
    for name in ("job", "instance", "site", "area"):
        text = text.replace(f"${name}", ".*")
    return text


def legend(pattern: str, labels: dict[str, str]) -> str:
    """Return a series' name."""
    for name, value in labels.items():
        pattern = pattern.replace("{{" + name + "}}", value)
    return pattern


def stat(base: str, panel: dict, interval: int, width: int, height: int) -> list[str]:
    """Return a panel of one number."""
    found = ask(base, "query", query=filled(panel["targets"][0]["expr"], interval))
    value = f"{float(found[0]['value'][1]):g}" if found else "no data"
    if found and panel["fieldConfig"]["defaults"]["unit"] == "dateTimeAsIso":
        moment = datetime.fromtimestamp(float(found[0]["value"][1]) / 1000, UTC)
        value = f"{moment:%Y-%m-%d %H:%M}"
    return [
        f'<text x="{width / 2:.0f}" y="{height / 2 + 24:.0f}" font-size="30" text-anchor="middle">{value}</text>'
    ]


def lines(base: str, panel: dict, span: int, interval: int, width: int, height: int) -> list[str]:
    """Return a panel of lines, the highest first."""
    # A scalar is [moment, value]: the clock of whoever has the data.
    now = float(ask(base, "query", query="time()")[0])
    step = max(1, span // 120)
    series = []
    for target in panel["targets"]:
        query = filled(target["expr"], interval)
        words = {"query": query, "start": str(now - span), "end": str(now), "step": str(step)}
        for row in ask(base, "query_range", **words):
            points = [(float(at), float(value)) for at, value in row["values"]]
            series.append((legend(target["legendFormat"], row["metric"]), points))
    series.sort(key=lambda each: -max(value for _, value in each[1]))
    left, bottom, right = 46, height - 44, width - 10
    top = max((value for _, points in series for _, value in points), default=0) or 1
    shapes = [f'<path d="M{left},{HEAD + 8} V{bottom} H{right}" fill="none" stroke="#999"/>']
    for share in (0, 0.5, 1):
        y = bottom - share * (bottom - HEAD - 8)
        shapes.append(
            f'<text x="{left - 5}" y="{y + 4:.0f}" text-anchor="end" fill="#555">{share * top:.3g}</text>'
        )
    for number, (name, points) in enumerate(series[:MOST]):
        colour = COLOURS[number]
        path = " ".join(
            f"{left + (at - now + span) / span * (right - left):.1f},"
            f"{bottom - value / top * (bottom - HEAD - 8):.1f}"
            for at, value in points
        )
        shapes.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>'
        )
        x, y = left + number % 4 * (width - left) / 4, height - 26 + number // 4 * 14
        shapes.append(f'<text x="{x:.0f}" y="{y}" fill="{colour}">{escape(name[:24])}</text>')
    if len(series) > MOST:
        shapes.append(
            f'<text x="{right}" y="{height - 4}" text-anchor="end">and {len(series) - MOST} more</text>'
        )
    if not series:
        shapes.append(f'<text x="{width / 2}" y="{height / 2}" text-anchor="middle">no data</text>')
    return shapes


def main() -> int:
    """Draw one dashboard."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", metavar="URL")
    parser.add_argument("--range", type=int, default=3600, metavar="SECONDS")
    parser.add_argument("--interval", type=int, default=60, metavar="SECONDS", help="for rates")
    parser.add_argument("dashboard", type=Path)
    arguments = parser.parse_args()
    board = json.loads(arguments.dashboard.read_text(encoding="utf-8"))
    deepest = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in board["panels"])
    wide, tall = 24 * CELL, deepest * ROW + 40
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{tall}" font-family="sans-serif" font-size="11">',
        f'<rect width="100%" height="100%" fill="#f4f4f4"/><text x="10" y="24" font-size="17">{escape(board["title"])}</text>',
    ]
    for panel in board["panels"]:
        at = panel["gridPos"]
        width, height = at["w"] * CELL - GAP, at["h"] * ROW - GAP
        out.append(f'<g transform="translate({at["x"] * CELL + GAP / 2},{at["y"] * ROW + 36})">')
        out.append(f'<rect width="{width}" height="{height}" fill="white" stroke="#ccc"/>')
        out.append(
            f'<text x="10" y="17" font-size="13" font-weight="bold">{escape(panel["title"])}</text>'
        )
        if panel["type"] == "stat":
            out += stat(arguments.prometheus, panel, arguments.interval, width, height)
        else:
            out += lines(
                arguments.prometheus, panel, arguments.range, arguments.interval, width, height
            )
        out.append("</g>")
    print("\n".join([*out, "</svg>"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
