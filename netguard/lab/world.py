"""What the lab's hospital and Internet consist of: hosts, addresses, names, servers. Data, no code.

The addresses of the tablet side come from the rules; these are the rest of the world. None of the
public ones is ever reached: no namespace of the lab has a way out.
"""

from typing import NamedTuple

TABLETS = ("t1", "t2", "t3")
STRANGER = "stranger"
# A device that is in no inventory; the locally administered bit is clear, so it looks like a real one.
STRANGER_MAC = "3c:28:6d:ff:00:66"
OUTSIDE = ("core", "pacs", "dmz", "inet")
HOSTS = ("gw", "ap", *OUTSIDE, *TABLETS, STRANGER)

UPLINK = ("10.255.0.1/30", "10.255.0.2/30")  # core, gw
NAMESERVER = "198.41.0.4"
OPEN_RESOLVER = "8.8.8.8"
ALERTMANAGER = "10.1.1.30"
PACS = "10.10.0.5"
BRIDGE = "10.60.0.40"
CHAT = "157.240.0.60"
VIDEO = "170.114.52.2"
MEDIA = "170.114.10.7"
UNLISTED = "93.184.215.14"
PRIVATE = "192.168.7.7"


class Link(NamedTuple):
    """A cable from core to a host: core's interface and address, the host's address."""

    host: str
    interface: str
    near: str
    far: str


LINKS = (
    Link("pacs", "pacs0", "10.10.0.1/16", f"{PACS}/16"),
    Link("dmz", "dmz0", "10.60.0.1/24", f"{BRIDGE}/24"),
    Link("inet", "inet0", "192.0.0.1/30", "192.0.0.2/30"),
)


class Listener(NamedTuple):
    """One address and port that answers, on one host."""

    host: str
    address: str
    protocol: str
    port: int


def _listeners(host: str, address: str, *ports: str) -> tuple[Listener, ...]:
    return tuple(
        Listener(host, address, protocol, int(port))
        for protocol, port in (each.split("/") for each in ports)
    )


LISTENERS = (
    *_listeners("pacs", PACS, "tcp/104", "tcp/443", "udp/104"),
    *_listeners("pacs", PRIVATE, "tcp/80", "tcp/443"),
    *_listeners("dmz", BRIDGE, "tcp/443", "udp/10000", "tcp/22"),
    *_listeners("inet", CHAT, "tcp/443", "tcp/5222", "tcp/22"),
    *_listeners("inet", VIDEO, "tcp/443", "tcp/22"),
    *_listeners("inet", MEDIA, "udp/8801", "udp/9999"),
    *_listeners("inet", UNLISTED, "tcp/443", "tcp/80"),
    *_listeners("inet", OPEN_RESOLVER, "tcp/443", "tcp/853"),
)

# Names the rules do not decide about, or whose answers the tests need to know. The rest of the
# catalogue's names get an address each (zones.py).
NAMES: dict[str, tuple[str, ...]] = {
    "web.whatsapp.com": (CHAT,),
    "g.whatsapp.net": (CHAT,),
    "*.whatsapp.net": (CHAT,),
    "*.whatsapp.com": (CHAT,),
    "zoom.us": (VIDEO,),
    "us02web.zoom.us": (VIDEO,),
    "*.zoom.us": (VIDEO,),
    "meet.chu.example": (BRIDGE,),
    "www.example.org": (UNLISTED,),
    "example.org": (UNLISTED,),
    "dns.google": (OPEN_RESOLVER,),
    # What an owner of an allowed domain could answer.
    "rebind-private.zoom.us": (PRIVATE,),
    "rebind-pacs.zoom.us": (PACS,),
    "rebind-mixed.zoom.us": (VIDEO, PACS),
    "rebind-v6.zoom.us": ("::ffff:10.10.0.5",),
}


def midday(hour: int) -> str:
    """Return the time zone in which it is noon when it is this hour in UTC (0 to 23).

    Groups have hours, and a lab has to work at night as well. The sign of these names is that of
    POSIX: Etc/GMT-5 is five hours ahead.
    """
    return f"Etc/GMT{hour - 12:+d}"
