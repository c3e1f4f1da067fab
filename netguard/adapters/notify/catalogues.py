"""Texts in the language of a receiver: gettext catalogues, compiled when they are first needed.

netguard/locale/LANGUAGE/LC_MESSAGES/netguard.po is what people edit; there is no other file to forget.
"""

import gettext
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path

LOCALE = Path(__file__).parents[2] / "locale"


def languages() -> list[str]:
    """Return the languages beside English, by their codes."""
    return sorted(path.name for path in LOCALE.iterdir() if path.is_dir())


@cache
def translator(language: str) -> Callable[[str], str]:
    """Return what translates message ids; English is in the code, an unknown language is English."""
    file = LOCALE / language / "LC_MESSAGES" / "netguard.po"
    if not language.isalpha() or not file.exists():
        return gettext.NullTranslations().gettext
    # Only here: a receiver with English only needs none of it.
    from babel.messages.mofile import write_mo  # noqa: PLC0415
    from babel.messages.pofile import read_po  # noqa: PLC0415

    compiled = BytesIO()
    with file.open("rb") as source:
        write_mo(compiled, read_po(source))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled).gettext
