"""Every text that netguard says is in each catalogue, whole: same blanks, nothing fuzzy, nothing left over."""

import re
from io import BytesIO
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir, extract_from_file
from babel.messages.pofile import read_po

from netguard.adapters.notify import catalogues
from netguard.core import alerting
from netguard.render import card

CODE = Path(alerting.__file__).parent
LANGUAGES = sorted(path.name for path in catalogues.LOCALE.iterdir() if path.is_dir())
# The words of the card stand beside its drawing.
FOUND = [(m[2]) for m in extract_from_dir(CODE)] + [
    m[1] for m in extract_from_file("python", card.__file__)
]
MESSAGES = {message for message in FOUND if isinstance(message, str)}


def catalogue(language):
    file = catalogues.LOCALE / language / "LC_MESSAGES" / "netguard.po"
    return read_po(BytesIO(file.read_bytes()), abort_invalid=True)


def test_there_are_texts_and_french_is_among_the_languages():
    assert len(MESSAGES) > 90
    assert "fr" in LANGUAGES


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_catalogue_has_all_texts_and_no_other(language):
    known = {message.id for message in catalogue(language) if message.id}
    assert known == MESSAGES


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_is_there_sure_and_has_the_same_blanks(language):
    for message in catalogue(language):
        if not message.id:
            continue
        assert message.string, message.id
        assert not message.fuzzy, message.id
        blanks = re.findall(r"\{\w+\}|%[A-Za-z]", message.id)
        assert sorted(re.findall(r"\{\w+\}|%[A-Za-z]", message.string)) == sorted(blanks)


def test_french_has_a_narrow_space_before_double_punctuation_and_the_curly_apostrophe():
    for message in catalogue("fr"):
        if message.id and not message.id.startswith("%"):
            assert not re.search(r"[ \w][:;!?](\s|$)", message.string), message.string
            assert "'" not in message.string


def test_a_translator_translates_and_an_unknown_language_is_english():
    title = alerting.CODES["NG-1101"].title
    assert "emportée" in catalogues.translator("fr")(title)
    for language in ("en", "xx", "../fr", ""):
        assert catalogues.translator(language)(title) == title
