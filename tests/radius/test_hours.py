"""A real FreeRADIUS on a played clock judges hours as the core does, over the changes of the clocks of four zones."""

import tempfile
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from netguard.core.admission import Request, decide
from netguard.core.radius import Code, Type
from netguard.core.week import Hours, Window, weekly
from netguard.lab import shapes
from tests.radius.test_judges import addresses, answering, hospital, number, read

FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
VISITS = replace(
    weekly(
        {
            "mon-fri": [Window.parse("10:00-12:00"), Window.parse("14:00-20:00")],
            "sat,sun": [Window.parse("00:30-01:50"), Window.parse("03:10-13:00"), Window.parse("22:00-24:00")],
        }
    ),
    grace=timedelta(minutes=20),
)  # fmt: skip
NIGHTS = Hours.of(
    [Window.parse("00:00-02:15"), Window.parse("02:45-12:00"), Window.parse("20:00-24:00")]
)
# Two zones on one node each time: a group for each.
PAIRS = [
    (("Europe/Paris", "2026-03-29T01:00"), ("America/New_York", "2026-03-08T07:00")),
    (("Europe/Paris", "2026-10-25T01:00"), ("America/New_York", "2026-11-01T06:00")),
    (("Australia/Lord_Howe", "2026-04-04T15:00"), ("Asia/Kolkata", "2026-04-04T15:00")),
    (("Australia/Lord_Howe", "2026-10-03T15:30"), ("Asia/Kolkata", "2026-10-03T15:30")),
]


@pytest.fixture(scope="module")
def sources(example):
    return addresses(example)


def two_zones(example, sources, zones):
    """The hospital with its sites in two time zones, one group with hours at each."""
    policy = hospital(example, sources)
    names = sorted(policy.sites)
    sites = {
        name: replace(policy.sites[name], time_zone=zone)
        for name, zone in zip(names, zones, strict=True)
    }
    groups = {name: replace(group, hours=None) for name, group in policy.groups.items()}
    groups["patients"] = replace(groups["patients"], sites=(names[0],), hours=VISITS)
    groups["family-room"] = replace(
        groups["family-room"], sites=(names[1],), hours=NIGHTS, session_timeout=timedelta(hours=6)
    )
    return replace(policy, sites=sites, groups=groups)


@contextmanager
def at_any_time(policy):
    """A server whose clock stands at what the file says, whatever time zone its environment has."""
    assert FAKETIME, "libfaketime is of scripts/debian/test.txt"
    # Not pytest's own folder: that one is closed to other users, and the server is one.
    with tempfile.TemporaryDirectory(prefix="netguard-clock-") as folder:
        Path(folder).chmod(0o755)
        now = Path(folder) / "now"
        put(now, datetime(2026, 1, 1, tzinfo=UTC))
        # For FreeRADIUS alone: what drops its rights first would leave it a lock that it cannot open.
        through = (
            "env",
            f"LD_PRELOAD={FAKETIME[0]}",
            f"FAKETIME_TIMESTAMP_FILE={now}",
            "FAKETIME_NO_CACHE=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
            "TZ=UTC",
        )
        with answering(policy, through=through) as server:
            yield server, now


def put(now: Path, moment: datetime) -> None:
    fresh = now.with_suffix(".new")
    fresh.write_text(f"{moment:%Y-%m-%d %H:%M:%S}\n")
    fresh.chmod(0o644)
    fresh.replace(now)


def moments(turn: datetime) -> list[datetime]:
    """Every ten minutes around a change of the clocks, and every two hours of the week around it."""
    near = [
        turn + timedelta(minutes=m, seconds=s) for m in range(-150, 151, 10) for s in (-1, 0, 31)
    ]
    far = [turn + timedelta(hours=h, minutes=7) for h in range(-84, 84, 2)]
    return sorted({*near, *far})


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair[0][0]}, {pair[0][1]}")
def test_freeradius_and_the_core_agree_over_a_change_of_the_clocks(example, sources, pair):
    policy = two_zones(example, sources, [zone for zone, _ in pair])
    asked = [
        next(t for t in policy.tablets.values() if t.group == group and t.id > "T-006")
        for group in ("patients", "family-room")
    ]
    found, admitted, refused = [], 0, 0
    turns = sorted({datetime.fromisoformat(turn).replace(tzinfo=UTC) for _, turn in pair})
    with at_any_time(policy) as (server, now):
        for moment in (each for turn in turns for each in moments(turn)):
            put(now, moment)
            for tablet in asked:
                said, wanted = answers(policy, server, sources, tablet, moment)
                admitted += wanted[0] == "accept"
                refused += wanted[0] == "reject"
                if said != wanted:
                    found.append(f"{moment} {tablet.group}: {said}, wanted {wanted}")
    assert not found, f"{len(found)} differences\n" + "\n".join(found[:10])
    assert admitted > 50
    assert refused > 50


def answers(policy, server, sources, tablet, moment):
    """What the server and what the core say of a tablet at the site of its group."""
    site = policy.sites[policy.groups[tablet.group].sites[0]]
    nas = min(site.nas)
    sent = shapes.attributes(
        "hostapd", str(tablet.mac), bssid="88:99:aa:bb:cc:dd", ap="x", ssid=site.ssid, nas="x", address=bytes([10, 1, 2, 10])
    )  # fmt: skip
    wanted = decide(policy, Request(nas, read(sent)), {}, moment)
    reply, event = server.event_of(
        server.send, Code.ACCESS_REQUEST, sent, source=sources[nas], password=b"x"
    )
    assert reply is not None
    said = (
        "accept" if reply.code == Code.ACCESS_ACCEPT else "reject",
        event["rule"],
        number(reply, Type.SESSION_TIMEOUT),
    )
    return said, (wanted.answer, wanted.rule, wanted.session_timeout)
