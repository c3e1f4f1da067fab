"""Names in the files whose meaning comes later: presence, alerts and cases."""

from datetime import timedelta

from netguard.rules import schema, schema_watch
from netguard.rules.review import Review
from netguard.rules.typed import Document

CasesDocument = Document[schema.CasesFile]


def judge_references(review: Review) -> None:
    """Report every name that is written nowhere."""
    documents, names = review.documents, review.documents.names
    if documents.presence is not None:
        presence = documents.presence
        _interim(review, presence, presence.model.presence, "presence")
        for site, own in presence.model.presence.sites.items():
            review.known("site", site, names.sites, presence, "presence", "sites", site, key=True)
            _interim(review, presence, own, "presence", "sites", site)
    _closed_areas(review)
    if documents.alerts is not None:
        for name, alert in documents.alerts.model.alerts.items():
            for index, receiver in enumerate(alert.to):
                at = ("alerts", name, "to", index)
                review.known("receiver", receiver, names.receivers, documents.alerts, *at)
    for doc in documents.cases:
        for index, case in enumerate(doc.model.cases):
            _case(review, doc, case, "cases", index)


def _closed_areas(review: Review) -> None:
    doc = review.documents.sites
    if doc is None:
        return
    for site, entry in doc.model.sites.items():
        for area, each in entry.areas.items():
            for index, group in enumerate(each.closed_to):
                at = ("sites", site, "areas", area, "closed-to", index)
                review.known("group", group, review.documents.names.groups, doc, *at)


def _interim(
    review: Review,
    doc: Document[schema_watch.PresenceFile],
    given: schema_watch.PresenceSite,
    *at: str,
) -> None:
    # hostapd ignores an Acct-Interim-Interval below 60 s, RFC 2869 5.16 forbids it.
    if given.heartbeat is not None and given.heartbeat.interim < timedelta(seconds=60):
        text = "interim is below 60s, which access points ignore"
        review.error(doc, "bad-duration", text, *at, "heartbeat", "interim")


def _case(review: Review, doc: CasesDocument, case: schema.CaseModel, *at: str | int) -> None:
    names = review.documents.names
    for index, service in enumerate(case.services or []):
        review.known("service", service, names.services, doc, *at, "services", index)
    if case.from_ is not None:
        _case_from(review, doc, case.from_, *at, "from")
    if case.to is not None and case.to.protected not in {None, "*"}:
        network = str(case.to.protected)
        review.known("protected network", network, names.protected, doc, *at, "to", "protected")
    for index, event in enumerate(case.events or []):
        place = (*at, "events", index)
        review.known("tablet", event.tablet, names.tablets, doc, *place, "tablet")
        if event.ap is not None:
            review.known("AP", event.ap, names.aps, doc, *place, "ap")
    if isinstance(case.expect, schema.CaseExpect):
        _case_expect(review, doc, case.expect, *at, "expect")


def _case_from(review: Review, doc: CasesDocument, who: schema.CaseFrom, *at: str | int) -> None:
    names = review.documents.names
    if who.group is not None and who.group != "*":
        review.known("group", who.group, names.groups, doc, *at, "group")
    if who.tablet is not None:
        review.known("tablet", who.tablet, names.tablets, doc, *at, "tablet")
    if who.site is not None:
        review.known("site", who.site, names.sites, doc, *at, "site")


def _case_expect(
    review: Review, doc: CasesDocument, expect: schema.CaseExpect, *at: str | int
) -> None:
    names = review.documents.names
    if expect.alert is not None and expect.alert != "none":
        review.known("alert", expect.alert, names.alerts, doc, *at, "alert")
    if expect.to is not None:
        review.known("receiver", expect.to, names.receivers, doc, *at, "to")
