"""The FreeRADIUS servers that the bench compares: ours, and plain ones made here for the purpose."""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from netguard.core import radius
from netguard.core.radius import Code

ROOT = Path(__file__).parents[2]
SECRET = b"0123456789abcdef0123"
NOBODY = 65534
# What a plain server needs; `MODULES` and `AUTHORIZE` say how it looks a MAC up.
PLAIN = """\
prefix = /usr
libdir = /usr/lib/freeradius
name = plain
confdir = {folder}
logdir = {folder}
run_dir = {folder}
pidfile = {folder}/radiusd.pid
correct_escapes = true
max_request_time = 5
cleanup_delay = 5
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
	max_spare_servers = 4
	max_requests_per_server = 0
	auto_limit_acct = no
}}
client nas {{
	ipaddr = 127.0.0.1
	require_message_authenticator = yes
	secret = 0123456789abcdef0123
}}
modules {{
{modules}
}}
policy {{
{policies}
}}
server plain {{
	listen {{
		type = auth
		ipaddr = 127.0.0.1
		port = {port}
	}}
	authorize {{
{authorize}
	}}
	authenticate {{
	}}
	post-auth {{
		update reply {{
			&Message-Authenticator := 0x00
		}}
		Post-Auth-Type REJECT {{
			update reply {{
				&Message-Authenticator := 0x00
			}}
		}}
	}}
}}
"""


class Server:
    """One running FreeRADIUS on loopback, as a user without any right."""

    def __init__(self, name: str, folder: Path, port: int, environment: dict[str, str]) -> None:
        self.name, self.folder, self.port, self.environment = name, folder, port, environment
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def start(self) -> None:
        """Start it and wait until it answers."""
        if os.geteuid() == 0:
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, NOBODY, NOBODY)
        words = ["freeradius", "-f", "-l", "stdout", "-d", str(self.folder), "-n", "radiusd"]
        if os.geteuid() == 0:
            drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
            words = [*drop, "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", *words]
        with (self.folder / "stdout").open("wb") as output:
            self.process = subprocess.Popen(
                words,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        end = time.monotonic() + 30
        while not self.is_up():
            time.sleep(0.02)
            if self.process.poll() is not None or time.monotonic() > end:
                raise SystemExit((self.folder / "stdout").read_text()[-3000:])

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def is_up(self) -> bool:
        authenticator = os.urandom(16)
        raw = radius.signed(Code.STATUS_SERVER, 0, authenticator, SECRET, ())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nas:
            nas.connect(self.address)
            nas.settimeout(0.1)
            try:
                nas.send(raw)
                return nas.recv(4096)[0] == Code.ACCESS_ACCEPT
            except (TimeoutError, ConnectionRefusedError):
                return False

    def cpu(self) -> float:
        """CPU seconds of all its threads so far."""
        assert self.process is not None
        return cpu_of(self.process.pid)


def cpu_of(pid: int) -> float:
    """Return the CPU seconds of a process, threads that ended meanwhile left out."""
    total = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        total += int(path.read_text().split()[0])
    return total / 1e9


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def whole(
    name: str,
    base: Path,
    tablets: str,
    areas: str,
    hours: str,
    edit: Callable[[Path], None] | None = None,
) -> Server:
    """Our whole configuration; `edit` may change the copy of radius_hooks."""
    folder = base / name
    shutil.copytree(ROOT / "radius_hooks", folder)
    data, log, run = folder / "data", folder / "log", folder / "run"
    for part in (data, log, run / "control"):
        part.mkdir(parents=True)
    (data / "tablets").write_text(tablets)
    (data / "areas").write_text(areas)
    (data / "hours").write_text(hours)
    (data / "psk").write_text("")
    (data / "lent").write_text("")
    (data / "self.conf").write_text(f"secret = {'5a' * 24}\n")
    (data / "clients.conf").write_text(
        "client wlc-1 {\n\tipaddr = 127.0.0.1\n\tshortname = wlc-1\n"
        "\trequire_message_authenticator = yes\n\tnetguard_site = pellegrin\n"
        '\tnetguard_ssid = "CHU-TABLETTES"\n\tsecret = 0123456789abcdef0123\n}\n'
    )
    if edit is not None:
        edit(folder)
    port = free_port()
    environment = {
        "NETGUARD_RADIUS_DATA": str(data),
        "NETGUARD_RADIUS_LOG": str(log),
        "NETGUARD_RADIUS_RUN": str(run),
        "NETGUARD_RADIUS_ADDRESS": "127.0.0.1",
        "NETGUARD_RADIUS_AUTH_PORT": str(port),
        "NETGUARD_RADIUS_ACCT_PORT": str(free_port()),
        "NETGUARD_RADIUS_SELF_PORT": str(free_port()),
    }
    return Server(name, folder, port, environment)


def without_record(folder: Path) -> None:
    """Take the decision record out of a copy of radius_hooks."""
    path = folder / "sites-available" / "netguard"
    text = path.read_text()
    post_auth, rest = text.split("\tpreacct {", 1)
    for word in ("accept", "reject"):
        post_auth, found = re.subn(
            rf"\s*netguard_record_{word} \{{\s*fail = 1\s*\}}\s*ok\n", "\n", post_auth
        )
        assert found == 1
    path.write_text(post_auth + "\tpreacct {" + rest)


def plain(
    name: str, base: Path, modules: str, authorize: str, policies: str = "", **files: str
) -> Server:
    """A plain server that looks a MAC up with one module; `files` are written beside it."""
    folder = base / name
    folder.mkdir()
    for file, text in files.items():
        (folder / file).write_text(text)
    port = free_port()
    (folder / "radiusd.conf").write_text(
        PLAIN.format(
            folder=folder,
            port=port,
            modules=modules.format(folder=folder),
            authorize=authorize.format(folder=folder),
            policies=policies,
        )
    )
    (folder / "dictionary").write_text("")
    return Server(name, folder, port, {})


FILES = '\tfiles {{\n\t\tkey = "%{{User-Name}}"\n\t\tfilename = {folder}/users\n\t}}'


def hospital(name: str, base: Path, users: str, lent: str | None) -> Server:
    """A server of the hospital for its own devices, with or without our policy for other networks."""
    if lent is None:
        return plain(name, base, FILES, "\t\tfiles", users=users)
    modules = FILES + (
        "\n\texpr {{\n\t}}\n\talways reject {{\n\t\trcode = reject\n\t}}\n\talways noop {{\n\t\trcode = noop\n\t}}"
        "\n\t$INCLUDE mods-available/netguard_lent"
    )
    server = plain(
        name,
        base,
        modules,
        "\t\tnetguard_other_networks\n\t\tfiles",
        "\t$INCLUDE policy.d/netguard_other_networks",
        users=users,
    )
    hooks = ROOT / "radius_hooks" / "other-networks"
    for part in ("mods-available", "policy.d"):
        shutil.copytree(hooks / part, server.folder / part)
    shutil.copy(hooks / "dictionary.netguard", server.folder)
    (server.folder / "dictionary").write_text("$INCLUDE dictionary.netguard\n")
    (server.folder / "netguard").mkdir()
    (server.folder / "netguard" / "lent").write_text(lent)
    return server
