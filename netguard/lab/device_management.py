"""A stand-in for a device management: it takes signed orders about tablets, and writes down what it was asked for.

Debian has none to install. It keeps to what a receiver has to do (rules/README.md, Standard Webhooks): an order
without the right signature, or minutes old, is refused with 401.
"""

import argparse
import base64
import hmac
import http.server
import json
import os
import secrets
import shutil
import signal
from hashlib import sha256
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Self

from netguard.adapters import clock
from netguard.errors import NetguardError
from netguard.lab import jail, users, world
from netguard.lab.hospital import Hospital

PORT = 8080
ACTIONS = ("lost-mode", "locate")
# Seconds that an order may be old; bytes it may be long; seconds until what should happen has not.
_OLDEST, _LONGEST, _PATIENCE = 300.0, 1 << 20, 60.0
_RULE = (
    "  mdm: {when: {presence: missing, cause: taken}, above: 0.5, severity: critical, to: [mdm]}\n"
)
# Prints what somebody gets who does not know the key.
_FORGED = f"""
import http.client
wire = http.client.HTTPConnection("{world.ALERTMANAGER}", {PORT}, timeout=10)
wire.request("POST", "/orders", b'{{"alerts": []}}')
print(wire.getresponse().status)
"""


class DeviceManagement:
    """One that hears of the lab's thefts, by a copy of the rules, for as long as it is entered."""

    def __init__(self, lab: Hospital) -> None:
        self._lab = lab
        self._folder = lab.settings.parent / "mdm"
        self._key = lab.settings.parent / "watch-secrets" / "mdm-key"
        self._running: jail.Identity | None = None

    def __enter__(self) -> Self:
        self._folder.mkdir(mode=0o755)
        key = secrets.token_urlsafe(24)
        for path, group in ((self._key, users.WATCH), (self._folder / "key", "nogroup")):
            path.touch(0o640)
            shutil.chown(path, "root", group)
            path.write_text(f"{key}\n")
        (self._folder / "orders").touch()
        shutil.chown(self._folder / "orders", "nobody", "nogroup")
        layout = self._lab.layout
        argv = jail.module(layout, __name__, str(self._folder), f"{world.ALERTMANAGER}:{PORT}")
        program = jail.Program("mdm", "core", argv, "nobody", "nogroup")
        self._running = jail.spawn(layout, self._lab.record.token, program)
        rules = self._lab.other_rules()
        alerts = rules / "alerts.yaml"
        channel = f'webhook: "http://{world.ALERTMANAGER}:{PORT}/orders", sign-with: mdm-key'
        receiver = f"  mdm: {{{channel}, actions: [{', '.join(ACTIONS)}]}}\n"
        text = alerts.read_text().replace("\nalerts:\n", f"\nalerts:\n{_RULE}", 1)
        alerts.write_text(f"{text.rstrip()}\n{receiver}")
        self._lab.apply(rules)
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._lab.apply()
        if self._running is not None:
            jail.send(self._lab.record.token, self._running.pid, signal.SIGTERM)
        shutil.rmtree(self._folder)
        self._key.unlink()

    def asked(self, tablet: str, phase: str) -> str:
        """Wait for the order about a tablet, begin or end; say what was in it, and what a forger gets."""
        end = monotonic() + _PATIENCE
        while not (found := self._orders(tablet, phase)):
            if monotonic() > end:
                raise NetguardError(f"no order about {tablet} came within {_PATIENCE:.0f} s")
            sleep(0.2)
        order = found[0]
        python = jail.python(self._lab.layout)
        forged = self._lab.exec("core", [python, "-c", _FORGED]).stdout.strip()
        if forged != "401":
            raise NetguardError(f"an order without a signature gets {forged}")
        device = order["device"]
        return (
            f"{phase} {' and '.join(order['actions'])} of {tablet} ({device['serial']}), signed; "
            f"an unsigned order gets {forged}"
        )

    def _orders(self, tablet: str, phase: str) -> list[dict[str, Any]]:
        lines = (self._folder / "orders").read_text().splitlines()
        orders = [json.loads(line) for line in lines]
        return [o for o in orders if (o["device"]["tablet"], o["phase"]) == (tablet, phase)]


def main() -> None:
    """Listen until it is ended."""
    parser = argparse.ArgumentParser(description="a device management that writes down its orders")
    parser.add_argument("folder", type=Path, help="holds `key`, gets `orders`")
    parser.add_argument("listen", help="ADDRESS:PORT")
    words = parser.parse_args()
    key = (words.folder / "key").read_text().strip().encode()
    orders = os.open(words.folder / "orders", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = 10

        def do_POST(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = self.rfile.read(min(length, _LONGEST))
            if not _is_signed(key, self.headers, body):
                self.send_error(401)
                return
            for alert in json.loads(body)["alerts"]:
                os.write(orders, (json.dumps(alert["netguard"]) + "\n").encode())
            self.send_response(204)
            self.end_headers()

    address, _, port = words.listen.rpartition(":")
    http.server.ThreadingHTTPServer((address, int(port)), Handler).serve_forever()


def _is_signed(key: bytes, headers: Any, body: bytes) -> bool:  # noqa: ANN401  # http.client.HTTPMessage
    id_, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not at.isdecimal() or abs(clock.now().timestamp() - int(at)) > _OLDEST:
        return False
    digest = hmac.new(key, f"{id_}.{at}.".encode() + body, sha256).digest()
    wanted = "v1," + base64.b64encode(digest).decode()
    return hmac.compare_digest(wanted, headers.get("webhook-signature", ""))


if __name__ == "__main__":
    main()
