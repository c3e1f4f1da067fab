"""Gets tablets off the air that are refused: asks their NAS by its recipe, and sees that they are gone.

What is due is core/removal's; here it is done. Who has to go follows from what people said, so nothing is
lost when guard ends between two steps: the next one compares, and goes on with the step that is due. What watch
says of sessions is checked against the rules: a request goes to a NAS of ours or to nobody.
"""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from netguard.adapters import clock, coa, conntrack, control, machine
from netguard.adapters.store import Entry, RemovalRow
from netguard.core import removal as rules
from netguard.core.coa import Answer, Session, Way
from netguard.core.loans import QUARANTINED, REFUSED
from netguard.core.names import Address, Mac
from netguard.core.plan import Plan, SitePlan
from netguard.core.policy import Nas
from netguard.core.removal import DONE, FAILED, Removal
from netguard.core.sessions import MOST, Live, address
from netguard.core.sessions import read as read_sessions
from netguard.daemon.fence import Fence
from netguard.daemon.process import pause, say, warn
from netguard.daemon.radius_server import RadiusServer
from netguard.daemon.refusals import Refusals
from netguard.daemon.register import Register
from netguard.errors import BadValue, EnforcementError, NetguardError, StoreError
from netguard.settings import Settings

LOOK_INTERVAL = 0.5
# Requests to NASes that run at once: a fleet that is stolen must not flood a controller.
AT_ONCE = 16
# What watch heard longer ago says nothing of where a tablet is now.
STALE = 86400.0
_WATCH_PATIENCE = 3.0
# How long a proof waits for a watch that does not answer, before that is a failure to be told.
WATCH_AWAY = 60.0
NOBODY_KNOWS = "nobody knows where it is, and no NAS of the rules has one address"
_NOBODY_SAYS = "watch does not answer: nobody can say whether a session goes on"


class Removals:
    """Every tablet that has to go, and how far it has come."""

    def __init__(
        self, settings: Settings, register: Register, fence: Fence, radius: RadiusServer
    ) -> None:
        self._settings, self._register = settings, register
        self._fence, self._radius = fence, radius
        self._held: dict[str, Removal] = {}
        self._causes: dict[str, str] = {}
        self._known = False
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        # Released from quarantine: when each is looked at next, and for the last time (monotonic).
        self._freed: dict[str, tuple[float, float]] = {}
        # By NAS, kind of request and answer: what the metrics show.
        self.counts: Counter[tuple[str, str, str]] = Counter()

    # who has to go

    async def compare(self) -> None:
        """Begin what has to be begun, and forget whoever is refused no more.

        What is known is changed on the loop alone; only the store is written in a thread, which a step that is
        called off may leave behind.
        """
        states = self._register.effective
        if states is None:
            return
        if not self._known and self._register.is_open:
            with contextlib.suppress(StoreError):
                over = self._recall(await asyncio.to_thread(self._register.removals))
                self._known = True
                await asyncio.to_thread(self._register.end_removals, over)
        wanted = {t: s for t, s in states.items() if s in REFUSED}
        for tablet, state in wanted.items():
            self._freed.pop(tablet, None)
            cause = f"{state} {self._since(tablet, state)}"
            if self._causes.get(tablet) != cause:
                self._stop(tablet)
                self._causes[tablet] = cause
                await self._keep(Removal(tablet, state, clock.now().timestamp()))
        gone, released = [tablet for tablet in self._held if tablet not in wanted], []
        for tablet in gone:
            self._stop(tablet)
            if self._held[tablet].state == QUARANTINED:
                # A little later: who joins anew by itself is known to watch by then.
                now = clock.monotonic()
                self._freed[tablet] = now + rules.SOON, now + rules.LISTENED_FOR
                released.append(tablet)
            self._held.pop(tablet, None)
            self._causes.pop(tablet, None)
        for tablet in released:
            row = RemovalRow(tablet, rules.RELEASED, "", clock.now().timestamp(), "")
            with contextlib.suppress(StoreError):
                await asyncio.to_thread(self._register.keep_removal, row)
        await self._end([tablet for tablet in gone if tablet not in released])

    async def _end(self, tablets: list[str]) -> None:
        """Forget rows that have said what they had to say."""
        if tablets:
            with contextlib.suppress(StoreError):
                await asyncio.to_thread(self._register.end_removals, tablets)

    def _recall(self, rows: Mapping[str, RemovalRow]) -> list[str]:
        """Go on where guard ended; returns whose row has nothing more to say."""
        over, now = [], clock.monotonic()
        for row in rows.values():
            if row.state == rules.RELEASED:
                left = row.since + rules.LISTENED_FOR - clock.now().timestamp()
                if left > 0:
                    # With a clock that was set back it is looked for as long as any.
                    until = now + min(left, rules.LISTENED_FOR)
                    self._freed[row.tablet] = now + rules.SOON, until
                else:
                    over.append(row.tablet)
                continue
            with contextlib.suppress(BadValue):
                self._held[row.tablet] = rules.read(row.tablet, row.state, row.since, row.steps)
                self._causes[row.tablet] = row.cause
        return over

    def _since(self, tablet: str, state: str) -> str:
        if state == QUARANTINED:
            row = self._register.quarantines.get(tablet)
            return row.at if row is not None else ""
        said = self._register.details.get(tablet)
        return said.at if said is not None else ""

    def _stop(self, tablet: str) -> None:
        task = self._tasks.pop(tablet, None)
        if task is not None:
            task.cancel()

    async def _keep(self, held: Removal) -> None:
        """Remember how far it has come; where it cannot be stored a restart begins anew, which does no harm."""
        self._held[held.tablet] = held
        cause = self._causes[held.tablet]
        row = RemovalRow(held.tablet, held.state, cause, held.since, rules.write(held))
        with contextlib.suppress(StoreError):
            await asyncio.to_thread(self._register.keep_removal, row)

    # what is done

    async def run(
        self,
        stop: asyncio.Event,
        busy: asyncio.Lock,
        plan: Callable[[], Plan | None],
        refusals: Callable[[], Refusals | None],
    ) -> None:
        """Do what is due until told to end."""
        async with asyncio.TaskGroup() as group:
            while not stop.is_set():
                async with busy:
                    await self.compare()
                in_force = plan()
                for tablet in list(self._held):
                    if in_force is None:
                        break
                    task = self._tasks.get(tablet)
                    name = rules.due(self._held[tablet], clock.now().timestamp())
                    # One step at a time for each tablet.
                    if name is not None and (task is None or task.done()):
                        step = self._do(tablet, name, in_force, busy, refusals())
                        self._tasks[tablet] = group.create_task(step)
                for tablet, (after, _) in self._freed.items():
                    task = self._tasks.get(tablet)
                    idle = task is None or task.done()
                    if in_force is not None and idle and clock.monotonic() >= after:
                        self._tasks[tablet] = group.create_task(self._let_out(tablet, in_force))
                await pause(stop, LOOK_INTERVAL)
            for tablet in list(self._tasks):
                self._stop(tablet)

    async def _do(
        self, tablet: str, name: str, plan: Plan, busy: asyncio.Lock, refusals: Refusals | None
    ) -> None:
        held, cause = self._held[tablet], self._causes[tablet]
        try:
            if name == rules.KERNEL:
                async with busy:
                    state, why = await self._kernel(tablet, plan)
            elif name == rules.RADIUS:
                async with busy:
                    state, why = self._answers(tablet, plan)
            elif name == rules.PROOF:
                heard = await self._heard(held, plan, refusals)
                if heard is None and (
                    held.is_over or clock.now().timestamp() < _patience_ends(held)
                ):
                    # It is being started anew: asked once more at the next look.
                    return
                state, why = rules.judge(held, _NOBODY_SAYS if heard is None else heard)
            else:
                state, why = await self._throw_off(tablet, plan)
        except (NetguardError, OSError) as error:
            state, why = FAILED, str(error)
        if self._causes.get(tablet) != cause:
            return
        before = held.step(name)
        now = rules.tried(held, name, state, why, clock.now().timestamp())
        await self._keep(now)
        if (state, why) != (before.state, before.why):
            tell = say if state == DONE else warn
            tell(f"off the air: {name} {state}", tablet=tablet, why=why)
        if now.is_over and not held.is_over:
            await asyncio.to_thread(self._write_down, now)

    def _write_down(self, held: Removal) -> None:
        at = clock.now().isoformat(timespec="seconds")
        entry = Entry(at, "guard", "off-the-air", held.tablet, "{}", "{}")
        after = json.dumps({step.name: step.why or step.state for step in held.steps})
        with contextlib.suppress(StoreError):
            self._register.record(replace(entry, after=after))

    async def _kernel(self, tablet: str, plan: Plan) -> tuple[str, str]:
        bindings = [b for b in plan.bindings if b.tablet == tablet]
        if not bindings:
            return DONE, "not in the inventory in force, so its MAC is refused"
        if not self._fence.refuses(tablet):
            return FAILED, "the kernel does not refuse it yet"
        addresses = [b.address for b in bindings if b.address is not None]
        try:
            await asyncio.to_thread(conntrack.forget, addresses)
        except EnforcementError as error:
            return FAILED, str(error)
        return DONE, "refused both ways, its connections are forgotten"

    def _answers(self, tablet: str, plan: Plan) -> tuple[str, str]:
        if self._settings.paths.radius_control is None:
            return DONE, "written; this node has no control socket to confirm it by"
        if self._radius.pending or (
            tablet not in plan.loan and any(b.tablet == tablet for b in plan.bindings)
        ):
            why = self._radius.problems().get("radius", "FreeRADIUS has not followed yet")
            return FAILED, why
        return DONE, "FreeRADIUS was asked and says so"

    async def _let_out(self, tablet: str, plan: Plan) -> None:
        """Have a released tablet ask anew where its NAS still has it in the quarantine VLAN: nothing else tells it."""
        _, until = self._freed[tablet]
        self._freed[tablet] = clock.monotonic() + rules.SOON, until
        if self._settings.paths.radius_control is not None and self._radius.pending:
            why = "FreeRADIUS has not followed yet"
        else:
            mac = _mac_of(tablet, plan)
            sessions = await self._sessions(mac) if mac is not None else []
            if sessions is not None and not _is_kept_apart(plan, sessions):
                await self._let_be(tablet)
                return
            self._freed[tablet] = clock.monotonic() + rules.LATER, until
            try:
                state, why = (
                    (await self._throw_off(tablet, plan)) if sessions else (FAILED, _NOBODY_SAYS)
                )
            except (NetguardError, OSError) as error:
                state, why = FAILED, str(error)
            if state == DONE:
                say("released, it is to join anew", tablet=tablet, why=why)
        if clock.monotonic() > until:
            await self._let_be(tablet)
            warn("released, and in the quarantine VLAN until it joins anew", tablet=tablet, why=why)

    async def _let_be(self, tablet: str) -> None:
        if self._freed.pop(tablet, None) is not None:
            await self._end([tablet])

    async def end_session(self, tablet: str, plan: Plan) -> tuple[bool, str]:
        """Let the NAS end the session that a tablet began with its key; returns whether it did, and what was said."""
        if not any(plan.site[b.site].forms for b in plan.bindings if b.tablet == tablet):
            return True, "no NAS of its sites gives it a key of its own"
        try:
            state, why = await self._throw_off(tablet, plan, keyed=True)
        except (NetguardError, OSError) as error:
            return False, str(error)
        return state == DONE, why

    async def keyed_sessions(self, tablet: str, plan: Plan) -> tuple[list[Live], bool] | None:
        """Return where watch knows a tablet to be that gives it a key of its own, and whether it may know of more.

        None where nobody can say.
        """
        mac = _mac_of(tablet, plan)
        rows = await self._sessions(mac) if mac is not None else []
        if rows is None:
            return None
        names = {nas.name for _, nas in _places(plan, keyed=True)}
        return [row for row in rows if row.nas in names], len(rows) >= MOST

    async def _throw_off(self, tablet: str, plan: Plan, *, keyed: bool = False) -> tuple[str, str]:
        mac = _mac_of(tablet, plan)
        if mac is None:
            return DONE, "not in the inventory in force: nobody knows its MAC"
        sessions = await self._sessions(mac)
        places = _places(plan, keyed=keyed)
        known = _where(plan, mac, sessions or (), places)
        targets = known or _anywhere(plan, mac, places)
        if not targets and sessions is not None:
            return DONE, "no session of it is known, and no NAS of the rules has one address to ask"
        if not targets:
            return FAILED, NOBODY_KNOWS
        said = await asyncio.gather(*(self._ask(nas, session) for nas, session in targets))
        words = "; ".join(dict.fromkeys(text for _, text in said))
        # Of whom no session is known: a NAS that is off the air itself must not keep this open for ever.
        enough = all if known or sessions is None else any
        return (DONE if enough(done for done, _ in said) else FAILED), words

    async def _ask(self, nas: Nas, session: Session) -> tuple[bool, str]:
        async with self._slots:
            return await self._sent(nas, session)

    async def _sent(self, nas: Nas, session: Session) -> tuple[bool, str]:
        path = self._settings.paths.radius_secrets / f"{nas.secret_file}.conf"
        secret = await asyncio.to_thread(machine.radius_secret, path)
        if secret is None:
            return False, f"{nas.name}: {path} cannot be read, or holds no secret"

        def told(way: Way, answer: Answer) -> None:
            kind = "disconnect" if way.code == 40 else "coa"
            self.counts[nas.name, kind, "sent"] += 1
            self.counts[nas.name, kind, answer.label] += 1

        outcome = await coa.throw_off(nas.vendor, session, secret, _now, told)
        text = Answer(outcome.word, outcome.cause).text
        return outcome.is_done, f"{nas.name}: {text} (UDP {outcome.way.port})"

    async def _sessions(self, mac: Mac) -> list[Live] | None:
        """Return where watch knows a MAC to be; None where it does not answer, or with what is none."""
        try:
            told = await control.call_async(
                self._settings.watch_socket, "sessions", _WATCH_PATIENCE, mac=str(mac)
            )
            return read_sessions(told.get("sessions"))
        except NetguardError:
            return None

    async def _heard(self, held: Removal, plan: Plan, refusals: Refusals | None) -> str | None:
        """Say what was heard of a tablet since it was thrown off last; an empty text for nothing.

        None where nobody can say, because watch does not answer.
        """
        mac = _mac_of(held.tablet, plan)
        if mac is None:
            return ""
        since = held.step(rules.AGAIN).at + rules.SETTLES
        sessions = await self._sessions(mac)
        if sessions is None:
            return None
        denial = refusals.last_of(mac) if refusals is not None else None
        # Who is lost or stolen belongs nowhere, also where it was kept apart before that was said.
        apart = held.state == QUARANTINED
        wrong = denial is not None and (not apart or _is_old(plan, denial.interface))
        if denial is not None and wrong and denial.at.timestamp() > since:
            return f"it still sends packets into {denial.interface}, all refused"
        return _goes_on(plan, sessions, since, apart=apart)

    def shown(self, tablet: str | None = None) -> list[dict[str, Any]]:
        """Return how far each removal has come, as an answer; of one tablet where it is named."""
        return [
            {
                "tablet": held.tablet,
                "state": held.state,
                "since": clock.stamp(held.since),
                "over": held.is_over,
                "steps": [
                    {
                        "step": step.name,
                        "state": step.state,
                        "at": clock.stamp(step.at) if step.at else "",
                        "why": step.why,
                    }
                    for step in held.steps
                ],
            }
            for held in self._held.values()
            if tablet in {None, held.tablet}
        ]

    def asked(self) -> list[list[str | int]]:
        """Return how many requests were sent and what they brought, by NAS."""
        return [[*key, count] for key, count in sorted(self.counts.items())]


def _patience_ends(held: Removal) -> float:
    return held.step(rules.AGAIN).at + rules.WATCHED_FOR + WATCH_AWAY


def _now() -> int:
    return int(clock.now().timestamp())


def _mac_of(tablet: str, plan: Plan) -> Mac | None:
    return next((b.mac for b in plan.bindings if b.tablet == tablet), None)


def _places(plan: Plan, *, keyed: bool = False) -> list[tuple[SitePlan, Nas]]:
    """Return each NAS with its site; `keyed`: only those that give each tablet a key."""
    return [(site, nas) for site in plan.sites for nas in site.nas if nas.psk or not keyed]


def _where(
    plan: Plan, mac: Mac, sessions: Iterable[Live], places: Iterable[tuple[SitePlan, Nas]]
) -> list[tuple[Nas, Session]]:
    """Return the NASes of these places at which sessions are known, each with what it is to end."""
    known = {nas.name: (site, nas) for site, nas in places}
    own = _addresses(plan, mac)
    fresh = clock.now().timestamp() - STALE
    found: dict[tuple[str, str, str], tuple[Nas, Session]] = {}
    for live in sessions:
        place = known.get(live.nas)
        if place is None or live.at < fresh:
            continue
        site, nas = place
        # Only a NAS of the rules is asked, whatever is said: a request carries a secret's signature.
        source = address(live.source)
        server = source if source is not None and source in nas.address else _single(nas)
        if server is not None:
            session = Session(
                mac=mac,
                server=server,
                nas_ip=address(live.nas_ip),
                id=live.session,
                bssid=_bssid(live.bssid),
                address=own.get(site.name),
            )
            found[nas.name, str(server), live.session] = nas, session
    # One that is named by its session is not asked for by its MAC alone as well.
    named = {(name, server) for name, server, id_ in found if id_}
    return [each for key, each in found.items() if key[2] or (key[0], key[1]) not in named]


def _anywhere(
    plan: Plan, mac: Mac, places: Iterable[tuple[SitePlan, Nas]]
) -> list[tuple[Nas, Session]]:
    """Return each NAS that has one address: where nobody knows of a session, it may be at any."""
    own = _addresses(plan, mac)
    return [
        (nas, Session(mac=mac, server=server, address=own.get(site.name)))
        for site, nas in places
        if (server := _single(nas)) is not None
    ]


def _addresses(plan: Plan, mac: Mac) -> dict[str, Address | None]:
    return {b.site: b.address for b in plan.bindings if b.mac == mac}


def _single(nas: Nas) -> Any:  # noqa: ANN401  # an address of either family, or None
    network = nas.address
    return network.network_address if network.num_addresses == 1 else None


def _bssid(text: str) -> Mac | None:
    try:
        return Mac.parse(text)
    except BadValue:
        return None


def _is_old(plan: Plan, interface: str) -> bool:
    """Say whether an interface is that of the tablets' VLAN.

    Where a site has a quarantine VLAN and several interfaces, nobody can tell which is which.
    """
    site = plan.site_of_interface.get(interface)
    return site is None or site.quarantine_vlan is None or len(site.interfaces) == 1


def _is_kept_apart(plan: Plan, sessions: Iterable[Live]) -> bool:
    """Say whether what a tablet was given last, anywhere, is the quarantine VLAN, and it was heard of lately.

    Where it was before, its NAS may not have said that it has left.
    """
    rows = list(sessions)
    if all(live.at < clock.now().timestamp() - STALE for live in rows):
        return False
    given = [live for live in rows if not live.session]
    last = max(given, key=lambda live: live.at, default=None)
    site = plan.site.get(last.site) if last is not None else None
    return last is not None and site is not None and last.vlan == str(site.quarantine_vlan)


def _goes_on(plan: Plan, sessions: Iterable[Live], since: float, *, apart: bool) -> str:
    """Say which session goes on where it must not; an empty text where none does. `apart`: in quarantine it may."""
    rows = list(sessions)
    given = {live.nas: live.vlan for live in rows if not live.session}
    for live in rows:
        site: SitePlan | None = plan.site.get(live.site)
        is_apart = site is not None and given.get(live.nas) == str(site.quarantine_vlan)
        if live.at > since and not (apart and is_apart):
            what = f"session {live.session}" if live.session else "an admission"
            return f"{what} of it is newer than the request, at {live.ap or live.nas}"
    return ""
