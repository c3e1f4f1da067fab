"""QR codes (ISO/IEC 18004), by segno: as the inside of an SVG element."""

from io import BytesIO

import segno

# Modules of white around it that a reader needs.
_QUIET = 4


def svg_tail(text: str) -> str:
    """Return what follows `<svg x= y= width= height= `: the viewBox, and the dark modules as one path.

    Level M, so that a stained card can still be read.
    """
    # Without a mark (ECI) bytes are Latin 1, or what a reader guesses.
    code = segno.make(
        text, error="m", encoding="utf-8", eci=not text.isascii(), micro=False, boost_error=False
    )
    out = BytesIO()
    code.save(out, kind="svg", xmldecl=False, svgns=False, omitsize=True, border=_QUIET)
    return out.getvalue().decode().strip().removeprefix("<svg ")
