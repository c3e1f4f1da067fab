"""The errors netguard raises, as one small tree.

NetguardError
+-- BadValue (also a ValueError)   a text that is not what it should be; carries the finding's id
+-- UsageError                     a missing file, a wrong word, unsafe settings          exit 2
+-- NotReachable                   a daemon of ours does not answer on its socket         exit 4
+-- Refused                        a daemon understood and said no, with its reason       exit 5
+-- EnforcementError               an enforcer (kernel, FreeRADIUS, dnsmasq) did not take the plan
+-- Undelivered                    a receiver did not take an alert; `final` when it never will
+-- StoreError                     a database could not be read or written; it is as it was before
    +-- DamagedStore               its file is not (any more) what we wrote
    +-- NewerStore                 a newer netguard has written it                       exit 3

Messages name the thing, the place, the problem and what to write or do instead.
"""


class NetguardError(Exception):
    """Anything that netguard itself raises; `exit_code` is what the CLI ends with."""

    exit_code = 1


class BadValue(NetguardError, ValueError):
    """A text that is not what it should be.

    `finding` is the id under which `check` lists it (rules/README.md), `text` says what is wrong
    and what to write instead; `instead` is that very word, where there is only one.
    """

    def __init__(self, finding: str, text: str, instead: str | None = None) -> None:
        super().__init__(text)
        self.finding = finding
        self.text = text
        self.instead = instead


class UsageError(NetguardError):
    """A wrong word, a missing file or settings that are not safe to run with."""

    exit_code = 2


class NotReachable(NetguardError):
    """A daemon of ours does not answer on its socket."""

    exit_code = 4


class Refused(NetguardError):
    """A daemon of ours understood the request and said no.

    `again`: not because of what was asked, but of how it is at the moment, so it is worth another try.
    """

    exit_code = 5

    def __init__(self, text: str, *, again: bool = False) -> None:
        super().__init__(text)
        self.again = again


class EnforcementError(NetguardError):
    """An enforcer did not take what it was given; the message is its own, with the place."""


class Undelivered(NetguardError):
    """A receiver did not take an alert.

    `final`: it said no to this very message, and would again; else it is worth another try.
    """

    def __init__(self, text: str, *, final: bool = False) -> None:
        super().__init__(text)
        self.final = final


class StoreError(NetguardError):
    """A database of ours could not be read or written; nothing in it has changed."""


class DamagedStore(StoreError):
    """The file of a database is empty, cut, garbled or another one."""


class SealError(NetguardError):
    """What is stored sealed could not be opened, or nothing could be sealed; nothing has changed."""


class NewerStore(StoreError):
    """A newer netguard has written this database; the message names the version to install."""

    exit_code = 3
