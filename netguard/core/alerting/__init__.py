"""Who is told what, in which words: from what the engine and the daemons say to notices for receivers.

Pure. What is told is stored first (adapters/store) and delivered then (daemon/delivery.py).
"""

from netguard.core.alerting.codes import CODES, Code, code_of
from netguard.core.alerting.notices import (
    REPEATED,
    Matter,
    Notice,
    Place,
    matter_of,
    notices_of,
    quarantine_of,
    read_notice,
    write_notice,
)
from netguard.core.alerting.silences import Silence, silenced
from netguard.core.alerting.troubles import Trouble, Troubles
from netguard.core.alerting.words import Message, compose, digest
from netguard.core.presence.actions import CLEARED, RAISED, UPDATED

__all__ = [
    "CLEARED",
    "CODES",
    "RAISED",
    "REPEATED",
    "UPDATED",
    "Code",
    "Matter",
    "Message",
    "Notice",
    "Place",
    "Silence",
    "Trouble",
    "Troubles",
    "code_of",
    "compose",
    "digest",
    "matter_of",
    "notices_of",
    "quarantine_of",
    "read_notice",
    "silenced",
    "write_notice",
]
