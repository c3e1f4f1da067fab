"""One picture: delay against false alarms, as SVG text of our own."""

import math
from collections.abc import Iterable
from typing import Any

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 640, 420, 70, 60, 40, 170
# Both axes are logarithmic: false alarms a week, and seconds of median delay.
_X, _Y = (0.01, 10_000.0), (30.0, 7200.0)


def operating_points(said: dict[str, Any]) -> str:
    """Return the operating points of a report: the engine's curve, its present point, the rivals."""
    curve = [
        (point["false_per_week"], point["median_delay"])
        for point in said["points"]
        if point["median_delay"] is not None
    ]
    shapes = [*_axes()]
    if curve:
        path = " ".join(f"{_across(x):.1f},{_up(y):.1f}" for x, y in curve)
        shapes.append(f'<polyline points="{path}" fill="none" stroke="#0060a0" stroke-width="2"/>')
    engine = said["engine"]
    shapes += _point("netguard", engine["false_per_week"], engine["median_delay"], "#0060a0")
    for name, row in sorted(said["rivals"].items()):
        shapes += _point(name, row["false_per_week"], row["median_delay"], "#a04000")
    body = "\n".join(shapes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def _axes() -> Iterable[str]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    yield (
        f'<path d="M{_LEFT},{_TOP} V{bottom} H{right}" fill="none" stroke="black"/>'
        f'<text x="{_LEFT}" y="20">median delay of thefts against false alarms (synthetic data)</text>'
        f'<text x="{(_LEFT + right) / 2:.0f}" y="{_HEIGHT - 15}" text-anchor="middle">'
        "false theft alarms a week</text>"
        f'<text x="18" y="{(_TOP + bottom) / 2:.0f}" text-anchor="middle" '
        f'transform="rotate(-90 18 {(_TOP + bottom) / 2:.0f})">seconds</text>'
    )
    for tick in (0.01, 0.1, 1, 10, 100, 1000, 10_000):
        x = _across(tick)
        yield f'<path d="M{x:.1f},{bottom} v5" stroke="black"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{tick:g}</text>'
    for tick in (30, 60, 180, 300, 900, 1800, 3600, 7200):
        y = _up(tick)
        yield f'<path d="M{_LEFT},{y:.1f} h-5" stroke="black"/>'
        yield f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick}</text>'


def _point(name: str, x: float | None, y: float | None, colour: str) -> list[str]:
    if x is None or y is None:
        return []
    across, up = _across(x), _up(y)
    return [
        f'<circle cx="{across:.1f}" cy="{up:.1f}" r="4" fill="{colour}"/>',
        f'<text x="{across + 8:.1f}" y="{up + 4:.1f}" fill="{colour}">{name}</text>',
    ]


def _across(value: float) -> float:
    return _LEFT + (_WIDTH - _RIGHT - _LEFT) * _scaled(value, _X)


def _up(value: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * _scaled(value, _Y)


def _scaled(value: float, span: tuple[float, float]) -> float:
    low, high = span
    inside = min(high, max(low, value))
    return math.log(inside / low) / math.log(high / low)
