"""Real receivers on loopback: an Alertmanager, a mail server, a syslog server; and one that fails in every way."""

import asyncio
import contextlib
import json
import socket
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest
from aiohttp import web

from netguard.adapters import clock, notify
from netguard.adapters.store import WatchStore
from netguard.core.alerting import Place, matter_of, notices_of, write_notice
from netguard.core.policy import AlertRule, Receiver
from netguard.core.presence.actions import RAISED, Alert, Reason
from netguard.daemon.delivery import Delivery
from netguard.rules.settings_file import MailServer
from netguard.settings import Paths, Settings

RULES = (AlertRule("missing", {"presence": "missing"}, "critical", ("desk",)),)
PLACE = Place("pellegrin", "lobby", "AP-LOB-01", True, "Pellegrin, Lobby AP-LOB-01", "Europe/Paris")


def free_port():
    with socket.socket() as wire:
        wire.bind(("127.0.0.1", 0))
        return wire.getsockname()[1]


def wait_until(happened, patience=30.0):
    end = time.monotonic() + patience
    while not (found := happened()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
    return found


@contextlib.contextmanager
def running(words, ready, **more):
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)
    try:
        end = time.monotonic() + 30
        while not ready():
            if process.poll() is not None or time.monotonic() > end:
                process.kill()
                raise AssertionError(f"{words[0]}: {process.stdout.read().decode()[-2000:]}")
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def opens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A certificate for localhost that signs itself, and another that has ended long ago."""
    folder = tmp_path_factory.mktemp("tls")
    (folder / "index.txt").write_text("")
    (folder / "ca.cnf").write_text(
        f"[ca]\ndefault_ca=me\n[me]\nnew_certs_dir={folder}\ndatabase={folder}/index.txt\n"
        "default_md=sha256\npolicy=any\nrand_serial=yes\nunique_subject=no\nx509_extensions=names\n"
        "[any]\ncommonName=supplied\n[names]\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n"
        "basicConstraints=critical,CA:true\n"
    )
    for name, first, last in (
        ("good", "20200101000000Z", "20991231000000Z"),
        ("ended", "20200101000000Z", "20200102000000Z"),
    ):
        key, request = str(folder / f"{name}.key"), str(folder / f"{name}.csr")
        for words in (
            ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-subj", "/CN=localhost", "-keyout", key, "-out", request],
            ["ca", "-batch", "-selfsign", "-config", str(folder / "ca.cnf"), "-keyfile", key,
             "-in", request, "-out", str(folder / f"{name}.crt"), "-notext",
             "-startdate", first, "-enddate", last],
        ):  # fmt: skip
            done = subprocess.run(["openssl", *words], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
        (folder / f"{name}.key").chmod(0o644)
    folder.chmod(0o755)
    return folder


class Alertmanager:
    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"

    def alerts(self):
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts", timeout=10) as answer:
            return json.load(answer)


@contextlib.contextmanager
def an_alertmanager(folder, port, config=None):
    if config is None:
        config = folder / "alertmanager.yml"
        config.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    words = [
        "prometheus-alertmanager", f"--config.file={config}", f"--storage.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
    ]  # fmt: skip
    known = Alertmanager(port)

    def ready():
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{known.url}/-/ready", timeout=1).close()
            return True
        return False

    with running(words, ready):
        yield known


@pytest.fixture
def alertmanager(tmp_path):
    with an_alertmanager(tmp_path, free_port()) as found:
        yield found


class Tinyproxy:
    def __init__(self, url, log):
        self.url, self.log = url, log


@pytest.fixture
def tinyproxy(tmp_path):
    """A proxy that writes down what it was asked for."""
    port, log, config = free_port(), tmp_path / "proxy.log", tmp_path / "tinyproxy.conf"
    config.write_text(f'Port {port}\nListen 127.0.0.1\nLogFile "{log}"\nLogLevel Info\n')
    with running(["tinyproxy", "-d", "-c", str(config)], lambda: opens(port)):
        yield Tinyproxy(f"http://127.0.0.1:{port}", log)


class Syslog:
    def __init__(self, file, plain, tls):
        self.file, self.plain, self.tls = file, plain, tls

    def lines(self):
        return self.file.read_text().splitlines() if self.file.exists() else []


@pytest.fixture
def rsyslog(tmp_path, certificate):
    """A real rsyslog: TCP and TLS, writing what it understands of RFC 5424 as JSON."""
    plain, tls, file = free_port(), free_port(), tmp_path / "syslog.json"
    config = tmp_path / "rsyslog.conf"
    config.write_text(f"""
global(workDirectory="{tmp_path}" defaultNetstreamDriverCAFile="{certificate}/good.crt"
  defaultNetstreamDriverCertFile="{certificate}/good.crt"
  defaultNetstreamDriverKeyFile="{certificate}/good.key")
module(load="imtcp")
template(name="all" type="list" option.jsonf="on") {{
  property(outname="pri" name="pri" format="jsonf") property(outname="host" name="hostname" format="jsonf")
  property(outname="app" name="app-name" format="jsonf") property(outname="id" name="msgid" format="jsonf")
  property(outname="data" name="structured-data" format="jsonf") property(outname="msg" name="msg" format="jsonf")
}}
input(type="imtcp" port="{plain}" address="127.0.0.1")
input(type="imtcp" port="{tls}" address="127.0.0.1" streamdriver.name="gtls" streamdriver.mode="1"
  streamdriver.authmode="anon")
action(type="omfile" file="{file}" template="all")
""")
    words = ["rsyslogd", "-n", "-f", str(config), "-i", str(tmp_path / "rsyslog.pid")]
    with running(words, lambda: opens(plain) and opens(tls)):
        yield Syslog(file, plain, tls)


class Mailbox:
    def __init__(self, folder, port):
        self.folder, self.port = folder, port

    def mails(self):
        return [file.read_text() for file in sorted(self.folder.glob("new/*"))]


@pytest.fixture
def exim(tmp_path, certificate):
    """A real Exim with STARTTLS and a password, that knows desk@chu.example and nobody else."""
    port, box = free_port(), tmp_path / "box"
    for name in ("new", "cur", "tmp"):
        (box / name).mkdir(parents=True)
    spool = tmp_path / "spool"
    spool.mkdir()
    config = tmp_path / "exim.conf"
    config.write_text(f"""
primary_hostname = localhost
domainlist local = chu.example
spool_directory = {spool}
log_file_path = {spool}/%slog
pid_file_path = {tmp_path}/exim.pid
exim_user = Debian-exim
exim_group = Debian-exim
never_users =
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
tls_advertise_hosts = *
tls_certificate = {certificate}/good.crt
tls_privatekey = {certificate}/good.key
acl_smtp_rcpt = rcpt
host_lookup =
queue_only = false
begin acl
rcpt:
  deny message = sign in first
       !authenticated = *
  require message = nobody of that name
       verify = recipient
  accept
begin routers
box:
  driver = accept
  domains = +local
  local_parts = desk
  transport = box
begin transports
box:
  driver = appendfile
  directory = {box}
  maildir_format
  user = Debian-exim
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_advertise_condition = ${{if def:tls_in_cipher}}
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{netguard}}}}{{eq{{$auth3}}{{s3cret}}}}}}}}
  server_set_id = $auth2
""")
    for path in (tmp_path, box, spool, *box.iterdir()):
        subprocess.run(["chown", "Debian-exim:Debian-exim", str(path)], check=True)
    config.chmod(0o644)
    subprocess.run(["chown", "root:root", str(config)], check=True)
    # Folders of pytest are for their owner; Exim's user has to get through.
    for parent in tmp_path.parents:
        if parent.is_relative_to(tempfile.gettempdir()) and parent != Path(tempfile.gettempdir()):
            parent.chmod(0o711)
    with running(["exim4", "-bdf", "-C", str(config)], lambda: opens(port)):
        yield Mailbox(box, port)


class Failing:
    """A receiver of webhooks that behaves as it is told to, and remembers what it has taken."""

    def __init__(self):
        self.modes = []
        self.seen = []
        self.headers = []

    async def hook(self, request):
        mode = self.modes.pop(0) if self.modes else 200
        if mode == "slow":
            await asyncio.sleep(30)
        body = await request.read()
        if mode == "taken and cut":
            self._take(body, request)
            request.transport.close()
            return web.Response()
        if mode == "cut":
            request.transport.close()
            return web.Response()
        if mode in {301, 307}:
            return web.Response(status=mode, headers={"Location": "http://169.254.169.254/"})
        if mode != 200:
            return web.Response(status=mode)
        self._take(body, request)
        return web.Response()

    def _take(self, body, request):
        self.seen.append(json.loads(body))
        self.headers.append((dict(request.headers), body))

    def ids(self):
        return [alert["netguard"]["id"] for body in self.seen for alert in body["alerts"]]

    def tablets(self):
        return [alert["labels"]["tablet"] for body in self.seen for alert in body["alerts"]]


@contextlib.asynccontextmanager
async def serving(failing, tls=None):
    app = web.Application()
    app.router.add_post("/{tail:.*}", failing.hook)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
    try:
        yield port
    finally:
        await runner.cleanup()


class Hand:
    """A delivery whose clock is turned by hand."""

    def __init__(self, folder, receiver, mail=None, authorities=None, *, anywhere=True):
        self.now = 1000.0
        self.receiver = receiver
        (folder / "secrets").mkdir(exist_ok=True)
        self.secrets = folder / "secrets"
        self.secrets.joinpath("webhook-key").write_text("a-key-of-the-hospital\n")
        self.secrets.joinpath("mail-password").write_text("s3cret\n")
        self.store = WatchStore.open(folder / "watch.db", clock.now())
        self.settings = Settings(
            node="gw-1", sites=("pellegrin",), paths=Paths(watch_secrets=self.secrets), mail=mail
        )
        self.outgoing = notify.Outgoing(self.secrets, authorities, anywhere=anywhere)
        self.delivery = self.fresh()

    def fresh(self):
        """As after a start: nothing is remembered but what is stored."""
        return Delivery(self.settings, lambda: self.now, self.outgoing)

    def post(self, tablet="T-001", kind=RAISED, at=100.0, cause="taken", area="lobby", **more):
        alert = Alert(
            at, kind, f"{tablet}-90", cause, 0.83, tablet, "3c:28:6d:00:00:17", site="pellegrin",
            area=area, ap="AP-LOB-01", silent_since=90.0, reasons=(Reason("walked-to-edge", 0.9),), **more,
        )  # fmt: skip
        ahead = clock.now().timestamp() - at
        (notice,) = notices_of(matter_of(alert, PLACE, ahead), RULES, at)
        self.store.post([letter(notice, self.receiver)])
        return notice.id

    async def turn(self, channel=None):
        pair = self.receiver.name, channel or self.receiver.channels[0]
        await self.delivery.turn(self.store, {self.receiver.name: self.receiver}, pair)

    def states(self):
        return [
            row.state for row in reversed(self.store.letters(("waiting", "sent", "dead", "held")))
        ]


def letter(notice, receiver):
    from netguard.adapters.store import Letter

    return Letter(
        notice=notice.id, receiver=receiver.name, channel=receiver.channels[0],
        incident=notice.matter.incident, key=notice.matter.key, code=notice.matter.code,
        state="waiting", at=notice.matter.at, body=write_notice(notice),
    )  # fmt: skip


@pytest.fixture
def hand(tmp_path):
    made = []

    def make(receiver, **more):
        hand = Hand(tmp_path, receiver, **more)
        made.append(hand)
        return hand

    yield make
    for each in made:
        each.store.close()


@pytest.fixture
def mail_server():
    return lambda port, **more: MailServer(
        "localhost", port, "netguard@chu.example",
        **({"tls": "starttls", "user": "netguard", "password_file": "mail-password"} | more),
    )  # fmt: skip


def desk(**more):
    return Receiver("desk", **more)
