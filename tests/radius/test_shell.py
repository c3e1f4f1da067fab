"""Texts that are programs: neither from its files nor from a request does a real FreeRADIUS run one."""

import os
from dataclasses import replace
from pathlib import Path

from netguard.core import radius
from netguard.core.policy import Area
from netguard.core.radius import Code, Type
from netguard.lab import shapes
from tests.radius.test_hours import sources  # noqa: F401  # a fixture
from tests.radius.test_judges import answering, hospital

# Short, since an AP's name has 64 characters; where the server may write.
CANARY = Path(f"/tmp/netguard-{os.getpid()}")  # only looked at


def programs(canary: Path) -> list[str]:
    touch = f"/usr/bin/touch {canary}"
    return [
        f"`{touch}`",
        f"%{{exec:{touch}}}",
        f"$(%{{exec:{touch}}})",
        f"; {touch}",
        f'"}} `{touch}` {{"',
        f"%{{%{{exec:{touch}}}:-x}}",
        "%{User-Name}`",
        f"$ENV{{PATH}}`{touch}`",
    ]


def test_nothing_of_a_file_or_a_request_is_run(example, sources):  # noqa: F811  # the fixture
    policy = hospital(example, sources)
    site = policy.sites["pellegrin"]
    canary = Path("/tmp/netguard-canary")  # only looked at
    assert not canary.exists()
    names = tuple(text[:64] for text in programs(canary))
    site = replace(
        site, ssid="x; touch CANARY", areas={"shell": Area("shell", "", names, closed_to=("demo",))}
    )
    policy = replace(policy, sites={**policy.sites, site.name: site})
    tablet = next(t for t in policy.tablets.values() if t.group == "demo" and t.id > "T-006")
    nas = "wlc-1"
    with answering(policy) as server:
        for text in (*programs(canary), *names):
            sent = list(
                shapes.attributes(
                    "hostapd", str(tablet.mac), bssid="88:99:aa:bb:cc:dd", ap=text, ssid=text[:32], nas=text, address=bytes([10, 1, 2, 10])
                )
            )  # fmt: skip
            sent += [radius.text(kind, text) for kind in (Type.CALLED_STATION_ID, Type.USER_NAME)]
            reply = server.send(
                Code.ACCESS_REQUEST, tuple(sent), source=sources[nas], password=text.encode()
            )
            assert reply is not None
            server.account(mac=text, source=sources[nas])
        assert server.is_up()
        listed = server.ask(
            str(tablet.mac),
            None,
            radius.text(Type.CALLED_STATION_ID, "AP-1:x"),
            source=sources[nas],
        )
        assert listed is not None
        written = [path.name for path in server.folder.rglob("*") if "CANARY" in path.name]
    assert written == []
    assert not canary.exists()


def test_a_program_that_is_run_leaves_what_the_test_above_looks_for(fresh):
    policy = fresh.hooks / "policy.d" / "netguard"
    planted = f"netguard_admit {{\n\tupdate control {{\n\t\t&Netguard-Text := `/usr/bin/touch {CANARY}`\n\t}}\n"
    policy.write_text(policy.read_text().replace("netguard_admit {\n", planted, 1))
    fresh.give_away()
    fresh.start()
    try:
        assert fresh.ask("3c286daa0110", "3C-28-6D-AA-01-10") is not None
        assert CANARY.exists()
    finally:
        CANARY.unlink(missing_ok=True)
