"""What each NAS was heard to send, judged: one finding a fault, with the setting to change on that product."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from netguard.core.doctor import products
from netguard.core.doctor.findings import (
    Finding,
    Outcome,
    failed,
    listed,
    many,
    ok,
    ordered,
    unchecked,
    warning,
)
from netguard.core.doctor.heard import Client, Ear, Heard, Neighbours
from netguard.core.doctor.products import Fault
from netguard.core.radius import Status

REQUESTS, UNKNOWN, SECRET, SIGNATURE = "NG-D301", "NG-D302", "NG-D303", "NG-D304"
CALLED, CALLING, ACCOUNTING, INTERIM = "NG-D305", "NG-D306", "NG-D307", "NG-D308"
CLOCK, ANSWERS, COA, ISOLATION = "NG-D309", "NG-D310", "NG-D311", "NG-D312"
# From an Accept to the Start of its session, a NAS takes seconds at most.
_START = 15.0
# Event-Timestamp counts in seconds; beyond the window of RFC 5176 6.1 CoA is ignored in silence.
_OFF, _WINDOW = 5.0, 300.0


@dataclass(frozen=True, slots=True)
class Probe:
    """What came back from the CoA port of a NAS: `ack`, `nak`, `refused`, `silent`, `forged`, or ``.

    Empty: it was not asked, and `why` says why not. `cause` is the Error-Cause of a NAK (RFC 5176 3.5).
    """

    outcome: str
    port: int = 0
    cause: int | None = None
    why: str = ""


def judge(
    ear: Ear,
    probes: Mapping[str, Probe],
    neighbours: Neighbours,
    names: Mapping[str, str],
) -> list[Finding]:
    """Judge everything that was heard; `names` are tablets by MAC."""
    found = [
        each for client in ear.clients for each in _client(client, ear, probes.get(client.name))
    ]
    return ordered([*found, *_unknown(ear), *_isolation(ear.clients, neighbours, names)])


def _client(client: Client, ear: Ear, probe: Probe | None) -> Iterator[Finding]:
    heard = ear.heard[client.name]
    counts = heard.counts
    if probe is not None or counts["coa-answers"]:
        yield _coa(client, probe or Probe(""), counts["coa-answers"])
    if not counts["requests"] and not counts["accounting"]:
        eap = f", {many(counts['eap'], 'request')} of 802.1X" if counts["eap"] else ""
        text = f"{client}: no MAC authentication was seen in {_span(ear)}{eap}"
        mend = f"let a tablet join while this listens; {products.mend(client.vendor, Fault.SILENT)}"
        yield unchecked(REQUESTS, text, mend)
        return
    yield _requests(client, heard)
    secret = _secret(client, heard)
    signature = _signature(client, heard)
    yield secret
    yield signature
    if counts["requests"]:
        yield _called(client, heard)
        yield _calling(client, heard)
    if secret.cries:
        # Whoever has another secret gets no answer, and tells nothing that can be believed.
        for code in (ACCOUNTING, INTERIM, ANSWERS):
            yield unchecked(code, f"{client}: its secret is wrong (NG-D303)")
    else:
        yield _accounting(client, heard, ear)
        yield _interim(client, heard, ear)
        dropped = signature.outcome is Outcome.FAILED
        yield unchecked(ANSWERS, f"{client}: see NG-D304") if dropped else _answers(client, heard)
    yield _clock(client, heard)


def _span(ear: Ear) -> str:
    seconds = max(0.0, ear.end - ear.begin)
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"


def _requests(client: Client, heard: Heard) -> Finding:
    counts = heard.counts
    asked = (
        f"{many(counts['requests'], 'request')}, {many(counts['accounting'], 'accounting record')}"
    )
    spoken = listed(sorted(heard.vendors))
    if not products.fits(client.vendor, heard.vendors):
        text = f"{client}: the rules say '{client.vendor}', its attributes are those of {spoken}"
        return warning(REQUESTS, text, "set its vendor in sites.yaml: CoA and these hints go by it")
    said = f", attributes of {spoken}" if spoken else ""
    return ok(REQUESTS, f"{client}: {asked}{said}")


def _secret(client: Client, heard: Heard) -> Finding:
    right, wrong = heard.counts["secret-right"], heard.counts["secret-wrong"]
    if client.secret is None:
        return unchecked(
            SECRET, f"{client}: its secret is not known here", "run it on the appliance, as root"
        )
    if wrong:
        text = f"{client}: {wrong} of {many(right + wrong, 'packet')} made with another secret than ours"
        return failed(SECRET, text, products.mend(client.vendor, Fault.SECRET))
    if not right:
        return unchecked(SECRET, f"{client}: nothing that it sent shows its secret")
    return ok(SECRET, f"{client}: {many(right, 'packet')} made with our secret")


def _signature(client: Client, heard: Heard) -> Finding:
    unsigned, requests = heard.counts["unsigned"], heard.counts["requests"]
    said = client.message_authenticator
    if not requests:
        return unchecked(SIGNATURE, f"{client}: no request was seen")
    if unsigned and said == "required":
        text = (
            f"{client}: {unsigned} of {many(requests, 'request')} without Message-Authenticator, which "
            "the rules demand: FreeRADIUS drops them in silence"
        )
        mend = products.mend(client.vendor, Fault.SIGNATURE)
        return failed(SIGNATURE, text, f"{mend}; else message-authenticator: never in sites.yaml")
    if unsigned and said == "optional":
        text = f"{client}: {unsigned} of {many(requests, 'request')} without Message-Authenticator (CVE-2024-3596)"
        return warning(SIGNATURE, text, products.mend(client.vendor, Fault.SIGNATURE))
    if not unsigned and said != "required":
        text = f"{client}: every request has a Message-Authenticator, the rules say '{said}'"
        return warning(SIGNATURE, text, "message-authenticator: required in sites.yaml, and apply")
    return ok(SIGNATURE, f"{client}: as the rules say ({said})")


def _called(client: Client, heard: Heard) -> Finding:
    forms, mend = heard.called, products.mend(client.vendor, Fault.CALLED)
    example = f", such as {heard.example}" if heard.example else ""
    nameless = forms["ap"] + forms["nothing"]
    if nameless and client.ssid_needed:
        text = (
            f"{client}: {many(nameless, 'request')} without an SSID{example}: other-networks: reject cannot tell "
            "another network of the hospital from the tablets' own"
        )
        return failed(CALLED, text, mend)
    if nameless:
        text = f"{client}: {many(nameless, 'request')} without an SSID{example}"
        return warning(CALLED, text, mend)
    if forms["ssid"]:
        text = f"{client}: {many(forms['ssid'], 'request')} without an access point{example}: no area is known"
        return warning(CALLED, text, mend)
    return ok(CALLED, f"{client}: access point and SSID{example}")


def _calling(client: Client, heard: Heard) -> Finding:
    lost, private = heard.counts["no-mac"], len(heard.private)
    if lost:
        text = f"{client}: {many(lost, 'request')} without a MAC, neither as Calling-Station-Id nor as User-Name"
        return failed(CALLING, text, products.mend(client.vendor, Fault.CALLING))
    if private:
        text = f"{client}: {many(private, 'device')} with a private (made up) MAC, rejected"
        return warning(
            CALLING,
            text,
            "on the tablet: the SSID's settings, 'use device MAC' or 'private address off'",
        )
    return ok(CALLING, f"{client}: every request names its device")


def _accounting(client: Client, heard: Heard, ear: Ear) -> Finding:
    counts = heard.counts
    due = {mac for mac, at in heard.accepted.items() if at <= ear.end - _START}
    told = due & heard.accounted
    if counts["accounting"] and not counts["acknowledged"]:
        text = (
            f"{client}: none of {many(counts['accounting'], 'accounting record')} was acknowledged"
        )
        return failed(
            ACCOUNTING, text, "df -h (FreeRADIUS refuses what it cannot store); NG-D104, NG-D123"
        )
    if due and not heard.accounted:
        text = f"{client}: {many(len(due), 'tablet')} admitted and no accounting came: silence cannot be judged"
        return failed(ACCOUNTING, text, products.mend(client.vendor, Fault.ACCOUNTING))
    if due - told and len(told) * 2 < len(due):
        text = f"{client}: accounting of {len(told)} of {len(due)} admitted tablets: one SSID may have none"
        return warning(ACCOUNTING, text, products.mend(client.vendor, Fault.ACCOUNTING))
    if not counts["accounting"]:
        return unchecked(
            ACCOUNTING, f"{client}: no tablet was admitted {_START:.0f} s before the end"
        )
    return ok(ACCOUNTING, f"{client}: {many(counts['accounting'], 'record')}, acknowledged")


def _interim(client: Client, heard: Heard, ear: Ear) -> Finding:
    wanted, mend = client.interim, products.mend(client.vendor, Fault.INTERIM)
    if len(heard.intervals) >= 1:
        middle = median(heard.intervals)
        if middle > wanted * 1.5:
            text = f"{client}: Interim-Updates come every {middle:.0f} s, the rules say {wanted} s"
            return warning(INTERIM, text, mend)
        return ok(INTERIM, f"{client}: Interim-Updates every {middle:.0f} s")
    if heard.counts[f"status-{int(Status.INTERIM_UPDATE)}"]:
        return ok(INTERIM, f"{client}: Interim-Updates come")
    overdue = [s for s in heard.sessions.values() if ear.end - s[0] > wanted * 1.5]
    if overdue:
        text = f"{client}: {many(len(overdue), 'session')} for more than {wanted * 1.5:.0f} s without an Interim-Update"
        return failed(INTERIM, text, mend)
    why = f"no session was seen for {wanted * 1.5:.0f} s"
    return unchecked(
        INTERIM, f"{client}: {why}", f"netguard doctor radius --for {wanted * 2 // 60 + 1}m"
    )


def _clock(client: Client, heard: Heard) -> Finding:
    if not heard.skews:
        return unchecked(
            CLOCK, f"{client}: it sends no Event-Timestamp, so its clock does not show"
        )
    off, mend = median(heard.skews), products.mend(client.vendor, Fault.CLOCK)
    if abs(off) > _WINDOW:
        text = f"{client}: its clock is {off:+.0f} s off: it ignores CoA and Disconnect in silence"
        return failed(CLOCK, text, mend)
    if abs(off) > _OFF:
        return warning(CLOCK, f"{client}: its clock is {off:+.0f} s off", mend)
    return ok(CLOCK, f"{client}: its clock is right to {_OFF:.0f} s")


def _answers(client: Client, heard: Heard) -> Finding:
    counts, mend = heard.counts, products.mend(client.vendor, Fault.ANSWERS)
    again, lost = counts["retransmits"], counts["unanswered"]
    if lost and not counts["answered"]:
        text = (
            f"{client}: none of its {many(lost, 'request')} was answered, {again} were sent again"
        )
        return failed(
            ANSWERS,
            text,
            "netguard doctor (NG-D104); is it in clients.conf? restart netguard-radius",
        )
    if lost or again > max(2, counts["answered"] // 50):
        text = f"{client}: {many(lost, 'request')} without an answer, {again} sent again, {counts['answered']} answered"
        return warning(ANSWERS, text, mend)
    if counts["late"]:
        text = f"{client}: {many(counts['late'], 'answer')} after more than 0.5 s, the slowest {heard.slowest:.1f} s"
        return warning(ANSWERS, text, mend)
    if counts["accepts-unsigned"]:
        text = f"{client}: {many(counts['accepts-unsigned'], 'Accept')} without a Message-Authenticator: another server answers"
        return warning(ANSWERS, text, "who answers there? ours signs every answer")
    return ok(
        ANSWERS,
        f"{client}: {many(counts['answered'], 'answer')}, the slowest in {heard.slowest:.2f} s",
    )


def _coa(client: Client, probe: Probe, seen: int) -> Finding:
    mend, port = products.mend(client.vendor, Fault.COA), f"udp/{probe.port}"
    if probe.outcome in {"ack", "nak"}:
        cause = f", Error-Cause {probe.cause}" if probe.cause is not None else ""
        return ok(COA, f"{client}: {port} answers{cause}")
    if seen and not probe.outcome:
        return ok(COA, f"{client}: {many(seen, 'answer')} to CoA or Disconnect seen")
    if probe.outcome == "refused":
        return failed(COA, f"{client}: {port} is closed: no tablet can be thrown off the air", mend)
    if probe.outcome == "forged":
        text = f"{client}: {port} answers with another secret than ours"
        return failed(COA, text, products.mend(client.vendor, Fault.SECRET))
    if probe.outcome == "silent":
        text = (
            f"{client}: {port} is silent: filtered on the way, not switched on, another secret, or its "
            "clock is more than 300 s off"
        )
        return failed(COA, text, mend)
    return unchecked(COA, f"{client}: {probe.why}")


def _unknown(ear: Ear) -> Iterator[Finding]:
    for source, count in sorted(ear.unknown.items())[:20]:
        text = f"{source} sent {many(count, 'request')} and no NAS of the rules has this address: it gets no answer"
        mend = "name it under nas: of its site in sites.yaml, apply, restart netguard-radius; or stop it"
        yield failed(UNKNOWN, text, mend)
    more = len(ear.unknown) - 20 + ear.overflow
    if more > 0:
        yield failed(UNKNOWN, f"and {more} more senders that no rule names", "see the first ones")
    if not ear.unknown:
        yield ok(UNKNOWN, "every sender is a NAS of the rules")


def _isolation(
    clients: Sequence[Client], seen: Neighbours, names: Mapping[str, str]
) -> Iterator[Finding]:
    try_it = (
        "ping one tablet from another, in one room and across two access points: neither may answer"
    )
    if seen.pairs:
        (one, other), _ = seen.pairs.most_common(1)[0]
        pair = f"{names.get(one, one)} to {names.get(other, other)}"
        text = f"{many(seen.pairs.total(), 'frame')} from tablet to tablet seen, such as {pair}: nothing keeps them apart"
        vendor = clients[0].vendor if clients else "other"
        yield failed(ISOLATION, text, products.mend(vendor, Fault.ISOLATION))
    else:
        text = f"not provable from here: {many(seen.heard, 'frame')} of tablets, none of them to another tablet"
        yield ok(ISOLATION, f"{text}; {try_it}")
