"""One appliance that the tests of this folder share: made by the role, booted by systemd, in a hospital's `gw`."""

import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "deploy"))

from appliance import VAULT, Appliance, quiet
from around import Around
from machine import PYTHONS, RELEASE, ROOT, Machine, run


@pytest.fixture(scope="session")
def appliance(tmp_path_factory):
    """Build, install into a tree that lies there, boot it, bring the rules; twice each."""
    if os.geteuid() != 0:
        pytest.skip("needs root: it makes a Debian of its own and boots it")
    folder = tmp_path_factory.mktemp("system")
    name = f"y{os.getpid()}"
    environment = {**os.environ, "NETGUARD_BUNDLE_PYTHONS": PYTHONS[RELEASE]}
    run("make", "-C", ROOT, "bundle", env=environment)
    bundle = next((ROOT / "dist").glob("netguard-*.tar.gz"))
    machine = Machine(folder, name)
    lab = Around.up(name, say=quiet)
    spare = folder / "spare"
    spare.mkdir()
    try:
        rules = folder / "rules"
        shutil.copytree(lab.layout.rules, rules)
        secret = (lab.layout.folder / "secrets/nas-wlc-1.conf").read_text().split()[2]
        made = Appliance(machine, lab, folder, bundle, rules, spare, [secret, VAULT])
        machine.make()
        made.play("lies there")
        made.play("lies there, again")
        # Another one with the programs and nothing in force: for a restore, and to be taken away.
        machine.leave()
        run("cp", "--archive", "--reflink=auto", machine.tree, spare / "tree")
        machine.boot(lab.layout.namespace("gw"))
        made.seen["at first"] = machine.sh("nft list ruleset; ip -br link show tab0")
        # As it was at boot: tests stop and start units.
        made.seen["boot"] = {
            unit: int(machine.unit(unit, "ActiveEnterTimestampMonotonic"))
            for unit in ("netguard-blocked", "network-pre.target", "netguard-guard")
        }
        made.play("booted")
        made.play("booted, again")
        lab.start("nas")
        for tablet in ("t1", "t2"):
            assert lab.join(tablet)["answer"] == "accept"
            lab.dhcp(tablet)
        yield made
    finally:
        machine.remove()
        lab.down()
