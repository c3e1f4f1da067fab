"""vendor-feed: bring a vendor's list of networks into the rules folder, to be reviewed; it applies nothing."""

import argparse
import datetime
import json
import os
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from netguard.adapters import files
from netguard.adapters.fetching import Way, fetch
from netguard.cli import folders
from netguard.core.names import parse_name, suggest_of
from netguard.errors import BadValue, NetguardError, UsageError
from netguard.rules.feed_files import FOLDER, Kept, Taker, kept, takers
from netguard.rules.findings import errors
from netguard.rules.folder import Folder, read_folder
from netguard.rules.load import load
from netguard.rules.vendor_feeds import (
    KNOWN,
    MAX_BYTES,
    MICROSOFT,
    PREFIXES,
    Difference,
    Known,
    NotThisList,
    Offer,
    alarming,
    differences,
    digest,
    microsoft_365,
    prefixes,
    rendered,
    version_of,
)

SHOWN = 12


def listed(arguments: argparse.Namespace) -> int:
    """List the feeds of the folder: version, age, how many networks, who takes from them."""
    folder = read_folder(folders.rules_path(arguments))
    today = folders.today(arguments)
    feeds = list(kept(folder))
    if arguments.json:
        rows = [_row(folder, feed, today) for feed in feeds]
        sys.stdout.write(json.dumps({"feeds": rows}, ensure_ascii=False) + "\n")
        return 0
    for feed in feeds:
        used = ", ".join(taker.name for taker in takers(folder, feed.name)) or "no service"
        networks = sum(len(offer.networks) for offer in feed.sets.values())
        sys.stdout.write(
            f"{feed.name}  version {feed.version}, {(today - feed.retrieved).days} days old, "
            f"{networks} networks in {len(feed.sets)} sets, for {used}\n"
        )
    if not feeds:
        sys.stderr.write(
            f"no feed here; known: {', '.join(KNOWN)}; netguard vendor-feed update NAME\n"
        )
    return 0


def _row(folder: Folder, feed: Kept, today: datetime.date) -> dict[str, object]:
    return {
        "feed": feed.name,
        "file": folder.shown(feed.file),
        "source": feed.source,
        "version": feed.version,
        "retrieved": feed.retrieved.isoformat(),
        "age_days": (today - feed.retrieved).days,
        "networks": sum(len(offer.networks) for offer in feed.sets.values()),
        "sets": list(feed.sets),
        "services": [taker.name for taker in takers(folder, feed.name)],
    }


def update(arguments: argparse.Namespace) -> int:
    """Read a vendor's list and write services/feeds/NAME.yaml; 1 when it is refused, the last good one stays."""
    path = folders.rules_path(arguments)
    folder = read_folder(path)
    name = arguments.name
    try:
        parse_name(name)
    except BadValue as error:
        raise UsageError(error.text) from error
    old = next((feed for feed in kept(folder) if feed.name == name), None)
    try:
        source, version, offers = _read(arguments, name)
        sets = _wanted(arguments, folder, name, old, offers)
        alarms = alarming(old.networks if old else {}, sets)
        if alarms and not arguments.confirm_change:
            raise NotThisList("; ".join(alarms) + "; --confirm-change if that is meant")
        file = old.file if old else f"{FOLDER}{name}.yaml"
        text = rendered(
            name, source, version, folders.today(arguments), sets,
            head=old.head if old else "", accept=_accepted(old),
        )  # fmt: skip
        _judge(arguments, folder, file, text)
    except NetguardError as error:
        if isinstance(error, UsageError):
            raise
        stays = f"\n{folder.shown(old.file)} of {old.retrieved} stays as it is" if old else ""
        raise type(error)(f"{name}: {error}{stays}") from error
    changed = differences(old.networks if old else {}, sets)
    if not arguments.dry_run:
        files.write(path / file, text)
    return _told(arguments, folder, file, version, old, sets, changed)


def _accepted(old: Kept | None) -> dict[str, str]:
    """Return what people accepted of a feed, but for its age: it is a new one."""
    return {id_: why for id_, why in (old.accept if old else {}).items() if id_ != "stale-feed"}


def _read(arguments: argparse.Namespace, name: str) -> tuple[str, str, dict[str, Offer]]:
    """Return source, version and sets, as the flags say or from the vendor."""
    known = KNOWN.get(name)
    if arguments.origin:
        given = dict(_named(text) for text in arguments.origin)
        form = known.form if known else PREFIXES
        known = Known(form, given)
    elif known is None:
        raise UsageError(
            f"no feed '{name}' is known{suggest_of(name, KNOWN)}; another list: --from [SET=]FILE or URL"
        )
    client = str(uuid.uuid5(uuid.NAMESPACE_OID, _machine()))
    got = {
        number: _bytes(arguments, url.replace("{client}", client))
        for number, url in known.urls.items()
    }
    source = ", ".join(url.partition("?")[0] for url in known.urls.values())
    if known.form == MICROSOFT:
        if len(got) != 1:
            raise UsageError("one answer of the endpoint service is the whole list: one --from")
        (data,) = got.values()
        version = (
            version_of(_bytes(arguments, known.version.replace("{client}", client)))
            if known.version
            else digest([data])
        )
        return source, version, microsoft_365(data)
    return (
        source,
        digest(got.values()),
        {number or "all": prefixes(data) for number, data in got.items()},
    )


def _named(text: str) -> tuple[str, str]:
    """Return set and place of `SET=PLACE`, or no set: an address has its own `=`."""
    number, equals, place = text.partition("=")
    if equals and number.replace("-", "").isalnum():
        return number, place
    return "", text


def _bytes(arguments: argparse.Namespace, place: str) -> bytes:
    if "://" in place:
        seconds = folders.seconds(arguments.timeout, "--timeout")
        return fetch(place, Way(arguments.proxy, seconds, arguments.ca), MAX_BYTES)
    try:
        with Path(place).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{place}: {os.strerror(error.errno or 0)}") from error
    if len(data) > MAX_BYTES:
        raise NotThisList(f"{place} is longer than {MAX_BYTES:,} bytes")
    return data


def _machine() -> str:
    """Return what makes this machine's number at the vendor: never the machine's own number itself."""
    try:
        return files.text(Path("/etc/machine-id")).strip() or "netguard"
    except NetguardError:
        return "netguard"


def _wanted(
    arguments: argparse.Namespace,
    folder: Folder,
    name: str,
    old: Kept | None,
    offers: Mapping[str, Offer],
) -> dict[str, Offer]:
    """Return the sets to write: those of the file, of its services, and those asked for."""
    asked = [word for word in (arguments.sets or "").split(",") if word]
    for number in asked:
        if number not in offers:
            raise UsageError(f"--sets: {name} has no set '{number}'{suggest_of(number, offers)}")
    names = {*(old.sets if old else ()), *asked}
    names |= {number for taker in takers(folder, name) for number in taker.sets}
    if KNOWN.get(name, Known(PREFIXES, {})).form == PREFIXES:
        return dict(offers)
    if not names:
        rows = "\n".join(
            f"  {number:>4}  {offer.label}: {len(offer.networks)} networks, {len(offer.domains)} names"
            for number, offer in offers.items()
        )
        raise UsageError(f"no service takes a set of {name} yet, name some: --sets 11,12\n{rows}")
    return {number: offers[number] for number in offers if number in names}


def _judge(arguments: argparse.Namespace, folder: Folder, file: str, text: str) -> None:
    """Check the folder as it would be. Raises NotThisList: a prefix may meet a protected network."""
    then = replace(folder, files={**folder.files, file: text.encode()})
    loaded = load(then, today=folders.today(arguments), allow_empty=True, require_addresses=False)
    wrong = [finding for finding in errors(loaded.findings) if finding.file == folder.shown(file)]
    if wrong:
        raise NotThisList("it cannot be taken\n" + "\n".join(finding.render() for finding in wrong))


def _told(
    arguments: argparse.Namespace,
    folder: Folder,
    file: str,
    version: str,
    old: Kept | None,
    sets: Mapping[str, Offer],
    changed: tuple[Difference, ...],
) -> int:
    users = list(takers(folder, arguments.name))
    if arguments.json:
        body = _body(arguments, folder.shown(file), version, old, users, changed)
        sys.stdout.write(json.dumps(body) + "\n")
        return 0
    for each in changed:
        names = ", ".join(user.name for user in users if each.set in user.sets) or "no service"
        sys.stdout.write(
            f"set {each.set} (for {names})  {each.before:,} -> {each.after:,} IPv4 addresses\n"
        )
        for mark, networks in (("+", each.gained), ("-", each.lost)):
            for network in networks[:SHOWN]:
                sys.stdout.write(f"  {mark} {network}\n")
            if len(networks) > SHOWN:
                sys.stdout.write(f"  {mark} and {len(networks) - SHOWN} more\n")
    _notes(users, sets)
    since = f" (before: {old.version} of {old.retrieved})" if old else ""
    verb = "would be written" if arguments.dry_run else "written"
    sys.stderr.write(
        f"{arguments.name} version {version}{since}: {len(changed)} of {len(sets)} sets differ; "
        f"{folder.shown(file)} {verb}\n"
    )
    if not arguments.dry_run:
        sys.stderr.write(f"nothing is in force yet: git diff, then netguard plan {folder.name}\n")
    return 0


def _notes(users: Sequence[Taker], sets: Mapping[str, Offer]) -> None:
    """Say what the vendor lists beside networks and the services do not allow; a person decides."""
    for user in users:
        lacking, ports = user.lacks(sets)
        for what, values in (("names", lacking), ("ports", ports)):
            if values:
                said = ", ".join(map(str, values[:SHOWN])) + (
                    ", ..." if len(values) > SHOWN else ""
                )
                sys.stderr.write(
                    f"note: the vendor lists {what} that '{user.name}' does not allow: {said}\n"
                )
    odd = sorted({url for offer in sets.values() for url in offer.odd})
    if odd:
        sys.stderr.write(f"note: names that no rule can say: {', '.join(odd[:SHOWN])}\n")


def _body(
    arguments: argparse.Namespace,
    file: str,
    version: str,
    old: Kept | None,
    users: Sequence[Taker],
    changed: Sequence[Difference],
) -> dict[str, object]:
    return {
        "feed": arguments.name,
        "file": file,
        "version": version,
        "before": old.version if old else None,
        "written": not arguments.dry_run,
        "changes": [
            {
                "set": each.set,
                "services": [user.name for user in users if each.set in user.sets],
                "gained": [str(network) for network in each.gained],
                "lost": [str(network) for network in each.lost],
                "addresses": [each.before, each.after],
            }
            for each in changed
        ],
    }
