"""What several checks of the doctor need, each looked up once: the plan in force, what daemons say."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from netguard.adapters import clock, control, files, machine
from netguard.core.doctor.node import Daemon
from netguard.core.plan import Plan, compile_plan
from netguard.daemon.doctor.checks import Once
from netguard.errors import NetguardError, NotReachable, Refused
from netguard.rules.folder import Folder, read_folder
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
        # With its tablets and what is said of them; None where that cannot be read.
        self.whole: Once[Plan | None] = Once(self._whole)
        self.tablets: Once[int] = Once(self._count)
        self.loans: Once[dict[str, str] | None] = Once(self._loans)
        self.guard: Once[Status | NetguardError] = Once(_asked(settings.guard_socket))
        self.dns: Once[Status | NetguardError] = Once(_asked(settings.dns_socket))
        self.watch: Once[Status | NetguardError] = Once(_asked(settings.watch_socket))
        self.listeners: Once[list[machine.Listener]] = Once(machine.listeners)

    def _in_force(self) -> Folder | None:
        current = self.copies.current()
        return read_folder(current[1], current[0].name) if current is not None else None

    def _plan(self) -> Plan | None:
        """Compile what is in force from its copy, guard is not needed for it; without its tablets.

        Ten thousand of them take longer than everything else together, and no cable depends on them.
        """
        folder = self._in_force()
        return self._compiled(lean(folder), {}) if folder is not None else None

    def _whole(self) -> Plan | None:
        folder, loans = self._in_force(), self.loans.get()
        if folder is None or loans is None:
            return None
        return self._compiled(folder, loans)

    def _compiled(self, folder: Folder, loans: dict[str, str]) -> Plan:
        loaded = load(folder, today=clock.today(), allow_empty=True)
        if loaded.policy is None:
            raise NetguardError(f"the rules in force have errors: netguard check {folder.name}")
        return compile_plan(loaded.policy, self.settings.sites, loans)

    def _count(self) -> int:
        folder = self._in_force()
        if folder is None:
            return 0
        listed = folder.files.get("tablets.csv", b"").count(b"\n") - 1
        return max(listed, folder.files.get("tablets.yaml", b"").count(b"mac:"), 0)

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
        if isinstance(status, Refused):
            return Daemon(answers=False, why="answers, and tells this user nothing: try as root")
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


def lean(folder: Folder) -> Folder:
    """Return a rules folder without its tablets, their addresses and its cases."""
    kept = {
        name: data
        for name, data in folder.files.items()
        if name != "tablets.yaml" and not name.startswith("tests/")
    }
    kept["tablets.csv"] = b"id,mac,group,home\n"
    if "allotted.csv" in kept:
        kept["allotted.csv"] = b"site,id,address\n"
    return Folder(folder.name, kept)
