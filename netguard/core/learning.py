"""What a tablet may resolve, and which of the addresses in an answer may be learned.

Pure: the proxy (daemon/dns.py) asks here before it asks anybody, and again before an address goes
into the kernel. The address filter unwraps IPv4 that hides in IPv6 first and then denies by list:
`ipaddress.is_global` calls 2002:a0a:5::1 and 224.0.0.251 global, dnsmasq's rebind protection lets
both pass.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from netguard.core.intervals import AddressSet
from netguard.core.names import Address, Domain, Network, Upstream, parse_network
from netguard.core.policy import Learned

# IANA special-purpose registries (RFC 6890 and its updates): never a public service.
SPECIAL4 = tuple(
    parse_network(text)
    for text in [
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    ]
)
_SPECIAL = AddressSet(SPECIAL4)
GLOBAL6 = IPv6Network("2000::/3")
# 2001::/23 is for protocols (Teredo among them), 6to4 is retired (RFC 7526).
SPECIAL6 = tuple(
    parse_network(text)
    for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16")
)
_SPECIAL6 = AddressSet(SPECIAL6)


def may_be_special(network: Network) -> bool:
    """Say whether any address of a network is one that an answer may not have without an exception."""
    if isinstance(network, IPv6Network):
        return not network.subnet_of(GLOBAL6) or _SPECIAL6.meeting(network) is not None
    return _SPECIAL.meeting(network) is not None


_MAPPED = IPv6Network("::ffff:0:0/96")
_COMPATIBLE = IPv6Network("::/96")
_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_SIX_TO_FOUR = IPv6Network("2002::/16")
_TEREDO = IPv6Network("2001::/32")
# IPv4-translated addresses (RFC 2765 2.1) and the interface id of ISATAP (RFC 5214 6.1).
_TRANSLATED = IPv6Network("::ffff:0:0:0/96")
_ISATAP = (0x00005EFE, 0x02005EFE)

CANARIES = {
    "firefox-doh": ("use-application-dns.net",),
    "icloud-private-relay": ("mask.icloud.com", "mask-h2.icloud.com"),
    "ddr": ("_dns.resolver.arpa", "resolver.arpa"),
}


# Names that devices take their time from; `*.pool.ntp.org` covers the vendors' zones of the pool.
TIME_NAMES = (
    "pool.ntp.org",
    "*.pool.ntp.org",
    "time.android.com",
    "time.google.com",
    "time1.google.com",
    "time2.google.com",
    "time3.google.com",
    "time4.google.com",
    "time.apple.com",
    "time-ios.apple.com",
    "time-macos.apple.com",
    "time.euro.apple.com",
    "time.asia.apple.com",
    "time.windows.com",
    "time.cloudflare.com",
    "time.samsungcloudcn.com",
    "ntp.ubuntu.com",
)


@dataclass(frozen=True, slots=True)
class NameRules:
    """The names of one node as the proxy needs them, derived from a Plan."""

    domains: dict[str, tuple[Domain, ...]]
    allow_private: dict[str, AddressSet]
    group_services: dict[str, tuple[str, ...]]
    never: tuple[Domain, ...]
    canaries: frozenset[str]
    protected: AddressSet
    own: AddressSet

    def may_open(self, service: str, name: str) -> bool:
        """Say whether a name is one of a service's and not one of those never resolved."""
        return not self.banned(name) and any(
            domain.covers(name) for domain in self.domains.get(service, ())
        )

    def banned(self, name: str) -> Domain | None:
        """Return the entry of never.domains that covers a name."""
        return next((ban for ban in self.never if ban.covers(name)), None)

    def services_for(self, group: str, name: str) -> tuple[str, ...]:
        """Return the services of a group that list a name: empty means the name is denied.

        Only the name that was asked counts, never the target of a CNAME.
        """
        if any(ban.covers(name) for ban in self.never):
            return ()
        return tuple(
            service
            for service in self.group_services.get(group, ())
            if any(domain.covers(name) for domain in self.domains.get(service, ()))
        )

    def is_canary(self, name: str) -> bool:
        """Say whether a name asks if encrypted DNS may be used (the answer is: no)."""
        return name in self.canaries

    def refusal(self, services: Iterable[str], address: Address) -> str:
        """Return why an address must not be learned for these services, or an empty text."""
        inner = [address, *embedded(address)]
        for each in inner:
            if self.protected.covering(each):
                return "protected"
            if self.own.covering(each):
                return "own"
        if all(self._exempt(service, address) for service in services):
            return ""
        return next((reason for each in inner if (reason := special(each))), "")

    def _exempt(self, service: str, address: Address) -> bool:
        allowed = self.allow_private.get(service)
        return allowed is not None and allowed.covering(address) is not None


def special(address: Address) -> str:
    """Return why an address is no public unicast address, or an empty text."""
    if isinstance(address, IPv4Address):
        return "special" if _SPECIAL.covering(address) else ""
    if address not in GLOBAL6 or _SPECIAL6.covering(address):
        return "special"
    return ""


def embedded(address: Address) -> tuple[IPv4Address, ...]:
    """Return the IPv4 addresses that an IPv6 address carries, in every form that is in use.

    IPv4-mapped and -compatible (RFC 4291 2.5.5), translated (RFC 2765), ISATAP (RFC 5214), NAT64
    (RFC 6052, RFC 8215), 6to4 (RFC 3056), Teredo (RFC 4380 4: server, and client with its bits
    inverted).
    """
    if not isinstance(address, IPv6Address):
        return ()
    value = int(address)
    low = IPv4Address(value & 0xFFFFFFFF)
    if address in _NAT64[1]:
        # RFC 6052 2.2: in a /48 the address is around the byte that must be zero; others write /96.
        return low, IPv4Address((value >> 64 & 0xFFFF) << 16 | value >> 40 & 0xFFFF)
    if any(address in n for n in (_MAPPED, _COMPATIBLE, _TRANSLATED, _NAT64[0])):
        return (low,)
    if value >> 32 & 0xFFFFFFFF in _ISATAP:
        return (low,)
    if address in _SIX_TO_FOUR:
        return (IPv4Address(value >> 80 & 0xFFFFFFFF),)
    if address in _TEREDO:
        return IPv4Address(value >> 64 & 0xFFFFFFFF), IPv4Address(~value & 0xFFFFFFFF)
    return ()


def lifetime(learned: Learned, ttl: int) -> timedelta:
    """Return how long an element lives: the TTL inside its bounds, plus grace.

    Always longer than the answer's own TTL (`reply_ttl`), and never 0: a timeout of 0 is for ever
    in nftables.
    """
    span = max(learned.ttl_floor, min(timedelta(seconds=ttl), learned.ttl_ceiling))
    return span + max(learned.grace, timedelta(seconds=1))


def reply_ttl(learned: Learned, ttl: int) -> int:
    """Return the TTL that the tablet sees: short enough that it asks again in time."""
    ceiling = min(learned.reply_ttl_ceiling, learned.ttl_ceiling)
    return max(0, min(ttl, int(ceiling.total_seconds())))


def canary_names(canaries: Iterable[str]) -> frozenset[str]:
    """Return the names of the chosen canaries."""
    return frozenset(name for canary in canaries for name in CANARIES[canary])


@dataclass(frozen=True, slots=True)
class Client:
    """A tablet as the proxy sees it: who it is, and its gateways, which answer its time names."""

    tablet: str
    group: str
    gateways: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class Book:
    """Everything the name proxy of one node goes by; made by render/names.py."""

    plan: str
    listen: tuple[str, ...]
    upstream: tuple[Upstream, ...]
    refuse_with_nxdomain: bool
    letter_case: bool
    cache: bool
    # Questions a second and tablet; ten seconds of it may come at once.
    query_rate: float
    time_names: tuple[Domain, ...]
    # Groups with a service that is `local: ntp`.
    timed: frozenset[str]
    clients: dict[str, Client]
    learned: Learned
    rules: NameRules
