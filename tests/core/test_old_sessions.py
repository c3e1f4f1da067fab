"""When the last session with an old Wi-Fi key is certainly over."""

from dataclasses import replace

import pytest

from netguard.core.old_sessions import GONE_FOR, MARGIN, SILENT_FOR, Heard, look, over
from netguard.core.sessions import Live

# The new key was given at a moment of the wall clock.
GIVEN, DAY = 1_000_000.0, 86400.0
OLD = Live("wlc-1", "x", "1", GIVEN - 50, "s", "AP-1", "", "10.0.0.1", "", "", since=GIVEN - 100)
NEW = replace(OLD, session="2", at=GIVEN + 10, since=GIVEN + 10)
ASKED = replace(OLD, session="", since=0.0)
# With the key that it has now.
ADMITTED = replace(ASKED, at=GIVEN + 9)
JOINED, STOPPED = (
    "the tablet has joined with its new key since",
    "its session has ended, by the accounting",
)


class Story:
    def __init__(self, timeout=None):
        self.heard, self.steady, self.timeout = Heard(), 0.0, timeout

    def told(self, *rows, after=60.0, full=False):
        self.steady += after
        now = GIVEN + self.steady
        self.heard, left = look(self.heard, rows, GIVEN, now, self.steady, full=full)
        return over(self.heard, rows, left, self.timeout, self.steady)


def test_a_stop_of_the_old_session_is_the_end_once_no_report_has_brought_it_back():
    """What watch has no more may have been lost with its store: the next Interim says so."""
    story = Story()
    assert story.told(OLD, ASKED) == ""
    assert story.told() == ""
    assert story.told(OLD, after=GONE_FOR) == ""
    assert story.told() == ""
    assert story.told(after=GONE_FOR) == ""
    assert story.told(after=1.0) == STOPPED


def test_a_new_session_at_the_same_place_is_the_end():
    story = Story()
    assert story.told(OLD, ASKED) == ""
    assert story.told(OLD, ADMITTED, NEW) == JOINED


@pytest.mark.parametrize(
    "rows",
    [
        # Elsewhere: the old one may be in other hands.
        (OLD, replace(ADMITTED, nas="wlc-2"), replace(NEW, nas="wlc-2")),
        (OLD, replace(ADMITTED, source="10.0.0.2"), replace(NEW, source="10.0.0.2")),
        # The old one has spoken since.
        (replace(OLD, at=GIVEN + 20), ADMITTED, NEW),
        # Nobody has heard it begin, or its moment is still to come.
        (OLD, ADMITTED, replace(NEW, since=0.0)),
        (OLD, ADMITTED, replace(NEW, since=GIVEN + 9 * DAY)),
        # Only admitted: whether it could join with the key is not said.
        (OLD, ADMITTED),
        # It roamed, and goes on under another id: nobody has asked RADIUS.
        (OLD, NEW),
        (OLD, ASKED, NEW),
    ],
)
def test_what_may_still_be_an_old_one_goes_on(rows):
    story = Story()
    assert story.told(OLD) == ""
    assert story.told(*rows) == ""
    assert story.told(*rows, after=DAY / 2) == ""


def test_a_session_that_was_once_old_stays_so_whatever_the_clock_says():
    story = Story()
    future = replace(NEW, since=GIVEN + 90)
    assert story.told(ADMITTED, future) == ""
    assert story.told(ADMITTED, future) == ""
    assert story.told() == ""
    assert story.told(after=GONE_FOR + 1) == STOPPED


def test_of_a_nas_without_accounting_a_new_admission_is_the_end():
    story = Story()
    assert story.told(ASKED) == ""
    assert story.told(ASKED) == ""
    assert story.told(replace(ASKED, at=GIVEN + 100)) == JOINED


def test_a_session_that_may_have_been_forgotten_for_others_has_not_ended():
    """Watch keeps some of a MAC, also of NASes that give no keys: of the oldest nobody knows more."""
    story = Story()
    assert story.told(OLD, ASKED) == ""
    assert story.told(full=True) == ""
    assert story.told(after=GONE_FOR + 1) == ""
    assert "hours" in story.told(after=SILENT_FOR)


def test_silence_of_a_day_and_longer_than_any_timeout_is_the_end_and_each_word_begins_it_anew():
    story = Story(timeout=2 * DAY)
    again = replace(OLD, at=GIVEN + DAY)
    assert story.told(ASKED) == ""
    assert story.told(OLD, after=DAY + 60) == ""
    assert story.told(again, after=DAY) == ""
    assert story.told(again, after=2 * DAY + MARGIN) == ""
    assert "longer than any can last" in story.told(again, after=1.0)
    # It may have begun before the short one was sent.
    story = Story(timeout=3600)
    assert story.told(ASKED) == ""
    assert story.told(ASKED, after=SILENT_FOR) == ""
    assert "for 24 hours" in story.told(ASKED, after=1.0)


def test_without_a_timeout_only_the_silence_of_who_reports_says_something():
    story = Story()
    assert story.told(replace(OLD, at=OLD.since)) == ""
    assert story.told(replace(OLD, at=OLD.since), after=9 * DAY) == ""
    assert "24 hours" in story.told(OLD, after=0.0) or story.told(OLD, after=SILENT_FOR + 1)
    assert "24 hours" in story.told(OLD, after=1.0)
    story = Story()
    assert story.told(ASKED) == ""
    assert story.told(ASKED, after=9 * DAY) == ""


def test_of_a_tablet_that_is_off_nothing_is_ever_heard():
    story = Story()
    assert story.told() == ""
    assert story.told(after=SILENT_FOR) == ""
    assert "24 hours" in story.told(after=1.0)
