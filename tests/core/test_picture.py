"""The picture of an evaluation: what has a figure is drawn, and nothing else is."""

import re
from xml.etree import ElementTree as ET

from netguard.core.picture import operating_points


def said(*points, delay=120.0, **rivals):
    return {
        "points": [{"false_per_week": x, "median_delay": y} for x, y in points],
        "engine": {"false_per_week": 1.0, "median_delay": delay},
        "rivals": {
            name: {"false_per_week": x, "median_delay": y} for name, (x, y) in rivals.items()
        },
    }


def drawn(picture):
    """Return the names of the points in a picture, and how many there are on its curve."""
    root = ET.fromstring(picture)
    tag = "{http://www.w3.org/2000/svg}"
    names = [text.text for text in root.iter(f"{tag}text") if text.get("fill")]
    assert len(names) == len(list(root.iter(f"{tag}circle")))
    return names, sum(len(line.get("points").split()) for line in root.iter(f"{tag}polyline"))


def test_a_rival_that_finds_no_theft_has_no_point_and_is_no_error():
    picture = operating_points(said((1.0, 60.0), (2.0, None), fast=(9.0, 300.0), never=(0.5, None)))
    assert drawn(picture) == (["netguard", "fast"], 1)


def test_without_a_theft_there_are_the_axes_alone():
    picture = operating_points(said((1.0, None), delay=None))
    assert drawn(picture) == ([], 0)
    assert "false theft alarms a week" in picture


def test_what_lies_beyond_the_axes_is_drawn_at_their_ends():
    picture = operating_points(said((0.0, 1.0), (1e9, 1e9)))
    (points,) = re.findall(r'<polyline points="([^"]+)"', picture)
    assert points == "70.0,360.0 470.0,40.0"
