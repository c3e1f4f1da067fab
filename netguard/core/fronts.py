"""What else lives behind the addresses of an allowed name: fronts that many customers share.

A name opens an address, and an address of a content network serves other names on the same ports; no
filter by address can tell them apart. This table makes that visible. It was compiled on 2026-11-22 from
what is commonly known of these owners; `source` is the owner's page to compare a row with, and nobody has
done that yet (not verified). What is not in the table may be shared all the same.
"""

from dataclasses import dataclass

from netguard.core.names import Domain
from netguard.core.plan import Plan


@dataclass(frozen=True, slots=True)
class Front:
    """A suffix of names, whose addresses these are, and who else is behind them."""

    suffix: str
    owner: str
    others: str
    source: str


FRONTS = (
    Front("google.com", "Google", "search, mail, storage and all other Google services", "https://support.google.com/a/answer/10026322"),
    Front("googleapis.com", "Google", "all Google APIs, storage of any customer included", "https://support.google.com/a/answer/10026322"),
    Front("gstatic.com", "Google", "static files of all Google services", "https://support.google.com/a/answer/10026322"),
    Front("googleusercontent.com", "Google", "what any customer or user uploads", "https://support.google.com/a/answer/10026322"),
    Front("cloudfront.net", "Amazon CloudFront", "the sites of every CloudFront customer", "https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/LocationsOfEdgeServers.html"),
    Front("amazonaws.com", "Amazon Web Services", "servers and storage of every customer", "https://docs.aws.amazon.com/vpc/latest/userguide/aws-ip-ranges.html"),
    Front("azureedge.net", "Azure CDN", "the sites of every customer of the CDN", "https://learn.microsoft.com/azure/cdn/cdn-pop-locations"),
    Front("azurefd.net", "Azure Front Door", "the sites of every customer of Front Door", "https://learn.microsoft.com/azure/frontdoor/front-door-overview"),
    Front("office.com", "Microsoft 365", "other Microsoft 365 services on shared fronts", "https://learn.microsoft.com/microsoft-365/enterprise/urls-and-ip-address-ranges"),
    Front("microsoft.com", "Microsoft", "other Microsoft services on shared fronts", "https://learn.microsoft.com/microsoft-365/enterprise/urls-and-ip-address-ranges"),
    Front("akamaized.net", "Akamai", "the sites of every Akamai customer", "https://techdocs.akamai.com/property-mgr/docs"),
    Front("akamaiedge.net", "Akamai", "the sites of every Akamai customer", "https://techdocs.akamai.com/property-mgr/docs"),
    Front("fastly.net", "Fastly", "the sites of every Fastly customer", "https://www.fastly.com/documentation/reference/api/utils/public-ip-list/"),
    Front("cloudflare.net", "Cloudflare", "the sites of every Cloudflare customer", "https://www.cloudflare.com/ips/"),
    Front("facebook.com", "Meta", "Facebook, Instagram and Messenger", "https://developers.facebook.com/docs/sharing/webmasters/web-crawlers"),
    Front("whatsapp.net", "Meta", "other Meta services on shared fronts", "https://developers.facebook.com/docs/whatsapp/on-premises/network-requirements"),
    Front("whatsapp.com", "Meta", "other Meta services on shared fronts", "https://developers.facebook.com/docs/whatsapp/on-premises/network-requirements"),
    Front("apple.com", "Apple", "other Apple services and Akamai customers", "https://support.apple.com/101555"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class Shared:
    """One allowed name on a shared front: for whom it opens which ports, and who else is there.

    `ports` are those on which any name behind the addresses is reached; with `sni: strict` TLS is not
    among them.
    """

    service: str
    domain: str
    groups: tuple[str, ...]
    ports: tuple[str, ...]
    strict: bool
    owner: str
    others: str
    source: str

    def __str__(self) -> str:
        who = ", ".join(self.groups)
        what = f"'{self.domain}' of '{self.service}' opens addresses of {self.owner} to {who}"
        if not self.ports:
            return f"{what} by server name only (sni: strict): nothing else there"
        checked = "; TLS by server name only (sni: strict)" if self.strict else ""
        return f"{what} on {', '.join(self.ports)}: also {self.others}{checked}"


def shared(plan: Plan) -> tuple[Shared, ...]:
    """Return the names of granted services whose addresses serve others, too."""
    groups: dict[str, list[str]] = {}
    for grant in plan.grants:
        groups.setdefault(grant.service, []).append(grant.group)
    found = {
        Shared(
            service.name,
            str(domain),
            tuple(sorted(groups[service.name])),
            tuple(str(p) for p in service.ports if not (service.strict and p.protocol == "tcp")),
            service.strict,
            front.owner,
            front.others,
            front.source,
        )
        for service in plan.services
        if service.name in groups
        for domain in service.domains
        for front in FRONTS
        if _behind(domain, front)
    }
    return tuple(sorted(found))


def newly_shared(before: Plan | None, after: Plan) -> tuple[Shared, ...]:
    """Return what a change of the rules opens on shared fronts: names, groups or ports that are new."""
    known = set(shared(before)) if before is not None else set()
    return tuple(each for each in shared(after) if each not in known)


def _behind(domain: Domain, front: Front) -> bool:
    return domain.name == front.suffix or domain.name.endswith("." + front.suffix)
