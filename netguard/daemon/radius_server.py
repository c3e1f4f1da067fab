"""FreeRADIUS' side of a plan: its files, the reload of two modules, and the proof by asking.

Files change by rename, FreeRADIUS loads them through its control socket, and nothing counts as
loaded before an answer shows it. New clients wait for a restart, and that is said.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from netguard.adapters import clock, files, radius, radius_client
from netguard.core.plan import Plan
from netguard.daemon import proof
from netguard.daemon.process import say, warn
from netguard.errors import EnforcementError, NotReachable
from netguard.render import freeradius, radius_hours
from netguard.settings import Settings

_TRIES = 2
# Holds which server process has not read the clients.conf beside it.
_UNREAD = "clients.unread"
# What FreeRADIUS loads, and behind it what it was last seen to answer by: a crash in between leaves
# the two different, and the next start knows what is still to be loaded and shown.
_LOADED = ("areas", "hours", "psk", "tablets")
# Of secrets only the digest is noted.
_SECRET = "psk"  # noqa: S105  # the name of a file
_PROVEN = ".proven"
# Which server process was seen to; not there while it is told to load something else.
_PROVEN_BY = "proven.server"


class RadiusServer:
    """What FreeRADIUS has to hold, and whether it answers by it."""

    def __init__(
        self, settings: Settings, keys: Callable[[Plan], Mapping[str, str] | None] = lambda _: {}
    ) -> None:
        """Begin with what is written; `keys` returns the Wi-Fi keys of a plan's tablets, None if nobody can say."""
        self._settings = settings
        self._keys_of = keys
        self._keys: Mapping[str, str] | None = None
        self._folder = settings.paths.radius
        self._control = settings.paths.radius_control
        # A guard that has just died may have let it load a moment ago.
        self._loaded = clock.monotonic()
        # The tablets that it may hold: who differs from them shows that it has loaded the new ones.
        self._asked = files.text(self._folder / f"tablets{_PROVEN}")
        # Of keys there is no copy: what is written is what was shown, or else any of them shows it.
        self._asked_keys = files.text(self._folder / _SECRET) if self._is_same(_SECRET) else ""
        self._why = ""
        # True until FreeRADIUS is known to answer by what is written.
        self.pending = not self._is_proven()

    def _is_proven(self) -> bool:
        """Say whether an earlier guard saw this very server answer by what is written."""
        server = radius.identity(self._control) if self._control is not None else None
        return (
            server is not None
            and files.text(self._folder / _PROVEN_BY) == server
            and all(self._is_same(name) for name in _LOADED)
        )

    def _is_same(self, name: str) -> bool:
        held = _noted(name, files.text(self._folder / name))
        return held == files.text(self._folder / f"{name}{_PROVEN}")

    async def bring(self, plan: Plan) -> None:
        """Write what has changed, let FreeRADIUS load it, and see that it has."""
        try:
            await asyncio.to_thread(self._write, plan)
        except OSError:
            self.pending = True
            raise
        if not self.pending or self._control is None:
            return
        if self.clients_wait:
            await self._reload_unproven(self._control)
        else:
            await self._reload(plan, self._control)

    def _write(self, plan: Plan) -> None:
        if not (self._folder / radius_client.SECRET_FILE).exists():
            secret = radius_client.new_secret()
            files.write(self._folder / radius_client.SECRET_FILE, secret, 0o640)
        clients = freeradius.clients(plan, str(self._settings.paths.radius_secrets))
        if files.write(self._folder / "clients.conf", clients, 0o640):
            if self._settings.service_manager == "none":
                say("clients.conf changed: restart netguard-radius for it to count")
            running = radius.identity(self._control) if self._control is not None else None
            files.write(self._folder / _UNREAD, running or "", 0o640)
        # For servers of other networks, which copy it and reload in their own time.
        files.write(self._folder / "lent", freeradius.lent(plan), 0o640)
        self._keys = self._keys_of(plan)
        if self._keys is not None:
            text = freeradius.psk(plan, self._keys)
            files.write(self._folder / _SECRET, text, 0o640)
        for name, text in (
            ("areas", freeradius.areas(plan)),
            ("hours", radius_hours.hours(plan)),
            ("tablets", freeradius.tablets(plan)),
        ):
            files.write(self._folder / name, text, 0o640)
        # Never taken back here: it may hold what was loaded and not shown in between.
        self.pending = self.pending or not all(self._is_same(name) for name in _LOADED)

    async def _reload_unproven(self, socket: Path) -> None:
        """Load what has changed into a server that cannot be asked: it does not know us yet.

        A tablet that is stolen now must not be accepted until somebody restarts the server. It stays
        pending, and is proven after that restart.
        """
        await asyncio.sleep(self._until_settled(socket))
        self._asked = files.text(self._folder / "tablets")
        with contextlib.suppress(EnforcementError):
            await self._load(socket)

    async def _reload(self, plan: Plan, socket: Path) -> None:
        """Reload and prove it; a second try, then say so: guard tries again later."""
        why = ""
        held = {name: files.text(self._folder / name) for name in _LOADED}
        subjects = proof.changed(self._asked, held["tablets"])
        subjects += proof.changed_keys(self._asked_keys, held[_SECRET])
        for _ in range(_TRIES):
            await asyncio.sleep(self._until_settled(socket))
            try:
                await self._load(socket)
                why = await asyncio.to_thread(
                    proof.disagreement, self._settings, plan, subjects, self._keys
                )
            except (EnforcementError, NotReachable) as error:
                why = str(error)
            if not why:
                for name, text in held.items():
                    files.write(self._folder / f"{name}{_PROVEN}", _noted(name, text), 0o640)
                server = radius.identity(socket) or ""
                files.write(self._folder / _PROVEN_BY, server, 0o640)
                self._asked, self._asked_keys = held["tablets"], held[_SECRET]
                self.pending, self._why = False, ""
                return
        text = f"FreeRADIUS does not answer by the last change, restart netguard-radius: {why}"
        if text != self._why:
            warn(text)
        self._why = text

    async def _load(self, socket: Path) -> None:
        (self._folder / _PROVEN_BY).unlink(missing_ok=True)
        await radius.reload(socket)
        self._loaded = clock.monotonic()

    def _until_settled(self, socket: Path) -> float:
        """Return the seconds until FreeRADIUS heeds a reload: not at once after a start or a load."""
        waits = [self._loaded + radius.SETTLE - clock.monotonic()]
        with contextlib.suppress(OSError):
            # The socket is as old as the server that made it.
            age = clock.now().timestamp() - socket.stat().st_mtime
            waits.append(radius.SETTLE - max(0.0, age))
        return max(0.0, *waits)

    def problems(self) -> dict[str, str]:
        """Return what keeps FreeRADIUS from answering by the plan."""
        found = {"radius": self._why} if self._why else {}
        if self.clients_wait:
            found["radius-clients"] = "clients.conf has changed: restart netguard-radius"
        return found

    @property
    def clients_wait(self) -> bool:
        """Say whether the server that runs is the one that ran when its clients changed.

        Only a start reads them.
        """
        unread = files.text(self._folder / _UNREAD)
        if not unread or self._control is None:
            return False
        running = radius.identity(self._control)
        if running not in {None, unread}:
            # Each look costs the server a line in its log: it is not looked at again.
            files.write(self._folder / _UNREAD, "", 0o640)
        return running == unread


def _noted(name: str, text: str) -> str:
    """Return what is noted of a file that FreeRADIUS was seen to answer by."""
    return hashlib.sha256(text.encode()).hexdigest() if name == _SECRET else text
