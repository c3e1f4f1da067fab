"""What our daemons must not forget: one SQLite file each, and the numbered steps that made it.

guard.db holds what people decided (loans, audit), watch.db what was seen (docs/adr/0005). What is
said to be stored survives kill -9 and a power cut: WAL, synchronous=FULL, one transaction for what
belongs together. Must not decide anything, nor read a clock: moments come in.
"""

from netguard.adapters.store.database import (
    GUARD,
    WATCH,
    Kind,
    aside,
    backup,
    opened,
    put_aside,
    restore,
    verify,
)
from netguard.adapters.store.guard import (
    Entry,
    GuardStore,
    Loan,
    Move,
    PskRow,
    Quarantine,
    RemovalRow,
)
from netguard.adapters.store.outbox import DEAD, HELD, SENT, WAITING, Letter, Said
from netguard.adapters.store.watch import Incident, Positions, Told, WatchStore, reading_again

__all__ = [
    "DEAD",
    "GUARD",
    "HELD",
    "SENT",
    "WAITING",
    "WATCH",
    "Entry",
    "GuardStore",
    "Incident",
    "Kind",
    "Letter",
    "Loan",
    "Move",
    "Positions",
    "PskRow",
    "Quarantine",
    "RemovalRow",
    "Said",
    "Told",
    "WatchStore",
    "aside",
    "backup",
    "opened",
    "put_aside",
    "reading_again",
    "restore",
    "verify",
]
