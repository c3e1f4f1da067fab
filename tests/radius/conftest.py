"""A real FreeRADIUS with our configuration, on loopback, as a user without any right."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import unquote

import pytest

from netguard.core import radius
from netguard.core.radius import Code, Status, Type

ROOT = Path(__file__).parents[2]
SECRET = b"0123456789abcdef0123"
NOBODY = 65534
PATIENCE = 20  # seconds until a server that does not answer is a failure; not a measure

TABLETS = """\
pellegrin/3c:28:6d:aa:01:10 Auth-Type := Accept, Netguard-Rule := "patients/admit", Netguard-Site := "pellegrin"
\tTunnel-Type = VLAN,
\tTunnel-Medium-Type = IEEE-802,
\tTunnel-Private-Group-Id = "640"

pellegrin/3c:28:6d:aa:01:11 Auth-Type := Accept, Netguard-Rule := "patients/admit", Netguard-Site := "pellegrin"
\tReply-Message = "an entry without its VLAN"

pellegrin/3c:28:6d:aa:01:12 Auth-Type := Accept, Netguard-Rule := "patients/admit", Netguard-Site := "pellegrin"
\tTunnel-Type = VLAN,
\tTunnel-Private-Group-Id = "640"

libourne/3c:28:6d:aa:01:10 Auth-Type := Accept, Netguard-Rule := "patients/admit", Netguard-Network := "Tablettes", Netguard-Site := "libourne"
\tTunnel-Type = VLAN,
\tTunnel-Medium-Type = IEEE-802,
\tTunnel-Private-Group-Id = "640"

arcachon/3c:28:6d:aa:01:20 Auth-Type := Accept, Netguard-Rule := "patients/admit", Netguard-Site := "arcachon"
\tTunnel-Type = VLAN,
\tTunnel-Medium-Type = IEEE-802,
\tTunnel-Private-Group-Id = "642"
"""
# 127.0.0.1 is the NAS of the tests; the others show what a client's items do.
CLIENTS = """\
client wlc-1 {
\tipaddr = 127.0.0.1
\tshortname = wlc-1
\trequire_message_authenticator = yes
\tnetguard_site = pellegrin
\tsecret = 0123456789abcdef0123
}
client wlc-ssid {
\tipaddr = 127.0.0.2
\tshortname = wlc-ssid
\trequire_message_authenticator = no
\tlimit_proxy_state = yes
\tnetguard_site = libourne
\tnetguard_ssid = Tablettes
\tsecret = 0123456789abcdef0123
}
client wlc-arcachon {
\tipaddr = 127.0.0.3
\tshortname = wlc-arcachon
\trequire_message_authenticator = yes
\tnetguard_site = arcachon
\tsecret = 0123456789abcdef0123
}
"""


class Server:
    """One running FreeRADIUS and a NAS that asks it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data, self.log, self.run = folder / "data", folder / "log", folder / "run"
        self.hooks = folder / "hooks"
        for part in (self.data, self.log, self.run / "control"):
            part.mkdir(parents=True)
        shutil.copytree(ROOT / "radius_hooks", self.hooks)
        (self.data / "tablets").write_text(TABLETS)
        (self.data / "areas").write_text("")
        (self.data / "hours").write_text("")
        (self.data / "psk").write_text("")
        (self.data / "self.conf").write_text(f"secret = {'5a' * 24}\n")
        (self.data / "clients.conf").write_text(CLIENTS)
        self.auth, self.acct, self.own = free_ports(3)
        self.environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "NETGUARD_RADIUS_DATA": str(self.data),
            "NETGUARD_RADIUS_LOG": str(self.log),
            "NETGUARD_RADIUS_RUN": str(self.run),
            "NETGUARD_RADIUS_ADDRESS": "127.0.0.1",
            "NETGUARD_RADIUS_AUTH_PORT": str(self.auth),
            "NETGUARD_RADIUS_ACCT_PORT": str(self.acct),
            "NETGUARD_RADIUS_SELF_PORT": str(self.own),
        }
        # Words before the server's own, of a program that starts it.
        self.through: tuple[str, ...] = ()
        self.process: subprocess.Popen | None = None
        self.identifier = 0
        # Of the last request: what a reply hides is read with it.
        self.authenticator = b""
        self.give_away()

    def give_away(self) -> None:
        if os.geteuid() == 0:
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, NOBODY, NOBODY)

    def command(self, *words: str) -> list[str]:
        drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all",
                "--bounding-set=-all", "--no-new-privs"]  # fmt: skip
        return [*(drop if os.geteuid() == 0 else []), *words]

    def checked(self) -> subprocess.CompletedProcess:
        return subprocess.run(
            self.command("freeradius", "-XC", "-d", str(self.hooks), "-n", "radiusd"),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def start(self) -> None:
        with (self.folder / "stdout").open("wb") as output:
            self.process = subprocess.Popen(
                self.command(
                    *self.through,
                    "freeradius",
                    "-f",
                    "-l",
                    "stdout",
                    "-d",
                    str(self.hooks),
                    "-n",
                    "radiusd",
                ),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        end = monotonic() + PATIENCE
        while not self.is_up():
            sleep(0.02)
            assert self.process.poll() is None, (self.folder / "stdout").read_text()
            assert monotonic() < end, "FreeRADIUS does not answer"

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def is_up(self) -> bool:
        # The code is looked at: a socket that happens to get the server's port hears itself.
        reply = self.send(Code.STATUS_SERVER, (), patience=0.1)
        return reply is not None and reply.code == Code.ACCESS_ACCEPT

    def send(
        self, code, attributes, *, patience=5.0, source="127.0.0.1", password=b"x", signed=True
    ) -> radius.Packet | None:
        """Send one request and return the verified reply, or None when there is none."""
        self.identifier = (self.identifier + 1) % 256
        authenticator = os.urandom(16)
        port = self.auth
        if code == Code.ACCOUNTING_REQUEST:
            raw = radius.accounting_request(self.identifier, SECRET, attributes)
            port, authenticator = self.acct, raw[4:20]
        elif code == Code.STATUS_SERVER or password is None:
            raw = radius.signed(code, self.identifier, authenticator, SECRET, attributes)
        else:
            raw = radius.access_request(
                self.identifier, authenticator, SECRET, attributes, password
            )
            if not signed:
                raw = raw[:2] + (len(raw) - 18).to_bytes(2) + raw[4:20] + raw[38:]
        self.authenticator = authenticator
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nas:
            nas.bind((source, 0))
            nas.connect(("127.0.0.1", port))
            nas.settimeout(patience)
            try:
                nas.send(raw)
                reply = radius.decode(nas.recv(4096))
            except (TimeoutError, ConnectionRefusedError):
                return None
        # 3.2.1 does not sign the answer to a Status-Server.
        if code != Code.STATUS_SERVER:
            radius.verify_reply(reply, self.identifier, authenticator, SECRET)
        return reply

    def ask(self, user="3c286daa0110", calling=None, *more, **how) -> radius.Packet | None:
        attributes = [radius.text(Type.USER_NAME, user)]
        if calling is not None:
            attributes.append(radius.text(Type.CALLING_STATION_ID, calling))
        return self.send(Code.ACCESS_REQUEST, (*attributes, *more), **how)

    def account(self, status=Status.START, *more, mac="3C-28-6D-AA-01-10", **how):
        attributes = (
            radius.text(Type.USER_NAME, mac.lower().replace("-", "")),
            radius.text(Type.CALLING_STATION_ID, mac),
            radius.number(Type.ACCT_STATUS_TYPE, status),
        )
        return self.send(Code.ACCOUNTING_REQUEST, (*attributes, *more), **how)

    def lines(self) -> list[bytes]:
        return [
            line
            for path in sorted(self.log.glob("events-*.log"))
            for line in path.read_bytes().splitlines(keepends=True)
        ]

    def events(self) -> list[dict[str, str]]:
        return [
            {key: unquote(value, errors="replace") for key, value in json.loads(line).items()}
            for line in self.lines()
        ]

    def event_of(self, ask, *args, **kwargs) -> tuple[radius.Packet | None, dict[str, str] | None]:
        """Do one thing; return the reply and the one line that it wrote, if any."""
        before = len(self.lines())
        reply = ask(*args, **kwargs)
        new = self.events()[before:]
        assert len(new) <= 1
        return reply, new[0] if new else None


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def a_server() -> Iterator[Server]:
    # Not pytest's own folder: that one is closed to other users, and the server is one.
    with tempfile.TemporaryDirectory(prefix="netguard-radius-") as folder:
        Path(folder).chmod(0o755)
        server = Server(Path(folder))
        server.folder.chmod(0o755)
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def fresh() -> Iterator[Server]:
    """A server of this test's own, not started yet."""
    with a_server() as server:
        yield server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A running server that all tests share; they only ask."""
    with a_server() as server:
        server.start()
        yield server
