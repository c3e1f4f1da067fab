"""The inventory and its addresses: held against sites, groups, clinical equipment and itself."""

from collections.abc import Mapping

from netguard.core.names import Address, suggest_of
from netguard.core.policy import Group, Origin, Site, Tablet
from netguard.rules.documents import Known
from netguard.rules.findings import ERROR, WARNING
from netguard.rules.review import Review
from netguard.rules.sites import reserved

# Who has an address, and where that is written.
Taken = dict[Address, tuple[str, Origin]]


def judge_tablets(review: Review) -> None:
    """Judge each tablet by itself and against the others."""
    documents = review.documents
    seen: dict[tuple[str, object], str] = {}
    for tablet in documents.tablets.values():
        origin = documents.tablet_lines[tablet.id]
        review.origins["tablets", tablet.id] = origin
        for id_, column, value in (
            ("duplicate-mac", "mac", tablet.mac),
            ("duplicate-serial", "serial", tablet.serial or None),
            ("duplicate-address", "address", tablet.address),
        ):
            first = seen.setdefault((id_, value), tablet.id) if value is not None else tablet.id
            if first != tablet.id:
                line = documents.tablet_lines[first].line
                review.cell(origin, id_, column, value, f"already listed at line {line}")
        _references(review, tablet, origin)
        _device(review, tablet, origin)


def judge_addresses(
    review: Review,
    sites: Mapping[str, Site],
    groups: Mapping[str, Group],
    *,
    require_addresses: bool,
) -> None:
    """Judge own and allotted addresses, where sites and groups are beyond doubt themselves.

    Without `require_addresses` nothing is said about allotted.csv: `allot` is about to write it.
    """
    documents = review.documents
    for row, origin in documents.allotted_lines.items():
        review.origins["allotted", *row] = origin
    if not review.sound(documents.sites):
        return
    taken = _gateways(review, sites)
    for tablet in documents.tablets.values():
        if tablet.address is not None:
            origin = documents.tablet_lines[tablet.id]
            _own(review, tablet.address, origin, sites)
            _take(review, taken, tablet.address, tablet.id, origin)
    if require_addresses:
        _rows(review, sites, taken)
    if require_addresses and documents.allotted_whole and review.sound(documents.groups):
        _not_allotted(review, sites, groups)


def _gateways(review: Review, sites: Mapping[str, Site]) -> Taken:
    return {
        gateway: ("the gateway", review.origins["sites", site.name, "gateway"])
        for site in sites.values()
        for gateway in site.gateways
    }


def _rows(review: Review, sites: Mapping[str, Site], taken: Taken) -> None:
    documents = review.documents
    for (name, id_), address in documents.allotted.items():
        origin = documents.allotted_lines[name, id_]
        _allotted(review, name, address, origin, sites)
        # A tablet that is gone keeps its row until the next allot: no fault, and no address.
        if id_ in documents.tablets and name in sites:
            _take(review, taken, address, id_, origin)


def _references(review: Review, tablet: Tablet, origin: Origin) -> None:
    names = review.documents.names
    _known(review, origin, "group", "group", tablet.group, tablet.group, names.groups)
    site, area = tablet.home
    home = f"{site}/{area}"
    if not _known(review, origin, "home", "site", home, site, names.sites):
        return
    _known(review, origin, "home", "area", home, area, names.areas.get(site))


def _known(  # a cell is a column and a value, a name is a kind and a word
    review: Review, origin: Origin, column: str, kind: str, value: str, name: str, known: Known
) -> bool:
    if known is None or name in known:
        return True
    text = f"unknown {kind}{suggest_of(name, known)}"
    review.cell(origin, "unknown-ref", column, value, text)
    return False


def _device(review: Review, tablet: Tablet, origin: Origin) -> None:
    clinical = review.documents.protected_macs.get(tablet.mac)
    if clinical is not None:
        text = f"is clinical equipment, see {clinical}"
        review.cell(origin, "protected-mac", "mac", tablet.mac, text)
    if tablet.mac.is_local:
        text = "this tablet rotates its address, turn off the private Wi-Fi address"
        level = WARNING if tablet.private_address else ERROR
        review.cell(origin, "private-mac", "mac", tablet.mac, text, level)


def _own(review: Review, address: Address, origin: Origin, sites: Mapping[str, Site]) -> None:
    holder = next((site for site in sites.values() if _lies_in(address, site)), None)
    if holder is None:
        text = "lies in no site's network"
        review.cell(origin, "bad-cidr", "address", address, text)
    elif wrong := reserved(address, holder.networks):
        review.cell(origin, "bad-cidr", "address", address, wrong)


def _allotted(
    review: Review, name: str, address: Address, origin: Origin, sites: Mapping[str, Site]
) -> None:
    site = sites.get(name)
    if site is None:
        _known(review, origin, "site", "site", name, name, frozenset(sites))
    elif not _lies_in(address, site):
        text = f"lies in no network of site '{name}', run: netguard allot"
        review.cell(origin, "bad-cidr", "address", address, text)
    elif wrong := reserved(address, site.networks):
        review.cell(origin, "bad-cidr", "address", address, f"{wrong}, run: netguard allot")


def _lies_in(address: Address, site: Site) -> bool:
    return any(address in network for network in site.networks)


def _take(review: Review, taken: Taken, address: Address, owner: str, origin: Origin) -> None:
    first, where = taken.setdefault(address, (owner, origin))
    if first != owner:
        text = f"already given to {first} ({where})"
        review.cell(origin, "duplicate-address", "address", address, text)


def _not_allotted(review: Review, sites: Mapping[str, Site], groups: Mapping[str, Group]) -> None:
    documents = review.documents
    for tablet in documents.tablets.values():
        group = groups.get(tablet.group)
        for name in group.sites if group else ():
            site = sites[name]
            if site.addresses != "netguard" or (name, tablet.id) in documents.allotted:
                continue
            if tablet.address is None or not _lies_in(tablet.address, site):
                text = f"has no address at site '{name}', run: netguard allot"
                review.cell(
                    documents.tablet_lines[tablet.id], "not-allotted", "id", tablet.id, text
                )
