"""Syslog for a SIEM: RFC 5424, as text or as CEF, over TCP with octet counting, over TLS at port 6514.

Syslog acknowledges nothing. So each batch is a connection of its own that we end first: the other side has
read all of it when it ends its own half (RFC 6587 3.4.1, RFC 5425). A relay that keeps its half open for
longer than the patience is a failure, and the batch comes again: at least once, never lost.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime

from netguard import __version__
from netguard.adapters.notify.outgoing import PATIENCE, Outgoing
from netguard.core.alerting import CODES, Message, Notice
from netguard.core.policy import Receiver
from netguard.errors import Undelivered

TLS_PORT = 6514
# RFC 5424 6.2.1: facility 13, log audit; severities 2, 4 and 6.
_FACILITY = 13
_SEVERITY = {"critical": 2, "warning": 4, "info": 6}
# CEF: 0 to 10.
_CEF_SEVERITY = {"critical": 9, "warning": 6, "info": 3}
# IANA's number for documentation (RFC 5612): netguard has none of its own.
_ENTERPRISE = "32473"


async def send(
    outgoing: Outgoing, receiver: Receiver, told: Sequence[tuple[Notice, Message]], node: str
) -> None:
    """Send a line for each notice. Raises Undelivered."""
    host, _, port = receiver.syslog.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    tls = outgoing.tls() if int(port) == TLS_PORT else None
    frames = b"".join(framed(line(n, m, node, receiver.format)) for n, m in told)
    try:
        async with asyncio.timeout(PATIENCE):
            await _send(host, int(port), tls, frames)
    except TimeoutError as error:
        raise Undelivered(
            f"{receiver.syslog}: it did not end the connection within {PATIENCE:.0f} s"
        ) from error
    except (OSError, ssl.SSLError) as error:
        raise Undelivered(f"{receiver.syslog}: {error}") from error


async def _send(host: str, port: int, tls: ssl.SSLContext | None, frames: bytes) -> None:
    reader, writer = await asyncio.open_connection(host, port, ssl=tls)
    try:
        writer.write(frames)
        await writer.drain()
        if tls is None:
            writer.write_eof()
            await reader.read(1)
        else:
            # TLS has no half: closing waits for the other side's close_notify.
            writer.close()
            await writer.wait_closed()
    finally:
        writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.wait_closed()


def framed(text: str) -> bytes:
    """Return a message with its length before it (RFC 6587 3.4.1)."""
    body = text.encode()
    return f"{len(body)} ".encode() + body


def line(notice: Notice, message: Message, node: str, form: str) -> str:
    """Return one message of RFC 5424; its text is the title, or a line of CEF."""
    matter = notice.matter
    priority = 8 * _FACILITY + _SEVERITY[notice.severity]
    at = datetime.fromtimestamp(matter.at, UTC).isoformat(timespec="milliseconds")
    head = f"<{priority}>1 {at} {node} netguard - {matter.code} "
    if form == "cef":
        return f"{head}- {cef(notice, message)}"
    data = {
        "notice": notice.id,
        "incident": matter.incident,
        "kind": matter.kind,
        "tablet": matter.tablet,
        "subject": matter.subject,
        "site": matter.place.site,
        "area": matter.place.area,
        "probability": "" if matter.probability is None else f"{matter.probability:.2f}",
    }
    words = " ".join(f'{key}="{_quoted(value)}"' for key, value in data.items() if value)
    # RFC 5424 6.4: a byte order mark says that the text is UTF-8.
    return f"{head}[netguard@{_ENTERPRISE} {words}] \ufeff{_one_line(message.title)}"


def cef(notice: Notice, message: Message) -> str:
    """Return ArcSight's Common Event Format, version 0."""
    matter = notice.matter
    name = _header(_one_line(message.title))
    fields = {
        "externalId": notice.id,
        "rt": str(int(matter.at * 1000)),
        "act": matter.kind,
        "dvchost": "netguard",
        "cs1Label": "incident",
        "cs1": matter.incident,
        "cs2Label": "tablet",
        "cs2": matter.tablet or matter.subject,
        "cs3Label": "place",
        "cs3": "/".join(filter(None, (matter.place.site, matter.place.area, matter.place.ap))),
        "cfp1Label": "probability",
        "cfp1": "" if matter.probability is None else f"{matter.probability:.2f}",
        "msg": _one_line(message.advice),
    }
    words = " ".join(f"{key}={_extension(value)}" for key, value in fields.items() if value)
    severity = _CEF_SEVERITY[notice.severity]
    code = CODES[matter.code]
    return f"CEF:0|netguard|netguard|{__version__}|{code.code}|{name}|{severity}|{words}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _quoted(text: str) -> str:
    # RFC 5424 6.3.3
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")


def _header(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|")


def _extension(text: str) -> str:
    return text.replace("\\", "\\\\").replace("=", "\\=").replace("\n", "\\n").replace("\r", "")
