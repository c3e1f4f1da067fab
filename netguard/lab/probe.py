"""What a tablet tries: connect, send a datagram, ask for a name, fetch a page. One JSON object out, in bounded time.

    python -m netguard.lab.probe tcp zoom.us 443
    python -m netguard.lab.probe udp 170.114.10.7 8801
    python -m netguard.lab.probe ntp time.android.com
    python -m netguard.lab.probe dns zoom.us --server 8.8.8.8 --type AAAA
    python -m netguard.lab.probe http www.example.org

Names are asked of the resolver that DHCP gave, by a question of our own: no cache and no hosts file of
this machine has a say. Exit code 0 when it worked, 1 when not.
"""

import argparse
import errno
import json
import os
import socket
import struct
import sys
from ipaddress import ip_address
from pathlib import Path
from time import monotonic
from typing import Any

from netguard.core import dnswire
from netguard.core.dnswire import Malformed, Question
from netguard.lab.dnsload import hello

RESOLV = Path("/etc/resolv.conf")
RCODES = {0: "noerror", 1: "formerr", 2: "servfail", 3: "nxdomain", 4: "notimp", 5: "refused"}
TYPES = {"A": 1, "AAAA": 28, "HTTPS": 65, "TXT": 16}
# What the kernel reports when something on the way says no, by the words we use for it.
REFUSALS = {
    errno.ECONNREFUSED: "refused",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.EACCES: "prohibited",
    errno.ECONNRESET: "reset",
}

Result = dict[str, Any]


def resolver() -> str:
    """Return the first name server of resolv.conf."""
    for line in RESOLV.read_text().splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            return words[1]
    raise OSError(errno.ENOENT, f"no name server in {RESOLV}")


def dns(name: str, server: str, kind: str, timeout: float, *, tcp: bool = False) -> Result:
    """Ask for one name."""
    raw = dnswire.write_name(name.rstrip(".")) + struct.pack("!HH", TYPES[kind], 1)
    number = int.from_bytes(os.urandom(2))
    question = Question(number, 0x0100, name.rstrip(".").lower(), TYPES[kind], 1, raw, None)
    asked = dnswire.ask(number.to_bytes(2, "big"), question)
    result: Result = {"name": name, "server": server, "type": kind}
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as one:
        one.settimeout(timeout)
        one.connect((server, 53))
        if tcp:
            one.sendall(struct.pack("!H", len(asked)) + asked)
            length = struct.unpack("!H", _exactly(one, 2))[0]
            data = _exactly(one, length)
        else:
            one.send(asked)
            data = one.recv(4096)
    if len(data) < 12 or data[:2] != asked[:2]:
        return {**result, "ok": False, "outcome": "garbage", "addresses": []}
    rcode = data[3] & 0xF
    try:
        addresses = [str(address) for address in dnswire.parse_answer(data, question).addresses]
    except Malformed as error:
        return {**result, "ok": False, "outcome": f"malformed: {error.reason}", "addresses": []}
    outcome = RCODES.get(rcode, str(rcode)) if rcode or addresses else "empty"
    return {**result, "ok": bool(addresses), "outcome": outcome, "addresses": addresses}


def tcp(address: str, port: int, timeout: float, tls_name: str | None = None) -> Result:
    """Open a connection and read the line that a server of the lab sends; say hello, if need be in TLS."""
    first = b"hello\n" if tls_name is None else hello(tls_name)
    with socket.create_connection((address, port), timeout=timeout) as connection:
        connection.sendall(first)
        said = connection.recv(200)
    return {"ok": bool(said), "outcome": "open", "said": said.decode(errors="replace").strip()}


def udp(address: str, port: int, timeout: float) -> Result:
    """Send a datagram and wait for it to come back."""
    family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
    sent = os.urandom(16)
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        one.settimeout(timeout)
        one.connect((address, port))
        one.send(sent)
        back = one.recv(2048)
    return {"ok": back == sent, "outcome": "open" if back == sent else "garbage"}


def ntp(address: str, timeout: float) -> Result:
    """Ask for the time (RFC 5905: client mode, version 4); a server without one says stratum 0."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(timeout)
        one.connect((address, 123))
        one.send(b"\x23" + bytes(47))
        back = one.recv(512)
    stratum = back[1] if len(back) >= 48 and back[0] & 7 == 4 else 0
    return {"ok": 0 < stratum < 16, "outcome": f"stratum {stratum}"}


def http(address: str, port: int, name: str, timeout: float) -> Result:
    """Fetch a page."""
    with socket.create_connection((address, port), timeout=timeout) as connection:
        connection.sendall(f"GET / HTTP/1.0\r\nHost: {name}\r\n\r\n".encode())
        said = connection.recv(2000).decode(errors="replace")
    status = said.split("\r\n", 1)[0]
    return {"ok": " 200 " in status, "outcome": "open", "said": status}


def run(words: argparse.Namespace) -> Result:
    """Do one probe; every way it can fail is an outcome."""
    start = monotonic()
    result: Result = {"probe": words.probe, "target": words.target}
    try:
        result |= _probed(words)
    except TimeoutError:
        result |= {"ok": False, "outcome": "timeout"}
    except OSError as error:
        code = error.errno or 0
        result |= {"ok": False, "outcome": REFUSALS.get(code, error.strerror or repr(error))}
    result["ms"] = round((monotonic() - start) * 1000, 1)
    return result


def _probed(words: argparse.Namespace) -> Result:
    if words.probe == "dns":
        server = words.server or resolver()
        return dns(words.target, server, words.type, words.timeout, tcp=words.tcp)
    address, found = _address(words)
    if address is None:
        return found
    if words.probe == "ntp":
        return {"address": address, **ntp(address, words.timeout)}
    port = words.port or 80
    if words.probe == "http":
        return {"address": address, **http(address, port, words.target, words.timeout)}
    if words.probe == "udp":
        return {"address": address, "port": port, **udp(address, port, words.timeout)}
    said = tcp(address, port, words.timeout, words.tls_name)
    return {"address": address, "port": port, **said}


def _address(words: argparse.Namespace) -> tuple[str | None, Result]:
    try:
        return str(ip_address(words.target)), {}
    except ValueError:
        asked = dns(words.target, resolver(), "A", words.timeout)
    if not asked["addresses"]:
        return None, {"ok": False, "outcome": f"no address: {asked['outcome']}"}
    return asked["addresses"][0], {}


def _exactly(one: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = one.recv(count - len(data))
        if not more:
            raise ConnectionResetError(errno.ECONNRESET, "closed early")
        data += more
    return data


def main() -> int:
    """Run one probe and print it."""
    parser = argparse.ArgumentParser(description="what a tablet tries")
    parser.add_argument("probe", choices=["tcp", "udp", "dns", "ntp", "http"])
    parser.add_argument("target", help="name or address")
    parser.add_argument("port", nargs="?", type=int)
    parser.add_argument("--timeout", type=float, default=2.0)
    parser.add_argument("--server", default="", help="ask this resolver")
    parser.add_argument("--type", choices=sorted(TYPES), default="A")
    parser.add_argument("--tcp", action="store_true", help="ask over TCP")
    parser.add_argument("--tls-name", help="begin with a TLS hello to this server, '' for no name")
    words = parser.parse_args()
    if words.probe in {"tcp", "udp"} and words.port is None:
        parser.error("tcp and udp need a port")
    result = run(words)
    sys.stdout.write(json.dumps(result) + "\n")
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
