"""Runs inside the guest: systemd-networkd reads what the role's templates say, in a namespace with a cable or two.

No kernel of a test machine need have 802.1Q; the guest's has. What is written below /etc goes with the guest.
"""

import json
import os
import signal
import subprocess
from pathlib import Path
from time import monotonic, sleep

from netguard.errors import NetguardError

ROLE = Path(__file__).parents[2] / "deploy/ansible/roles/netguard/templates"
DAEMON = "/lib/systemd/systemd-networkd"
HOST, TRUNK, UPLINK = "networkd", "eno1", "eno2"
VLAN = {"name": "tab0.640", "id": 640}
VALUES = {
    "ansible_managed": "Ansible", "netguard_trunk": TRUNK, "netguard_vlans": [VLAN],
    "netguard_uplink": {"name": UPLINK, "address": "10.1.1.2/24", "gateway": "10.1.1.1", "dns": ["10.1.1.53"]},
    "item": VLAN,
}  # fmt: skip
# As the role names them (tasks/network.yml).
FILES = {
    f"60-netguard-{VLAN['name']}.netdev": "vlan.netdev.j2",
    f"60-netguard-{VLAN['name']}.network": "vlan.network.j2",
    "61-netguard-trunk.network": "trunk.network.j2",
    "61-netguard-uplink.network": "uplink.network.j2",
}
# Ansible's own settings of Jinja; Debian's Python has it, as the one that Ansible runs with.
_RENDER = """\
import jinja2, json, sys
names, values = json.load(sys.stdin)
env = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined)
print(json.dumps({file: env.from_string(text).render(values) for file, text in names.items()}))
"""


def inside(*words: str) -> str:
    done = subprocess.run(
        ["ip", "netns", "exec", HOST, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        raise NetguardError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def links() -> dict[str, dict]:
    return {row["ifname"]: row for row in json.loads(inside("ip", "-d", "-j", "addr"))}


def shown(patience: float) -> str:
    """Let it do its work and say what stands then. Raises NetguardError when it is not what the role promises."""
    texts = {file: (ROLE / template).read_text() for file, template in FILES.items()}
    done = subprocess.run(
        ["/usr/bin/python3", "-c", _RENDER], input=json.dumps([texts, VALUES]),
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    folder = Path("/etc/systemd/network")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in json.loads(done.stdout).items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o644)
    subprocess.run(["ip", "netns", "add", HOST], check=True)
    for link in (TRUNK, UPLINK):
        words = ("link", "add", link, "netns", HOST, "type", "veth", "peer", "name", f"{link}-far")
        subprocess.run(["ip", *words], check=True)
        subprocess.run(["ip", "link", "set", f"{link}-far", "up"], check=True)
    # With a /sys that cannot be written it waits for no udev, as in a container.
    words = f"mount -o remount,bind,ro /sys && exec {DAEMON}"
    daemon = subprocess.Popen(
        ["ip", "netns", "exec", HOST, "sh", "-c", words],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        end = monotonic() + patience
        while not (VLAN["name"] in links() and "10.1.1.1" in inside("ip", "route")):
            if daemon.poll() is not None or monotonic() > end:
                os.killpg(daemon.pid, signal.SIGKILL)
                said = daemon.communicate()[0]
                raise NetguardError(f"networkd has made {', '.join(links())}: {said[-1500:]}")
            sleep(0.2)
        return _judged(links())
    finally:
        if daemon.poll() is None:
            os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait(20)
        subprocess.run(["ip", "netns", "delete", HOST], check=False)
        for name in FILES:
            (folder / name).unlink()


def _judged(found: dict[str, dict]) -> str:
    vlan, uplink = found[str(VLAN["name"])], found[UPLINK]
    kind, data = vlan["linkinfo"]["info_kind"], vlan["linkinfo"]["info_data"]
    if (kind, data["protocol"], data["id"], vlan["link"]) != ("vlan", "802.1Q", VLAN["id"], TRUNK):
        raise NetguardError(f"{VLAN['name']} is {kind} {data} on {vlan['link']}")
    # guard brings it up, once its table stands.
    if "UP" in vlan["flags"] or vlan["addr_info"]:
        raise NetguardError(f"{VLAN['name']} is {vlan['flags']} with {vlan['addr_info']}")
    if "UP" not in found[TRUNK]["flags"] or [
        a for a in found[TRUNK]["addr_info"] if a["family"] == "inet"
    ]:
        raise NetguardError(f"{TRUNK} is {found[TRUNK]['flags']} with {found[TRUNK]['addr_info']}")
    if "10.1.1.2" not in [each["local"] for each in uplink["addr_info"]]:
        raise NetguardError(f"{UPLINK} has {uplink['addr_info']}")
    return f"{VLAN['name']} is 802.1Q {data['id']} on {TRUNK}, down until guard; {UPLINK} has 10.1.1.2 and its gateway"


if __name__ == "__main__":
    print(shown(60.0))
