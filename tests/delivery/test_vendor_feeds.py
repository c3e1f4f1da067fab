"""vendor-feed over the network: a server with TLS, a real proxy, and everything a server may do instead."""

import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext

import pytest

from netguard.adapters.fetching import Way, fetch
from netguard.cli import main
from netguard.errors import NetguardError, UsageError

LIST = b"3.7.35.0/25\n3.21.137.128/25\n"


class Vendor(BaseHTTPRequestHandler):
    """Answers each path with what its name says."""

    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", self.server.elsewhere)
            self.end_headers()
            return
        if self.path == "/slow":
            self.server.let_go.wait(30)
        body = {"/large": b"1.1.1.0/24\n" * 1_000_000, "/empty": b""}.get(self.path, LIST)
        self.send_response(503 if self.path == "/down" else 200)
        self.send_header("Content-Length", str(len(body) + (self.path == "/cut")))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def vendor(certificate):
    """A plain and a TLS server on loopback."""
    servers = []
    for secure in (False, True):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Vendor)
        server.asked, server.let_go, server.daemon_threads = [], threading.Event(), True
        if secure:
            context = SSLContext(PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate / "good.crt", certificate / "good.key")
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
    plain, tls = servers
    tls.elsewhere = f"http://127.0.0.1:{plain.server_port}/list"
    plain.elsewhere = f"http://127.0.0.1:{plain.server_port}/away"
    yield plain, tls
    for server in servers:
        server.let_go.set()
        server.shutdown()
        server.server_close()


def at(server, path):
    scheme = "https" if hasattr(server.socket, "context") else "http"
    return f"{scheme}://127.0.0.1:{server.server_port}{path}"


def test_a_list_comes_over_tls_that_is_checked(vendor, certificate):
    _, tls = vendor
    assert fetch(at(tls, "/list"), Way(authorities=certificate / "good.crt"), 1000) == LIST
    with pytest.raises(NetguardError, match="CERTIFICATE_VERIFY_FAILED"):
        fetch(at(tls, "/list"), Way(), 1000)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/down", "answers 503"),
        ("/large", "longer than 1,000 bytes"),
        ("/cut", "payload is not completed"),
        ("/away", "leads on more than 3 times"),
        ("/slow", "no answer within 0.5 s"),
    ],
)
def test_what_a_server_does_instead_is_said(vendor, path, said):
    plain, _ = vendor
    with pytest.raises(NetguardError, match=said):
        fetch(at(plain, path), Way(timeout=0.5 if path == "/slow" else 20), 1000)


def test_tls_is_not_left_on_the_way(vendor, certificate):
    _, tls = vendor
    with pytest.raises(NetguardError, match="without TLS"):
        fetch(at(tls, "/away"), Way(authorities=certificate / "good.crt"), 1000)


@pytest.mark.parametrize("url", ["ftp://x/y", "https://", "file:///etc/passwd"])
def test_only_urls_of_the_web_are_fetched(url):
    with pytest.raises(UsageError, match="is not a URL"):
        fetch(url, Way(), 1000)


def test_a_proxy_is_asked_where_it_is_named_and_only_there(vendor, tinyproxy, monkeypatch):
    plain, _ = vendor
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, tinyproxy.url)
    assert fetch(at(plain, "/list"), Way(), 1000) == LIST
    assert "GET" not in tinyproxy.log.read_text()
    assert fetch(at(plain, "/list"), Way(proxy=tinyproxy.url), 1000) == LIST
    assert "/list" in tinyproxy.log.read_text()


def test_a_feed_that_fails_leaves_the_last_good_one(vendor, tmp_path, capsys):
    plain, _ = vendor
    folder = tmp_path / "rules"
    shutil.copytree(Path(__file__).parents[1] / "bad" / "base", folder)
    words = ["vendor-feed", "update", "lists", str(folder), "--today", "2026-11-29"]
    assert main([*words, "--from", f"all={at(plain, '/list')}"]) == 0
    file = folder / "services" / "feeds" / "lists.yaml"
    good = file.read_bytes()
    for path in ("/down", "/large", "/empty", "/cut"):
        capsys.readouterr()
        assert main([*words, "--from", f"all={at(plain, path)}"]) == 1
        assert "lists.yaml of 2026-11-29 stays as it is" in capsys.readouterr().err
        assert file.read_bytes() == good
    assert main([*words, "--from", f"all={at(plain, '/list')}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["changes"] == []
