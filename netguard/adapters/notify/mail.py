"""Mail: plain text, one thread for each incident, over SMTP with TLS.

The Message-ID is the notice's, so that a server or a reader that sees one twice can tell (RFC 5322 3.6.4).
"""

import asyncio
import smtplib
import ssl
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime

from netguard.adapters.notify.outgoing import PATIENCE, Outgoing, secret
from netguard.core.alerting import RAISED, Message, Notice
from netguard.core.policy import Receiver
from netguard.errors import Undelivered
from netguard.settings import MailServer


async def send(
    outgoing: Outgoing,
    server: MailServer | None,
    receiver: Receiver,
    notice: Notice,
    message: Message,
    node: str,
) -> None:
    """Send one mail. Raises Undelivered."""
    if server is None:
        raise Undelivered("this node has no mail server, see `mail` in docs/settings.md")
    await asyncio.to_thread(
        _send, outgoing, server, composed(server, receiver, notice, message, node)
    )


def composed(
    server: MailServer, receiver: Receiver, notice: Notice, message: Message, node: str
) -> EmailMessage:
    """Return the mail: subject, thread and text."""
    domain = server.sender.rpartition("@")[2]
    thread = f"<{notice.matter.incident}.{node}@{domain}>"
    mail = EmailMessage()
    mail["From"] = server.sender
    mail["To"] = receiver.mail
    mail["Subject"] = f"[netguard][{notice.severity.upper()}] {' '.join(message.title.split())}"
    mail["Date"] = format_datetime(datetime.fromtimestamp(notice.matter.at, UTC))
    mail["Message-ID"] = (
        thread if notice.matter.kind == RAISED else f"<{notice.id}.{node}@{domain}>"
    )
    if notice.matter.kind != RAISED:
        mail["In-Reply-To"] = mail["References"] = thread
    # RFC 3834: no holiday answer comes back.
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Netguard-Notice"] = notice.id
    mail.set_content(message.text)
    return mail


def _send(outgoing: Outgoing, server: MailServer, mail: EmailMessage) -> None:
    where = f"{server.host}:{server.port}"
    try:
        with _connected(outgoing, server) as wire:
            if server.tls == "starttls":
                wire.starttls(context=outgoing.tls())
            if server.user:
                wire.login(server.user, secret(outgoing.secrets, server.password_file).decode())
            wire.send_message(mail)
    except smtplib.SMTPRecipientsRefused as error:
        code, text = next(iter(error.recipients.values()))
        raise Undelivered(f"{where}: {code} {text!r}", final=code // 100 == 5) from error
    except smtplib.SMTPAuthenticationError as error:
        # The server's or our fault, not the message's.
        raise Undelivered(f"{where}: {error.smtp_code} {error.smtp_error!r}") from error
    except smtplib.SMTPResponseException as error:
        final = error.smtp_code // 100 == 5
        raise Undelivered(
            f"{where}: {error.smtp_code} {error.smtp_error!r}", final=final
        ) from error
    except (smtplib.SMTPException, OSError, ssl.SSLError) as error:
        raise Undelivered(f"{where}: {error}") from error


def _connected(outgoing: Outgoing, server: MailServer) -> smtplib.SMTP:
    if server.tls == "tls":
        context = outgoing.tls()
        return smtplib.SMTP_SSL(server.host, server.port, timeout=PATIENCE, context=context)
    return smtplib.SMTP(server.host, server.port, timeout=PATIENCE)
