"""What a real syslog daemon sends for a controller, as it reaches the parsers: each form, transport and framing."""

import asyncio
import socket
from datetime import UTC, datetime

import pytest

from netguard.adapters import listening
from netguard.core import controllers, syslog
from netguard.rules.messages import shipped
from tests.delivery.conftest import free_port, opens, running, wait_until

MAC = "3c:28:6d:aa:01:10"
LINE = f"wlan0: AP-STA-DISCONNECTED {MAC}"
# Of templates that rsyslog brings along: RFC 3164, the same with the time of RFC 3339, and RFC 5424.
FORMS = (
    "RSYSLOG_TraditionalForwardFormat",
    "RSYSLOG_ForwardFormat",
    "RSYSLOG_SyslogProtocol23Format",
)
TRANSPORTS = {
    "udp": 'protocol="udp"',
    "lines": 'protocol="tcp" TCP_Framing="traditional"',
    "counted": 'protocol="tcp" TCP_Framing="octet-counted"',
    "tls": 'protocol="tcp" TCP_Framing="octet-counted" StreamDriver="gtls" StreamDriverMode="1" '
    'StreamDriverAuthMode="x509/name" StreamDriverPermittedPeers="localhost"',
}


@pytest.fixture
def relay(tmp_path, certificate):
    """A real rsyslog that sends on what it hears, in one form over one transport."""

    def begun(form, transport, to):
        port, config = free_port(), tmp_path / "relay.conf"
        config.write_text(f"""
global(workDirectory="{tmp_path}" defaultNetstreamDriverCAFile="{certificate}/good.crt")
module(load="imtcp")
input(type="imtcp" port="{port}" address="127.0.0.1")
action(type="omfwd" target="127.0.0.1" port="{to}" template="{form}" {TRANSPORTS[transport]})
""")
        words = ["rsyslogd", "-n", "-f", str(config), "-i", str(tmp_path / "relay.pid")]
        return port, running(words, lambda: opens(port))

    return begun


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("form", FORMS)
def test_what_rsyslog_sends_on_is_read_as_it_was_said(
    form, transport, relay, certificate, tmp_path
):
    """The framing of a stream and the head of a message are another program's, not ours."""
    came = []
    tls = listening.tls_of(_folder(tmp_path, certificate)) if transport == "tls" else None
    to = free_port()

    def begin(address):
        frames = syslog.Frames()

        def take(data):
            came.extend(frames.feed(data))
            return True

        return take

    async def run():
        where = "127.0.0.1", to
        if transport == "udp":
            door = await listening.datagrams(where, lambda data, _: came.append(data))
        else:
            door = await listening.streams(where, begin, tls)
        await asyncio.to_thread(send)
        door.close()

    def send():
        port, process = relay(form, transport, to)
        with process:
            with socket.create_connection(("127.0.0.1", port)) as controller:
                for number in range(5):
                    line = f"<30>Nov 22 06:00:0{number} AP-CAR-301 hostapd[7]: {LINE}\n"
                    controller.sendall(line.encode())
            wait_until(lambda: len([each for each in came if LINE.encode() in each]) == 5)

    asyncio.run(run())
    now = datetime(2026, 11, 22, 6, 1, tzinfo=UTC)
    # rsyslog tells of its own start, too.
    ours = [each for each in came if LINE.encode() in each]
    for number, data in enumerate(ours):
        message = syslog.read(data, now)
        assert (message.severity, message.host) == (6, "AP-CAR-301")
        assert message.told.second == number
        seen = controllers.read(message, shipped()["hostapd"])
        assert (seen.kind, str(seen.mac), seen.ap) == ("disassociated", MAC, "ap-car-301")


def _folder(tmp_path, certificate):
    """Return a folder with the names that watch looks for."""
    for kind in ("crt", "key"):
        (tmp_path / f"tls.{kind}").write_bytes((certificate / f"good.{kind}").read_bytes())
    return tmp_path
