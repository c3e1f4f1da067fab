"""What several checks of the doctor need, each looked up once: the plan in force, what daemons say."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from netguard.adapters import clock, control, files, machine
from netguard.core.doctor.node import Daemon
from netguard.core.plan import Plan, compile_plan
from netguard.daemon.doctor.checks import Once
from netguard.errors import NetguardError, NotReachable, Refused
from netguard.rules.folder import read_folder
from netguard.rules.load import load
from netguard.settings import Settings

PATIENCE = 2.0
Status = dict[str, Any]


class Known:
    """One node as it is found."""

    def __init__(self, settings: Settings, settings_file: Path) -> None:
        self.settings = settings
        self.settings_file = settings_file
        self.copies = files.Copies(settings.paths.state)
        self.plan: Once[Plan | None] = Once(self._plan)
        self.loans: Once[dict[str, str] | None] = Once(self._loans)
        self.guard: Once[Status | NetguardError] = Once(_asked(settings.guard_socket))
        self.dns: Once[Status | NetguardError] = Once(_asked(settings.dns_socket))
        self.watch: Once[Status | NetguardError] = Once(_asked(settings.watch_socket))
        self.listeners: Once[list[machine.Listener]] = Once(machine.listeners)

    def _plan(self) -> Plan | None:
        """Compile what is in force from its copy: guard is not needed for it."""
        current = self.copies.current()
        if current is None:
            return None
        applied, folder = current
        loaded = load(read_folder(folder, applied.name), today=clock.today(), allow_empty=True)
        if loaded.policy is None:
            raise NetguardError(
                f"the rules in force ({folder}) have errors: netguard check {folder}"
            )
        return compile_plan(loaded.policy, self.settings.sites, self.loans.get() or {})

    def _loans(self) -> dict[str, str] | None:
        # Late: it takes a third of a second, beside those who wait for answers.
        from netguard.adapters.store import looking  # noqa: PLC0415

        return looking.loans(self.settings.paths.state / "guard.db")

    def needed(self) -> Plan:
        """Return the plan; raises NetguardError where none is in force."""
        plan = self.plan.get()
        if plan is None:
            raise NetguardError("no plan is in force (NG-D110), so nobody knows what should be")
        return plan

    def daemon(self, name: str, status: Status | NetguardError, problems: list[str]) -> Daemon:
        """Return what is seen of one of our daemons."""
        pid = machine.holder(self.settings.paths.run / f"{name}.lock")
        if isinstance(status, NetguardError):
            return Daemon(answers=False, why=str(status), pid=pid)
        return Daemon(answers=True, pid=pid, problems=tuple(problems))

    def says(self, status: Once[Status | NetguardError]) -> Status | None:
        """Return what a daemon says, None where it says nothing."""
        answer = status.get()
        return None if isinstance(answer, NetguardError) else answer

    def guard_says(self, *keys: str) -> list[str]:
        """Return guard's problems of these names."""
        guard = self.says(self.guard)
        return [guard["problems"][key] for key in keys if guard and key in guard["problems"]]


def _asked(socket: Path) -> Callable[[], Status | NetguardError]:
    def ask() -> Status | NetguardError:
        try:
            return control.call(socket, "status", PATIENCE)
        except (NotReachable, Refused) as error:
            return error

    return ask
