"""Profiles over guard's socket: on, off, which there are, and their end when their time is up."""

import asyncio
import json
from dataclasses import asdict, replace

from netguard.adapters import clock, control
from netguard.adapters.store import Entry
from netguard.core.profiles import Active
from netguard.daemon import lending, profiles
from netguard.daemon.loan_verbs import Parts
from netguard.daemon.process import say, warn
from netguard.errors import EnforcementError, NetguardError


class ProfileVerbs:
    """Switches profiles; only root and guard itself may."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._held = parts.profiles
        # Why one that is over could not be ended yet.
        self.problem = ""

    def offers(self) -> dict[str, control.Offer]:
        """Return the verbs."""
        return {"profile": control.Offer(self.profile)}

    async def profile(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Switch a profile on or off; without a name, say which there are."""
        if message.get("name") is None:
            return {"profiles": self._held.shown(self._parts.policy())}
        async with self._parts.busy:
            policy = self._parts.policy()
            line = lending.line(clock.now(), caller.name, message, "profile", f"{message['name']}")
            change = profiles.wanted(message, policy, self._held.active, line)
            if change is not None:
                await self._set(*change)
            rows = [row for row in self._held.shown(policy) if row["name"] == message["name"]]
            return {
                "profile": rows[0] if rows else None,
                "changed": change is not None,
                "problems": self._parts.problems(),
            }

    async def end(self) -> None:
        """Take back what was on for a time; the caller has made sure that nothing else changes."""
        for each in self._held.over(clock.now()):
            line = lending.line(clock.now(), "guard", {}, "profile-over", each.name)
            left = profiles.ended(self._held.active, [each])
            try:
                await self._set(left, replace(line, before=json.dumps(asdict(each))))
            except NetguardError as error:
                text = f"profile {each.name} is over and stays on, tried again: {error}"
                if self.problem != text:
                    warn(text)
                self.problem = text
                return
        self.problem = ""

    async def _set(self, active: dict[str, Active], line: Entry) -> None:
        # Written down before it is done; on disk before it is in force.
        await asyncio.to_thread(self._parts.register.record, line)
        try:
            await asyncio.to_thread(self._held.set, active)
        except OSError as error:
            raise EnforcementError(f"profiles.json cannot be written: {error.strerror}") from error
        say("profile", name=line.subject, on=line.subject in active, by=line.who)
        await self._parts.new_plan()
