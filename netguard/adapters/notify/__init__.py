"""The ways to receivers: Alertmanager, signed webhook, syslog and CEF, mail, chat; and the catalogues of words.

Each `send` returns when the other side has taken the message, or raises Undelivered. None keeps anything,
tries twice, or decides who is told: that is daemon/delivery.py's.
"""

from netguard.adapters.notify import alertmanager, catalogues, chat, mail, siem, webhook
from netguard.adapters.notify.outgoing import Outgoing, secret

__all__ = [
    "Outgoing",
    "alertmanager",
    "catalogues",
    "chat",
    "mail",
    "secret",
    "siem",
    "webhook",
]
