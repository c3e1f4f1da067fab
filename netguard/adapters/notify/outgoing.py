"""What leaves for receivers goes where the rules say, and never back into the appliance.

A webhook's address may be anybody's idea of a URL. Loopback, link-local and the appliance's own addresses
are refused after the name was resolved, at every connection anew, and the connection goes to the very
address that was looked at; redirects are not followed (OWASP, Server-Side Request Forgery).
"""

import asyncio
import socket
import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from netguard.errors import Undelivered

PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Where the secrets of receivers lie, who vouches for them, and whether to believe any address.

    `authorities` None: who the system trusts. `anywhere` is for Alertmanager, which may well run beside us.
    """

    secrets: Path
    authorities: Path | None = None
    anywhere: bool = False

    def tls(self) -> ssl.SSLContext:
        """Return a context that checks certificates. Raises Undelivered where the authorities are unreadable."""
        try:
            context = ssl.create_default_context(
                cafile=str(self.authorities) if self.authorities is not None else None
            )
        except (OSError, ssl.SSLError) as error:
            raise Undelivered(f"{self.authorities}: {error}") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    def session(self) -> aiohttp.ClientSession:
        """Return a client that asks no proxy of the environment and follows nothing."""
        resolver = None if self.anywhere else _Checked()
        connector = aiohttp.TCPConnector(resolver=resolver, ssl=self.tls(), use_dns_cache=False)
        return aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=PATIENCE),
            headers={"User-Agent": "netguard"},
        )


async def post(
    outgoing: Outgoing, url: str, body: bytes, headers: dict[str, str] | None = None
) -> None:
    """Post JSON; returns when the answer is a success, raises Undelivered with what it was else.

    4xx is final but for 408, 425 and 429 (RFC 9110, RFC 6585, RFC 8470); so is a redirect: a receiver that
    has moved is told to the people who wrote its address.
    """
    if not outgoing.anywhere:
        refuse(urlsplit(url).hostname or "")
    sent = {"Content-Type": "application/json", **(headers or {})}
    try:
        async with (
            outgoing.session() as session,
            session.post(url, data=body, headers=sent, allow_redirects=False) as answer,
        ):
            # The answer is read to its end: one that is cut is not known to be taken.
            await answer.content.read(65536)
    except TimeoutError as error:
        raise Undelivered(f"{url}: no answer within {PATIENCE:.0f} s") from error
    except (aiohttp.ClientError, OSError, ssl.SSLError) as error:
        raise Undelivered(f"{url}: {error}") from error
    if answer.status // 100 == 2:
        return
    if answer.status // 100 == 3:
        where = answer.headers.get("Location", "")[:200]
        raise Undelivered(
            f"{url}: {answer.status}, it has moved to {where!r}; redirects are not followed",
            final=True,
        )
    final = answer.status // 100 == 4 and answer.status not in {408, 425, 429}
    raise Undelivered(f"{url}: {answer.status} {answer.reason}", final=final)


class _Checked(AbstractResolver):
    """Resolves as the system does, and refuses the addresses that no receiver can have."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        rows: list[ResolveResult] = []
        for kind, _, protocol, _, where in found:
            address = str(where[0])
            refuse(address)
            rows.append(
                ResolveResult(
                    hostname=host, host=address, port=port, family=kind, proto=protocol, flags=0
                )
            )
        return rows

    async def close(self) -> None:
        """Hold nothing."""


def refuse(text: str) -> None:
    """Raise Undelivered for an address that leads back here; a name is judged when it is resolved."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return
    real: Any = getattr(address, "ipv4_mapped", None) or address
    if real.is_loopback or real.is_link_local or real.is_unspecified or real.is_multicast:
        raise Undelivered(f"{text} is no address that a receiver can have", final=True)
    if _is_own(str(real), socket.AF_INET6 if real.version == 6 else socket.AF_INET):
        raise Undelivered(f"{text} is the appliance itself", final=True)


def _is_own(address: str, family: socket.AddressFamily) -> bool:
    """Say whether an address is ours: whoever can bind to it, has it."""
    with socket.socket(family, socket.SOCK_DGRAM) as wire:
        try:
            wire.bind((address, 0))
        except OSError:
            return False
        return True


def secret(folder: Path, name: str) -> bytes:
    """Return the contents of a file of secrets. Raises Undelivered where it is missing or empty."""
    try:
        content = (folder / name).read_bytes().strip()
    except OSError as error:
        raise Undelivered(f"{folder / name}: {error.strerror}") from error
    if not content:
        raise Undelivered(f"{folder / name} is empty")
    return content
