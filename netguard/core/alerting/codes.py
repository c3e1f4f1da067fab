"""The alerts that exist: a stable code each, its name for machines, and its words.

A code is a promise: it is in tickets, filters and runbooks, so none changes its meaning and none is used
again. The texts are message ids (English), translated by the catalogues in netguard/locale; what stands in
braces is filled in. 11xx one tablet, 12xx places and feeds, 13xx the tablet network, 14xx the appliance.
"""

from dataclasses import dataclass

from netguard.core.presence.actions import ASLEEP, BATTERY, BLIND, MOVED, OUTAGE, TAKEN


def _(text: str) -> str:
    """Mark a text for the catalogues; it is translated where it is said."""
    return text


@dataclass(frozen=True, slots=True)
class Code:
    """One kind of alert.

    `name` is the alertname of Alertmanager. `title` says what is so, `ended` that it is over, `advice` what
    to do. `fleet`: Prometheus raises it from metrics, too, so no Alertmanager gets it from us. `once`: no
    receiver hears it again while it lasts. `together` is what is said of many at once.
    """

    code: str
    name: str
    title: str
    ended: str
    advice: str
    fleet: bool = False
    once: bool = False
    together: str = _("Look at the network first: so many at once are seldom thefts.")


_ALL = (
    Code(
        "NG-1101",
        "NetguardTabletTaken",
        _("Tablet {tablet} was probably taken"),
        _("Tablet {tablet} is back"),
        _(
            "Go to {place} and look; ask the ward whether it was moved. If it is gone, say so: "
            "netguard lost {tablet}. If it was moved: netguard move {tablet} SITE/AREA."
        ),
    ),
    Code(
        "NG-1102",
        "NetguardTabletSilent",
        _("Tablet {tablet} is silent, probably a flat battery"),
        _("Tablet {tablet} is heard again"),
        _("Ask {place} to charge it. If nobody finds it: netguard lost {tablet}."),
    ),
    Code(
        "NG-1103",
        "NetguardTabletSilent",
        _("Tablet {tablet} is silent, probably asleep"),
        _("Tablet {tablet} is heard again"),
        _("No haste. If nobody finds it at {place}: netguard lost {tablet}."),
    ),
    Code(
        "NG-1104",
        "NetguardTabletSilent",
        _("Tablet {tablet} cannot be heard, probably because of an outage"),
        _("Tablet {tablet} is heard again"),
        _("Look at the network of {place} first."),
    ),
    Code(
        "NG-1105",
        "NetguardTabletMoved",
        _("Tablet {tablet} is at another site: {place}"),
        _("Tablet {tablet} is back at its own site"),
        _("Ask who brought it there. If it is to stay, change its home in tablets.csv."),
    ),
    Code(
        "NG-1106",
        "NetguardTabletInClosedArea",
        _("Tablet {tablet} was refused in an area that is closed to it: {place}"),
        _("Tablet {tablet} no longer asks in {place}"),
        _("Ask the ward to bring it back. The area is closed by closed-to in sites.yaml."),
    ),
    Code(
        "NG-1107",
        "NetguardStolenTabletHeard",
        _("Tablet {tablet}, reported {loan}, asks for the Wi-Fi at {place}"),
        _("Tablet {tablet}, reported {loan}, is no longer heard"),
        _("It is refused. Go to {place} now. When it is found: netguard found {tablet}."),
    ),
    Code(
        "NG-1108",
        "NetguardCloneSuspect",
        _("The address of tablet {tablet} is in use twice: at {place} and at {other}"),
        _("The address of tablet {tablet} is no longer in use twice"),
        _(
            "Two devices have its MAC. Find the tablet itself: whoever is at the other place has copied "
            "its address. To refuse both at once: netguard lost {tablet}."
        ),
    ),
    Code(
        "NG-1109",
        "NetguardStillOnTheAir",
        _("Tablet {tablet} is refused and may still be on the air: {why}"),
        _("Tablet {tablet} is off the air"),
        _(
            "The kernel refuses it meanwhile. See netguard tablet {tablet} for its steps, and "
            "netguard doctor radius for what the controller takes."
        ),
    ),
    Code(
        "NG-1110",
        "NetguardCloneSuspect",
        _("Tablet {tablet} behaves like another device: it {why}"),
        _("Tablet {tablet} no longer behaves like another device"),
        _(
            "Somebody may have copied its MAC. Look whether the tablet itself is on: an update changes how "
            "it asks for its address, a second device does it by turns. To refuse it: "
            "netguard quarantine {tablet} --why clone."
        ),
    ),
    Code(
        "NG-1111",
        "NetguardClinicalDevice",
        _("A clinical device ({subject}) asks for the tablets' network at {place}"),
        _("The clinical device {subject} no longer asks for the tablets' network"),
        _(
            "It is refused. Look at it: it has the wrong network set, or somebody has copied its address. "
            "Clinical addresses stand in protected.yaml."
        ),
    ),
    Code(
        "NG-1112",
        "NetguardTabletOnOtherNetwork",
        _("Tablet {tablet} asks for another network of the hospital at {place}"),
        _("Tablet {tablet} no longer asks for another network"),
        _(
            "It is refused there. Somebody has set it up for that network, or another device has its "
            "address: see whether the tablet itself is on the tablets' network."
        ),
    ),
    Code(
        "NG-1113",
        "NetguardLoanOverdue",
        _("Tablet {tablet} was to be back by {due}"),
        _("Tablet {tablet} is no longer overdue"),
        _(
            "Nothing is refused for it. Ask {place} for it; when it is back: netguard return {tablet}. If it "
            "may stay: netguard lend {tablet} --for 14d."
        ),
        once=True,
        together=_("No haste, and no thefts: their time is up. Ask the wards for them."),
    ),
    Code(
        "NG-1201",
        "NetguardBlind",
        _("netguard cannot see the tablets of {subject}"),
        _("netguard sees the tablets of {subject} again"),
        _(
            "Nothing can be said of tablets behind it until it is back: neither missing nor present. "
            "Look at the controller and at the way of its records: netguard status."
        ),
    ),
    Code(
        "NG-1202",
        "NetguardAccessPointDown",
        _("{subject} is silent, tablets behind it: {tablets}. An outage, not thefts"),
        _("{subject} is back"),
        _(
            "Look at the access point, its switch and its power. Its tablets are unreachable, not missing."
        ),
    ),
    Code(
        "NG-1203",
        "NetguardFeedStale",
        _("The feed {subject} says nothing"),
        _("The feed {subject} speaks again"),
        _("See whether its sender still sends to netguard: netguard status."),
    ),
    Code(
        "NG-1301",
        "NetguardUnknownDevice",
        _("A device that is no tablet sends on the tablet network"),
        _("No unknown device sends on the tablet network any more"),
        _("Its packets are dropped. See which: netguard denials, netguard unknown."),
        fleet=True,
    ),
    Code(
        "NG-1302",
        "NetguardManyRefusals",
        _("More than {limit} packets of tablets are refused by {subject}"),
        _("Fewer packets of tablets are refused by {subject}"),
        _("Nothing passed. See which tablet sends them: netguard denials."),
        fleet=True,
    ),
    Code(
        "NG-1303",
        "NetguardRefusedAnswers",
        _("Names answer with addresses that tablets must not reach"),
        _("No more answers with addresses that tablets must not reach"),
        _("Nothing was opened. See which names: netguard dns top."),
        fleet=True,
    ),
    Code(
        "NG-1304",
        "NetguardDeviceFlood",
        _("More than {limit} requests of unknown devices, most of them at {subject}"),
        _("No flood of unknown devices any more"),
        _("None was let in, tablets are answered as ever. See which, and where: netguard unknown."),
    ),
    Code(
        "NG-1305",
        "NetguardNameFlood",
        _("Tablets ask for names in vain more than {limit}, most of all {subject}"),
        _("Tablets ask for names as usual again"),
        _(
            "Nothing left the hospital: what is not allowed is not asked for. An app that nobody wants, or a "
            "tunnel: netguard dns top; netguard quarantine {subject} keeps it apart."
        ),
    ),
    Code(
        "NG-1306",
        "NetguardMessageFlood",
        _("More than {limit} messages of controllers are dropped: {subject}"),
        _("Messages of controllers are taken again"),
        _(
            "Presence has less to go by until it ends. See who sends: netguard status; rates and sources are "
            "set in feeds.yaml."
        ),
    ),
    Code(
        "NG-1401",
        "NetguardNothingInForce",
        _("No rules are in force: everything of the tablets is blocked"),
        _("Rules are in force again"),
        _("netguard status says why; netguard apply puts rules into force."),
        fleet=True,
    ),
    Code(
        "NG-1402",
        "NetguardNotAtThePlan",
        _("{subject} is not at the plan in force: {why}"),
        _("{subject} is at the plan in force"),
        _(
            "It is tried again every few seconds; nothing is more open meanwhile. See netguard status."
        ),
        fleet=True,
    ),
    Code(
        "NG-1403",
        "NetguardRulesetChanged",
        _("Somebody else changed the ruleset or the links: {why}"),
        _("The ruleset is as it was loaded"),
        _("It was put back. Find out who did it: netguard status names program and pid."),
        fleet=True,
    ),
    Code(
        "NG-1404",
        "NetguardStoreFailing",
        _("netguard cannot store what it reads: {why}"),
        _("netguard stores again what it reads"),
        _("Nothing is lost while the event log waits. Look at the disk."),
        fleet=True,
    ),
    Code(
        "NG-1405",
        "NetguardDaemonDown",
        _("netguard {subject} does not answer"),
        _("netguard {subject} answers again"),
        _("The kernel keeps the last plan. Start it: systemctl restart netguard-{subject}."),
        fleet=True,
    ),
    Code(
        "NG-1406",
        "NetguardResolversDown",
        _("No resolver of the hospital answers: new names do not open"),
        _("A resolver of the hospital answers again"),
        _("Running calls go on. Look at the resolvers: netguard dns why NAME."),
        fleet=True,
    ),
    Code(
        "NG-1407",
        "NetguardBlocked",
        _("The panic switch is on: tablets reach nothing"),
        _("The panic switch is off"),
        _("netguard audit says who pulled it; netguard fence restore puts the plan back."),
        fleet=True,
    ),
    Code(
        "NG-1408",
        "NetguardDeliveryFailing",
        _("Alerts do not reach {subject}: {why}"),
        _("Alerts reach {subject} again"),
        _("They wait and are sent in order when it is back. See netguard alerts --waiting."),
        fleet=True,
    ),
    Code(
        "NG-1409",
        "NetguardFalseAlarmsOverBudget",
        _("More false alarms than the rules allow"),
        _("False alarms are within what the rules allow"),
        _(
            "See what they had in common: netguard alerts --all. The budget is false-alarms in presence.yaml."
        ),
        fleet=True,
    ),
)

CODES = {each.code: each for each in _ALL}
_BY_CAUSE = {
    TAKEN: "NG-1101",
    BATTERY: "NG-1102",
    ASLEEP: "NG-1103",
    OUTAGE: "NG-1104",
    MOVED: "NG-1105",
    BLIND: "NG-1201",
}


def code_of(cause: str, tablet: str, subject: str = "") -> Code:
    """Return the code of what the engine says: by cause, and by whether it is of one tablet."""
    if cause == OUTAGE and not tablet:
        return CODES["NG-1202"]
    if cause == BLIND and subject.startswith("feed "):
        return CODES["NG-1203"]
    return CODES[_BY_CAUSE[cause]]
