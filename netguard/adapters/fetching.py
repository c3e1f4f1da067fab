"""Fetch one small file of somebody else's: a proxy when asked for, a limit of time, of bytes, of redirects."""

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from netguard.errors import NetguardError, UsageError

CHUNK = 64 * 1024
REDIRECTS = 3


@dataclass(frozen=True, slots=True)
class Way:
    """How to get there: `proxy` an http:// URL or none, `timeout` seconds in all, `authorities` a PEM file or the system's."""

    proxy: str | None = None
    timeout: float = 30.0
    authorities: Path | None = None


def fetch(url: str, way: Way, limit: int) -> bytes:
    """Return what a URL holds, `limit` bytes at most.

    Raises NetguardError with what failed; UsageError for a URL that is none. A redirect from https
    to http is refused. Nothing is read from the environment.
    """
    return asyncio.run(_fetch(url, way, limit))


async def _fetch(url: str, way: Way, limit: int) -> bytes:
    if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
        raise UsageError(f"'{url}' is not a URL, write https://HOST/PATH")
    try:
        connector = aiohttp.TCPConnector(ssl=_tls(way))
        async with (
            aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=way.timeout),
                headers={"User-Agent": "netguard"},
            ) as session,
            session.get(url, proxy=way.proxy, max_redirects=REDIRECTS) as answer,
        ):
            if urlsplit(url).scheme == "https" and answer.url.scheme != "https":
                raise NetguardError(f"{url}: leads to {answer.url}, without TLS")
            if answer.status != 200:
                raise NetguardError(
                    f"{url}: answers {answer.status} {answer.reason or ''}".rstrip()
                )
            return await _read(answer, url, limit)
    except TimeoutError as error:
        raise NetguardError(f"{url}: no answer within {way.timeout:g} s") from error
    except aiohttp.TooManyRedirects as error:
        raise NetguardError(f"{url}: leads on more than {REDIRECTS} times") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise NetguardError(f"{url}: {str(error) or type(error).__name__}") from error


async def _read(answer: aiohttp.ClientResponse, url: str, limit: int) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_chunked(CHUNK):
        body += chunk
        if len(body) > limit:
            raise NetguardError(f"{url}: longer than {limit:,} bytes")
    return bytes(body)


def _tls(way: Way) -> ssl.SSLContext:
    context = ssl.create_default_context(
        cafile=str(way.authorities) if way.authorities is not None else None
    )
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
