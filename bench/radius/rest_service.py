"""The peer behind rlm_rest: an aiohttp service that looks a MAC up in a dictionary."""

import sys

from aiohttp import web

REPLY = {
    "control:Auth-Type": "Accept",
    "reply:Tunnel-Type": "VLAN",
    "reply:Tunnel-Medium-Type": "IEEE-802",
    "reply:Tunnel-Private-Group-Id": "640",
    "reply:Acct-Interim-Interval": "300",
}


def main() -> None:
    port, macs = int(sys.argv[1]), int(sys.argv[2])
    known = {
        bytes((0x3C, 0x28, 0x6D, *number.to_bytes(3, "big"))).hex(): REPLY for number in range(macs)
    }

    async def authorize(request: web.Request) -> web.Response:
        found = known.get(request.match_info["mac"])
        return web.json_response(found) if found else web.Response(status=404)

    app = web.Application()
    app.router.add_get("/authorize/{mac}", authorize)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


if __name__ == "__main__":
    main()
