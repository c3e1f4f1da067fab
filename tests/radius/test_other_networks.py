"""The policy for other networks, in a FreeRADIUS that is not ours: tablets are rejected, nobody else notices."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import unquote

import pytest

from netguard.core import radius
from netguard.core.plan import compile_plan
from netguard.core.radius import Code, Type
from netguard.lab import shapes
from netguard.render import freeradius
from tests.radius.conftest import NOBODY, PATIENCE, ROOT, SECRET, free_ports
from tests.radius.test_freeradius import HOSTILE
from tests.radius.test_judges import spelled

HOOKS = ROOT / "radius_hooks" / "other-networks"
MONITOR = "00:1b:21:aa:00:01"
# What a hospital may have: monitors by MAC, people by password (PAP, CHAP), EAP refused, a reject with words.
USERS = """\
001b21aa0001 Cleartext-Password := "001b21aa0001"
	Tunnel-Type = VLAN,
	Tunnel-Medium-Type = IEEE-802,
	Tunnel-Private-Group-Id = "210",
	Session-Timeout = 86400

nurse Cleartext-Password := "correct horse"
	Filter-Id = "staff",
	Reply-Message = "Welcome, %{User-Name}"

guest Auth-Type := Reject
	Reply-Message = "Guests use the portal"

DEFAULT Calling-Station-Id =~ "^64-1B-2F", Auth-Type := Accept
	Filter-Id = "whoever asks from a tablet"
"""
CONFIG = """\
prefix = /usr
libdir = /usr/lib/freeradius
name = hospital
confdir = {folder}
logdir = {folder}/log
run_dir = {folder}
pidfile = {folder}/radiusd.pid
correct_escapes = {escapes}
max_requests = 16384
proxy_requests = no
log {{
	destination = stderr
}}
security {{
	max_attributes = 200
	reject_delay = 0
	status_server = yes
}}
thread pool {{
	start_servers = 2
	max_servers = 4
	min_spare_servers = 1
	max_spare_servers = 2
	max_requests_per_server = 0
}}
client wlc {{
	ipaddr = 127.0.0.1
	shortname = wlc
	secret = 0123456789abcdef0123
}}
modules {{
	files {{
		filename = {folder}/users
	}}
	pap {{
	}}
	chap {{
	}}
	eap {{
		default_eap_type = md5
		md5 {{
		}}
	}}
	expr {{
	}}
	always reject {{
		rcode = reject
	}}
	always noop {{
		rcode = noop
	}}
{modules}
}}
policy {{
	hospital_names {{
		if (&User-Name && &User-Name =~ /@@/) {{
			update reply {{
				&Reply-Message := "Rejected: two @"
			}}
			reject
		}}
	}}
{policies}
}}
server hospital {{
	listen {{
		type = auth
		ipaddr = 127.0.0.1
		port = {port}
	}}
	authorize {{
{first}
		hospital_names
		chap
		if (&EAP-Message && &User-Name == "legacy") {{
			reject
		}}
		files
		pap
	}}
	authenticate {{
		Auth-Type PAP {{
			pap
		}}
		Auth-Type CHAP {{
			chap
		}}
		eap
	}}
	post-auth {{
		if (&User-Name =~ /^(n)urse$/) {{
			update reply {{
				&Class := "%{{1}}"
			}}
		}}
		Post-Auth-Type REJECT {{
			eap
		}}
	}}
}}
"""


class Hospital:
    """A FreeRADIUS of the hospital, with or without the policy."""

    def __init__(self, folder: Path, lent: str | None, escapes: str) -> None:
        self.folder, self.lent = folder, lent
        (folder / "log").mkdir()
        (folder / "dictionary").write_text("")
        (folder / "users").write_text(USERS)
        (self.port,) = free_ports(1)
        words = {"modules": "", "policies": "", "first": ""}
        if lent is not None:
            for part in ("mods-available", "policy.d"):
                shutil.copytree(HOOKS / part, folder / part)
            shutil.copy(HOOKS / "dictionary.netguard", folder)
            (folder / "dictionary").write_text("$INCLUDE dictionary.netguard\n")
            (folder / "netguard").mkdir()
            (folder / "netguard" / "lent").write_text(lent)
            words = {
                "modules": "\t$INCLUDE mods-available/netguard_lent",
                "policies": "\t$INCLUDE policy.d/netguard_other_networks",
                "first": "\t\tnetguard_other_networks",
            }
        (folder / "radiusd.conf").write_text(
            CONFIG.format(folder=folder, port=self.port, escapes=escapes, **words)
        )

    def start(self) -> None:
        command = ["freeradius", "-f", "-l", "stdout", "-d", str(self.folder), "-n", "radiusd"]
        if os.geteuid() == 0:
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, NOBODY, NOBODY)
            drop = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all"]
            command = ["setpriv", *drop, "--bounding-set=-all", "--no-new-privs", *command]
        with (self.folder / "stdout").open("wb") as output:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        end = monotonic() + PATIENCE
        status = radius.signed(Code.STATUS_SERVER, 0, bytes(16), SECRET, ())
        while not self.exchange(status, patience=0.1):
            sleep(0.02)
            assert self.process.poll() is None, (self.folder / "stdout").read_text()
            assert monotonic() < end, "FreeRADIUS does not answer"

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE)

    def exchange(self, raw: bytes, patience: float = 5.0) -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nas:
            nas.bind(("127.0.0.1", 0))
            nas.connect(("127.0.0.1", self.port))
            nas.settimeout(patience)
            try:
                nas.send(raw)
                return nas.recv(4096)
            except (TimeoutError, ConnectionRefusedError):
                return b""

    def lines(self) -> list[dict[str, str]]:
        return [
            {key: unquote(value) for key, value in json.loads(line).items()}
            for path in sorted((self.folder / "log").glob("netguard-lent-*.log"))
            for line in path.read_text().splitlines()
        ]


@contextmanager
def a_hospital(lent: str | None, escapes: str = "true"):
    with tempfile.TemporaryDirectory(prefix="netguard-other-") as folder:
        Path(folder).chmod(0o755)
        server = Hospital(Path(folder), lent, escapes)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="module")
def plan(small):
    policy = small()
    return compile_plan(policy, list(policy.sites))


@pytest.fixture(scope="module")
def tablet(plan):
    return str(plan.bindings[0].mac)


@pytest.fixture(scope="module", params=["true", "false"], ids=["escapes", "old-escapes"])
def both(request, plan):
    """The same hospital without and with the policy; the text of its radiusd.conf is old in one case."""
    with (
        a_hospital(None, request.param) as without,
        a_hospital(freeradius.lent(plan), request.param) as with_policy,
    ):
        yield without, with_policy


def pap(attributes, password=b"x", number=7) -> bytes:
    # A fixed authenticator: the reply is a function of the bytes.
    hidden = radius.hide_password(password, SECRET, bytes(range(16)))
    return radius.signed(
        Code.ACCESS_REQUEST,
        number,
        bytes(range(16)),
        SECRET,
        (*attributes, (int(Type.USER_PASSWORD), hidden)),
    )


def who(user: str | bytes, calling: str | bytes | None = None, *more):
    found = [radius.text(Type.USER_NAME, user)]
    if calling is not None:
        found.append(radius.text(Type.CALLING_STATION_ID, calling))
    return (*found, *more)


def called(text):
    return radius.text(Type.CALLED_STATION_ID, text)


def others(tablet) -> dict[str, bytes]:
    """Requests that are none of a tablet on another network."""
    chap = (
        bytes([1])
        + __import__("hashlib").md5(bytes([1]) + b"correct horse" + bytes(range(16))).digest()
    )
    eap = radius.text(Type.EAP_MESSAGE, bytes([2, 1, 0, 11, 1]) + b"legacy")
    staff = called("00-11-22-33-44-55:CHU-STAFF")
    dashed = tablet.replace(":", "-").upper()
    found = {
        "a monitor": pap(who("001b21aa0001", "00-1B-21-AA-00-01", staff), b"001b21aa0001"),
        "a monitor with a wrong password": pap(who("001b21aa0001", "00-1B-21-AA-00-01", staff)),
        "a nurse": pap(who("nurse", "AA-BB-CC-00-11-22", staff), b"correct horse"),
        "a nurse mistyping": pap(who("nurse", "AA-BB-CC-00-11-22", staff), b"wrong"),
        "a nurse by CHAP": radius.signed(
            Code.ACCESS_REQUEST,
            8,
            bytes(range(16)),
            SECRET,
            (*who("nurse", "AA-BB-CC-00-11-22"), (3, chap)),
        ),
        "a guest": pap(who("guest")),
        "nobody known": pap(who("mallory", "AA-BB-CC-00-11-22")),
        "a bad name": pap(who("a@@b")),
        "EAP refused": radius.signed(
            Code.ACCESS_REQUEST, 9, bytes(range(16)), SECRET, (*who("legacy", "AA-BB-CC-00-11-22"), eap)
        ),
        "a health check": pap(who("meraki_8021x_test")),
        "no name": pap(()),
        "a proxy": pap(who("nurse", "AA-BB-CC-00-11-22", (33, b"\0\1state"), (33, b"two")), b"correct horse"),
        "a tablet on its own network": pap(who(dashed, dashed, called("00-11-22-33-44-55:CHU-TABLETTES"))),
        "a tablet, and no network named": pap(who(dashed, dashed, called("00-11-22-33-44-55"))),
        "a tablet, and a name that could be cut anywhere": pap(who(dashed, dashed, called("ap-1:CHU-STAFF"))),
        "a tablet's MAC as a password": pap(who("nurse", "AA-BB-CC-00-11-22"), tablet.encode()),
        "a tablet's MAC with a NUL": pap(who("x", tablet.encode() + b"\0", staff)),
        "a tablet's MAC with a newline": pap(who("x", tablet + "\n", staff)),
        "another MAC than in User-Name": pap(who(tablet, "AA-BB-CC-00-11-22", staff)),
    }  # fmt: skip
    for number, text in enumerate(HOSTILE):
        hostile = (called(text), radius.text(Type.NAS_IDENTIFIER, text))
        found[f"hostile {number}"] = pap(who(text, text, *hostile))
    return found


def test_whoever_is_no_tablet_gets_the_same_bytes(both, tablet):
    without, with_policy = both
    codes = set()
    for name, raw in others(tablet).items():
        expected = without.exchange(raw)
        assert expected, name
        assert with_policy.exchange(raw) == expected, name
        codes.add(expected[0])
    assert codes == {Code.ACCESS_ACCEPT, Code.ACCESS_REJECT}
    assert not [line for line in with_policy.lines() if line["mac"] != tablet]


def reject_of(server, raw: bytes) -> radius.Packet:
    reply = radius.decode(server.exchange(raw))
    assert reply.code == Code.ACCESS_REJECT
    return reply


def test_a_lent_tablet_is_rejected_on_another_network_in_every_spelling(both, tablet):
    without, with_policy = both
    before = len(with_policy.lines())
    spellings = spelled(tablet)
    for number, text in enumerate(spellings):
        raw = pap(who(text, text, called("00-11-22-33-44-55:CHU-STAFF")), number=number)
        reject_of(with_policy, raw)
    lines = with_policy.lines()[before:]
    assert len(lines) == len(spellings)
    assert {line["mac"] for line in lines} == {tablet}
    assert {(line["nas"], line["ssid"], line["rule"]) for line in lines} == {
        ("wlc", "CHU-STAFF", "other-network")
    }
    # It would have been let in.
    dashed = tablet.replace(":", "-").upper()
    raw = pap(who(dashed, dashed, called("00-11-22-33-44-55:CHU-STAFF")), number=99)
    assert without.exchange(raw)[0] == Code.ACCESS_ACCEPT


@pytest.mark.parametrize(
    "more",
    [
        (called("00-11-22-33-44-55:a:b"),),
        (called('00-11-22-33-44-55:say "x"'),),
        (called("0011.2233.4455:back\\slash"),),
        (called("001122334455:CHU-TABLETTES "),),
        (radius.vendor(14823, 5, "CHU-STAFF"),),
        (radius.vendor(25053, 3, "CHU-STAFF"), called("ap-1")),
        (radius.vendor(12356, 7, "CHU-STAFF"),),
    ],
)
def test_every_way_to_name_another_network_counts(both, tablet, more):
    dashed = tablet.replace(":", "-").upper()
    reject_of(both[1], pap(who(dashed, dashed, *more)))
    reject_of(both[1], pap(who(dashed, "10.0.0.7", radius.text(Type.CALLING_STATION_ID, dashed), *more)))  # fmt: skip


def test_a_tablet_that_tries_eap_on_another_network_is_rejected_too(both, tablet):
    dashed = tablet.replace(":", "-").upper()
    eap = radius.text(Type.EAP_MESSAGE, bytes([2, 1, 0, 10, 1]) + b"nurse")
    attributes = (*who("nurse", dashed, called("00-11-22-33-44-55:CHU-STAFF")), eap)
    reject_of(both[1], radius.signed(Code.ACCESS_REQUEST, 5, bytes(range(16)), SECRET, attributes))


@pytest.mark.parametrize("vendor", sorted(shapes.VENDORS))
def test_every_vendors_tablet_is_rejected_where_its_request_names_the_network(both, tablet, vendor):
    def sent(ssid):
        return pap(
            shapes.attributes(
                vendor,
                tablet,
                bssid="00:11:22:33:44:55",
                ap="ap-1",
                ssid=ssid,
                nas="wlc",
                address=bytes([127, 0, 0, 1]),
            )
        )

    without, with_policy = both
    reject_of(with_policy, sent("CHU-STAFF"))
    own = sent("CHU-TABLETTES")
    assert with_policy.exchange(own) == without.exchange(own)


def test_a_log_that_cannot_be_written_changes_no_answer(plan, tablet):
    with a_hospital(freeradius.lent(plan)) as server:
        shutil.rmtree(server.folder / "log")
        (server.folder / "log").write_text("no folder")
        dashed = tablet.replace(":", "-").upper()
        reject_of(server, pap(who(dashed, dashed, called("00-11-22-33-44-55:CHU-STAFF"))))
        monitor = who("001b21aa0001", "00-1B-21-AA-00-01", called("00-11-22-33-44-55:CHU-STAFF"))
        assert server.exchange(pap(monitor, b"001b21aa0001"))[0] == Code.ACCESS_ACCEPT
