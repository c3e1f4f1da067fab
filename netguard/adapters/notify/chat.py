"""Chat and SMS through Apprise: one library for all the services that hospitals use.

The URL of the service holds its token, so it is a file of the node's secrets and never in the rules.
"""

import asyncio

from netguard.adapters.notify.outgoing import Outgoing, secret
from netguard.core.alerting import Message, Notice
from netguard.core.policy import Receiver
from netguard.errors import Undelivered


async def send(outgoing: Outgoing, receiver: Receiver, notice: Notice, message: Message) -> None:
    """Send one message. Raises Undelivered; Apprise says yes or no and keeps why to its log."""
    url = secret(outgoing.secrets, receiver.chat_file).decode(errors="replace")
    await asyncio.to_thread(_send, url, receiver, notice, message)


def _send(url: str, receiver: Receiver, notice: Notice, message: Message) -> None:
    # Only here: it brings some hundred services along.
    import apprise  # noqa: PLC0415

    service = apprise.Apprise()
    if not service.add(url):
        raise Undelivered(f"{receiver.chat_file} holds no URL that Apprise knows", final=True)
    short = any(
        isinstance(each, apprise.NotifyBase) and each.body_maxlen <= 160 for each in service
    )
    kind = {
        "critical": apprise.NotifyType.FAILURE,
        "warning": apprise.NotifyType.WARNING,
        "info": apprise.NotifyType.INFO,
    }[notice.severity]
    body = message.short if short else message.text
    if not service.notify(body=body, title="" if short else message.title, notify_type=kind):
        raise Undelivered(f"receiver {receiver.name}: the chat service did not take it")
