"""watch's listener: /metrics, /healthz, /readyz, and nothing else yet.

Plain HTTP on loopback, and webhooks of controllers where the settings say so. Headers and bodies are
bounded by aiohttp, and so are slow headers; slow bodies and the number of connections by us.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

Ready = Callable[[], Awaitable[list[str]]]
# Name, body and headers by lower-case name to an HTTP status.
Take = Callable[[str, bytes, Mapping[str, str]], int]
# Seconds for the headers of a request, again for its body, and between two requests.
PATIENCE = 5
# Connections of one listener; a process may have 1,024 files open, and the store is one of them.
MOST_CONNECTIONS = 200
_SERVER = "netguard"


async def serve(
    registry: CollectorRegistry,
    refresh: Callable[[], Awaitable[None]],
    ready: Ready,
    where: socket.socket | tuple[str, int],
) -> web.AppRunner:
    """Serve until the runner is cleaned up; `ready` returns what is missing, empty when all is well."""

    async def metrics(request: web.Request) -> web.Response:
        await refresh()
        return web.Response(
            body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    async def healthz(request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(request: web.Request) -> web.Response:
        missing = await ready()
        body = {"status": "ready" if not missing else "not ready", "missing": missing}
        return web.json_response(body, status=503 if missing else 200)

    app = web.Application(client_max_size=64 * 1024)
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.on_response_prepare.append(_no_server_header)
    return await _started(app, where)


async def serve_webhooks(where: tuple[str, int], take: Take) -> web.AppRunner:
    """Serve POST /webhook/NAME until the runner is cleaned up; `take` returns the status."""

    async def hook(request: web.Request) -> web.Response:
        if request.content_type != "application/json":
            return web.Response(status=415)
        try:
            async with asyncio.timeout(PATIENCE):
                body = await request.read()
        except TimeoutError:
            late = web.Response(status=408)
            late.force_close()
            return late
        headers = {key.lower(): value for key, value in request.headers.items()}
        return web.Response(status=take(request.match_info["name"], body, headers))

    # A body that is longer is answered with 413 before it is read whole.
    app = web.Application(client_max_size=64 * 1024)
    app.router.add_post("/webhook/{name:[a-z0-9-]{1,31}}", hook)
    app.on_response_prepare.append(_no_server_header)
    return await _started(app, where)


async def _started(app: web.Application, where: socket.socket | tuple[str, int]) -> web.AppRunner:
    runner = web.AppRunner(app)
    await runner.setup()
    await _Site(runner, where).start()
    return runner


class _Site(web.BaseSite):
    """A listener that closes at once what comes while it has its fill of connections."""

    def __init__(self, runner: web.AppRunner, where: socket.socket | tuple[str, int]) -> None:
        super().__init__(runner)
        self._where = where

    @property
    def name(self) -> str:
        return str(self._where)

    async def start(self) -> None:
        await super().start()
        loop = asyncio.get_running_loop()
        if isinstance(self._where, socket.socket):
            self._server = await loop.create_server(self._admit, sock=self._where)
        else:
            self._server = await loop.create_server(self._admit, *self._where)

    def _admit(self) -> asyncio.BaseProtocol:
        server = self._runner.server
        assert server is not None  # noqa: S101  # for the type checker: it is set up
        if len(server.connections) >= MOST_CONNECTIONS:
            return _Full()
        loop = asyncio.get_running_loop()
        # The time between two requests is also what aiohttp gives to the headers of one.
        return _Handler(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # its own runners hand over None as well
            keepalive_timeout=PATIENCE,
            lingering_time=2,
        )


class _Handler(web.RequestHandler):
    """What aiohttp does with a connection; what is no request gets neither its words nor its version."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status >= 500:
            # A fault of ours is logged there.
            answer = super().handle_error(request, status, exc, message)
        else:
            answer = web.Response(status=status)
            answer.force_close()
        answer.headers["Server"] = _SERVER
        return answer


class _Full(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # for the type checker
        transport.abort()


async def _no_server_header(request: web.Request, response: web.StreamResponse) -> None:
    # It would tell a scanner which versions run here.
    response.headers["Server"] = _SERVER
