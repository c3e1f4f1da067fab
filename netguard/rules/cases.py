"""The cases under tests/ as the core's own values, and what a case must say to be one."""

from collections.abc import Iterator

from netguard.core.cases import ALLOW, DENIED, EVER, NEVER, ONLY, Case, Expected, From, To
from netguard.core.stories import Happening
from netguard.rules import schema
from netguard.rules.review import Review
from netguard.rules.typed import Document

CasesDocument = Document[schema.CasesFile]


def judge_cases(review: Review) -> tuple[Case, ...]:
    """Report cases that decide nothing; return the others in the order of their files."""
    found = []
    for doc in review.documents.cases:
        for index, case in enumerate(doc.model.cases):
            wrong = next(_faults(case), None)
            if wrong is not None:
                text, *at = wrong
                review.error(doc, "case", text, "cases", index, *at)
            else:
                found.append(_case(doc, case, index))
    return tuple(found)


def _faults(case: schema.CaseModel) -> Iterator[tuple[str, ...]]:
    """Yield what makes a case say nothing, with the key it is about."""
    if case.events is not None:
        yield from _story_faults(case)
    elif isinstance(case.expect, schema.CaseExpect):
        yield from _admission_faults(case)
    else:
        yield from _packet_faults(case, str(case.expect))


def _story_faults(case: schema.CaseModel) -> Iterator[tuple[str, ...]]:
    if not isinstance(case.expect, schema.CaseExpect) or case.expect.alert is None:
        yield (
            "a case of events expects an alert: {alert: missing, to: noc, within: 5m} or {alert: none}",
            "expect",
        )
    if not case.events:
        yield "a case of events needs one at least: {at: 0s, tablet: T-001, ap: AP-1}", "events"
    for event in case.events or ():
        if (event.ap is None) != event.gone:
            yield "an event names an AP, or says 'gone: true'", "events"


def _admission_faults(case: schema.CaseModel) -> Iterator[tuple[str, ...]]:
    expect = case.expect
    assert isinstance(expect, schema.CaseExpect)  # noqa: S101  # for the type checker
    if expect.alert is not None:
        yield "an alert follows from events, this case has none", "expect"
    if expect.admission is None and expect.vlan is None and expect.by is None:
        yield (
            "expect what? {admission: accept, vlan: 640} or allow, deny, never, only, always",
            "expect",
        )
    if case.from_ is None or (case.from_.tablet is None and case.from_.mac is None):
        yield "who asks to be admitted? from: {tablet: T-001} or from: {mac: ...}", "expect"


def _packet_faults(case: schema.CaseModel, word: str) -> Iterator[tuple[str, ...]]:
    who, to = case.from_, case.to
    if who is None or (who.group is None and who.tablet is None):
        yield "whose packets? from: {group: NAME}, {group: '*'} or {tablet: ID}", "expect"
    if word == ONLY:
        if case.services is None:
            yield "'only' needs its list: services: [jitsi, time]", "expect"
        return
    named = [] if to is None else [each for each in (to.domain, to.address, to.protected) if each]
    if to is None or len(named) != 1:
        yield "where to? to: {domain: NAME}, {address: ADDRESS} or {protected: '*'}", "expect"
    elif to.protected is not None and word != NEVER:
        yield "a protected network is closed whole: write expect: never", "expect"
    elif word in {ALLOW, DENIED, EVER} and to.port is None:
        yield "which port? to: {..., port: tcp/443}", "to"
    elif word in {ALLOW, DENIED} and to.port is not None and to.port.first != to.port.last:
        yield f"{word} decides one packet: one port, or write always, never", "to", "port"


def _case(doc: CasesDocument, case: schema.CaseModel, index: int) -> Case:
    who, to, expect = case.from_, case.to, case.expect
    if isinstance(expect, schema.CaseExpect):
        within = expect.within.total_seconds() if expect.within is not None else None
        expected = Expected(
            by=expect.by or case.by,
            admission=expect.admission,
            vlan=expect.vlan,
            alert=expect.alert,
            to=expect.to,
            within=within,
        )
    else:
        expected = Expected(word=expect, by=case.by, services=tuple(case.services or ()))
    return Case(
        name=case.name,
        expected=expected,
        sender=From(who.group, who.tablet, who.mac, who.ssid, who.site) if who else From(),
        target=To(to.domain, to.address, to.protected, to.port) if to else To(),
        events=tuple(
            Happening(e.at.total_seconds(), e.tablet, e.ap, e.gone) for e in case.events or ()
        ),
        origin=doc.origin("cases", index, "expect"),
    )
