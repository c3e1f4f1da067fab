"""watch's listener: /metrics, /healthz, /readyz, and nothing else yet.

Plain HTTP on loopback; headers and bodies are bounded by aiohttp, slow ones by a timeout of ours.
"""

import socket
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

Ready = Callable[[], Awaitable[list[str]]]
# Name, body and headers by lower-case name to an HTTP status.
Take = Callable[[str, bytes, Mapping[str, str]], int]


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
    # 5 s: a peer that sends its request byte by byte must not hold a connection.
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=5, lingering_time=2)
    await runner.setup()
    if isinstance(where, socket.socket):
        await web.SockSite(runner, where).start()
    else:
        await web.TCPSite(runner, *where).start()
    return runner


async def serve_webhooks(where: tuple[str, int], take: Take) -> web.AppRunner:
    """Serve POST /webhook/NAME until the runner is cleaned up; `take` returns the status."""

    async def hook(request: web.Request) -> web.Response:
        if request.content_type != "application/json":
            return web.Response(status=415)
        body = await request.read()
        headers = {key.lower(): value for key, value in request.headers.items()}
        return web.Response(status=take(request.match_info["name"], body, headers))

    # A body that is longer is answered with 413 before it is read whole.
    app = web.Application(client_max_size=64 * 1024)
    app.router.add_post("/webhook/{name:[a-z0-9-]{1,31}}", hook)
    app.on_response_prepare.append(_no_server_header)
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=5, lingering_time=2)
    await runner.setup()
    await web.TCPSite(runner, *where).start()
    return runner


async def _no_server_header(request: web.Request, response: web.StreamResponse) -> None:
    # It would tell a scanner which versions run here.
    response.headers.pop("Server", None)
    response.headers["Server"] = "netguard"
