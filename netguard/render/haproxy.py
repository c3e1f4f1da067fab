"""A Plan as HAProxy's configuration: whose hello may carry which server name (core/sni.py).

A frontend for each group that has a service of `sni: strict`. The kernel turns the group's flows to
its port; HAProxy waits for the hello, compares its name, and connects to where the tablet wanted to.
What is refused goes to guard as one line. Format: HAProxy 2.6, configuration manual.
"""

from collections.abc import Iterator

from netguard.core import sni
from netguard.core.names import Domain
from netguard.core.plan import Plan

# A hello comes at once or not at all; nobody keeps a connection open with half of one.
PATIENCE = "5s"
# Chat keeps its connection for hours and says something now and then.
IDLE = "2h"
# Whoever is silent is asked so often whether it is still there: the connection of a tablet that went, or
# whose service was withdrawn, ends at both sides instead of waiting for the time above.
ALIVE = "2m"
MASTER, LOG, CONFIGURATION = "master.sock", "log.sock", "haproxy.cfg"


def configuration(plan: Plan, folder: str) -> str:
    """Return haproxy.cfg; `folder` holds it, the log's socket, and the socket for reloads."""
    return "\n".join(_lines(plan, folder)) + "\n"


def _lines(plan: Plan, folder: str) -> Iterator[str]:
    yield "# Made by netguard apply."
    yield "global"
    # Two a connection: as many as the unit may open, and not more than a node of 10,000 needs.
    yield "  fd-hard-limit 50000"
    # After a reload the old process keeps what is open, for as long as a shift.
    yield "  hard-stop-after 12h"
    # The length is what a name and two addresses take.
    yield f"  log {folder}/{LOG} len 512 format raw local0"
    yield "defaults"
    yield "  mode tcp"
    yield "  log global"
    yield "  option dontlognull"
    yield "  option dontlog-normal"
    yield '  log-format "%ci %fi %fp %ts %{+Q}[capture.req.hdr(0)]"'
    yield f"  timeout connect {PATIENCE}"
    yield f"  timeout client {IDLE}"
    yield f"  timeout server {IDLE}"
    yield "  option clitcpka"
    yield f"  clitcpka-idle {ALIVE}"
    # HAProxy does not start without a listener: this one is there also when no service is strict.
    yield "frontend alive"
    yield f"  bind unix@{folder}/alive.sock mode 600"
    yield "  tcp-request connection reject"
    for group, port in sorted(sni.ports(plan).items()):
        yield f"frontend {group}"
        yield f"  bind 0.0.0.0:{port} name {group}"
        yield f"  tcp-request inspect-delay {PATIENCE}"
        yield "  tcp-request content capture req.ssl_sni len 255"
        yield "  tcp-request content reject if !{ req.ssl_hello_type 1 }"
        yield from _acl("never", plan.never_domains)
        yield from _acl("listed", sni.names(plan, group))
        yield "  tcp-request content reject unless { req.ssl_sni -m found }"
        if plan.never_domains:
            yield "  tcp-request content reject if never"
        yield "  tcp-request content reject unless listed"
        yield "  tcp-request content accept"
        yield "  default_backend origin"
    yield "backend origin"
    # 0.0.0.0 is where the client wanted to, before the kernel turned it to us (SO_ORIGINAL_DST).
    yield "  server origin 0.0.0.0:0"


def _acl(name: str, domains: tuple[Domain, ...]) -> Iterator[str]:
    for domain in domains:
        how, word = ("end", f".{domain.name}") if domain.wildcard else ("str", domain.name)
        yield f"  acl {name} req.ssl_sni -i -m {how} {word}"
