"""What the name proxy tells over its socket: how it is, what was refused, why, and what is flushed."""

from typing import Any, Protocol

from netguard.adapters import clock, control
from netguard.core import dnswire, guide
from netguard.core.alerting.floods import ALL
from netguard.core.desk import Desk, Note
from netguard.core.names import parse_fqdn
from netguard.daemon.dns_traffic import Traffic
from netguard.errors import BadValue
from netguard.settings import Users

Row = dict[str, Any]


class Owner(Protocol):
    """What of the process itself is told or done here."""

    since: float
    keep_trouble: str

    async def reload(self) -> None:
        """Read the names again."""

    def resync(self) -> int:
        """Fill the sets again."""


class Told:
    """The verbs of the name proxy."""

    def __init__(self, desk: Desk, traffic: Traffic, owner: Owner) -> None:
        self._desk, self._traffic, self._owner = desk, traffic, owner

    def offers(self, users: Users) -> dict[str, control.Offer]:
        """Return each verb with who may use it."""
        guard = frozenset({users.guard})
        readers = frozenset({users.watch, users.guard})
        return {
            "reload": control.Offer(self._reload, guard),
            "resync": control.Offer(self._resync, guard),
            "status": control.Offer(self._status, readers),
            "heard": control.Offer(self._heard, readers),
            "used": control.Offer(self._used, readers),
            "learned": control.Offer(self._learned, readers),
            "top": control.Offer(self._top, readers),
            "tail": control.Offer(self._tail, readers),
            "why": control.Offer(self._why, readers),
            "flush": control.Offer(self._flush, guard),
        }

    async def _reload(self, caller: control.Caller, message: control.Message) -> control.Message:
        await self._owner.reload()
        return {"plan": self._desk.book.plan if self._desk.book else ""}

    async def _resync(self, caller: control.Caller, message: control.Message) -> control.Message:
        return {"elements": self._owner.resync()}

    async def _heard(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Say how many seconds ago each tablet last asked."""
        return {"heard": self._desk.heard(clock.monotonic())}

    async def _used(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Return the names that were answered and refused since the last time, by group."""
        found, left = self._desk.used(clock.monotonic())
        return {"used": [seen._replace(times=n).line() for seen, n in found], "dropped": left}

    async def _status(self, caller: control.Caller, message: control.Message) -> control.Message:
        desk, flights = self._desk, self._traffic.flights
        elements = dict.fromkeys(desk.book.rules.domains if desk.book else (), 0)
        for row in desk.memory.rows(clock.monotonic()):
            elements[row.service] = elements.get(row.service, 0) + 1
        return {
            "plan": desk.book.plan if desk.book else "",
            "answers": [[kind, why, count] for (kind, why), count in sorted(desk.counts.items())],
            "upstream_failures": {s.name: s.failures for s in flights.servers if s.failures},
            "upstream": [
                {
                    "server": server.name,
                    "down": server.down,
                    "answers": server.answers,
                    "failures": server.failures,
                    "trouble": self._traffic.wire.trouble.get(server.name, ""),
                }
                for server in flights.servers
            ],
            "ignored": dict(sorted(flights.bad.items())),
            "open": len(flights),
            "elements": elements,
            "limited": dict(desk.limited.most_common(20)),
            "in_vain": _in_vain(desk),
            "recent": [self._shown(note) for note in list(desk.notes)[-20:]],
            "problems": self._problems(),
        }

    def _problems(self) -> dict[str, str]:
        traffic = self._traffic
        wrong = {}
        down = [server.name for server in traffic.flights.servers if server.down]
        if traffic.flights.all_down:
            wrong["resolvers"] = (
                f"no resolver answers ({', '.join(down)}): what is known ends with its time to live"
            )
        elif down:
            wrong["resolvers"] = f"a resolver does not answer: {', '.join(down)}"
        for name, why in traffic.wire.trouble.items():
            if why:
                wrong[f"resolver {name}"] = f"resolver {name}: {why}"
        if traffic.kernel_trouble:
            wrong["kernel"] = f"the kernel takes no address: {traffic.kernel_trouble}"
        if self._owner.keep_trouble:
            wrong["kept"] = f"what is learned is not written down: {self._owner.keep_trouble}"
        return wrong

    def _shown(self, note: Note) -> Row:
        ago = clock.monotonic() - note.at
        at = clock.now().timestamp() - ago
        return {
            "number": note.number,
            "at": clock.stamp(at),
            "tablet": note.tablet,
            "name": note.name,
            "why": note.why,
        }

    async def _learned(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Return what was learned for a name, or which names taught an address."""
        name, address = str(message.get("name")), message.get("address")
        rows = self._rows(name, address if isinstance(address, str) else "")
        denied = self._desk.denied.get(name)
        answer: control.Message = {"learned": rows}
        if denied is not None:
            answer["denied"] = {"count": denied.count, **self._shown(denied.last)}
        return answer

    def _rows(self, name: str, address: str) -> list[Row]:
        now = clock.monotonic()
        rows = []
        for row in self._desk.memory.rows(now):
            shown = str(dnswire.unpacked(row.packed))
            if name in row.names or shown == address:
                rows.append(
                    {
                        "service": row.service,
                        "address": shown,
                        "name": name if name in row.names else next(iter(row.names), ""),
                        "expires_seconds": round(row.until - now, 1),
                    }
                )
        return rows

    async def _top(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Return the names that are refused most, the names nobody uses, those without address."""
        limit = _number(message.get("limit"), 20)
        now = clock.monotonic()
        unused = [
            {"service": service, "domain": str(domain)}
            for service, domain in guide.domains(self._desk.book)
            if (service, str(domain)) not in self._desk.seen
        ]
        return {
            "since": clock.stamp(self._owner.since),
            "denied": [
                {"name": name, "count": e.count, "error": e.error, **self._shown(e.last)}
                for name, e in self._desk.denied.top(limit)
            ],
            "unused": unused,
            "unresolved": [
                {"name": name, "why": why} for name, why in sorted(self._traffic.unresolved.items())
            ],
            "seen": [
                {"service": service, "domain": domain, "seconds_ago": round(now - at)}
                for (service, domain), at in sorted(self._desk.seen.items())
            ],
        }

    async def _tail(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Return the refusals and failures after a number, the oldest first."""
        after = _number(message.get("after"), 0)
        rows = [self._shown(note) for note in self._desk.notes if note.number > after]
        return {"notes": rows, "last": rows[-1]["number"] if rows else after}

    async def _why(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Say what becomes of a name: by group, in the cache, in the sets, and who was refused."""
        name = _name(message)
        desk, now = self._desk, clock.monotonic()
        book = desk.book
        groups = [
            {"group": group, **guide.why(desk, group, name)}
            for group in (sorted(book.rules.group_services) if book else ())
        ]
        cached = []
        for word, type_ in (("A", dnswire.A), ("AAAA", dnswire.AAAA)):
            entry = desk.entry(name, type_)
            if entry is not None:
                cached.append(
                    {
                        "type": word,
                        "addresses": [str(dnswire.unpacked(p)) for p in entry.packed],
                        "chain": list(entry.chain),
                        "expires_seconds": round(entry.expires - now, 1),
                    }
                )
        answer = await self._learned(caller, {"name": name})
        return {
            "name": name,
            "groups": groups,
            "cached": cached,
            "learned": answer["learned"],
            "denied": answer.get("denied"),
            "unresolved": self._traffic.unresolved.get(name, ""),
        }

    async def _flush(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Forget the answers of a name; what is in the sets stays until it ends."""
        name = _name(message)
        return {"name": name, "answers": self._desk.flush(name)}


def _name(message: control.Message) -> str:
    try:
        return parse_fqdn(str(message.get("name")))
    except BadValue as error:
        raise BadValue("bad-domain", f"name: {error.text}") from error


def _number(given: object, default: int) -> int:
    if isinstance(given, int) and not isinstance(given, bool) and 0 <= given < 1 << 53:
        return given
    return default


def _in_vain(desk: Desk) -> dict[str, int]:
    """Return how often tablets asked for nothing: the twenty that did most, and all together."""
    every = desk.limited + desk.asked_in_vain
    return {ALL: every.total(), **dict(every.most_common(20))}
