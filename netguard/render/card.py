"""The card of a tablet's own Wi-Fi key: a page to print, with a QR code and the key to type. SVG, alone or in HTML.

Pure: the QR code comes in as an SVG of its own (adapters/qr.py). The whole page is secret.
"""

from collections.abc import Callable
from dataclasses import dataclass
from html import escape

# Of a card of 85 by 54 mm (ISO/IEC 7810 ID-1), in tenths of a millimetre.
WIDTH, HEIGHT = 850, 540
_QR = 300


@dataclass(frozen=True, slots=True)
class Network:
    """One network that the tablet joins, and the QR code for it: an SVG element with a viewBox."""

    ssid: str
    code: str


def _(text: str) -> str:
    """Mark a text for the catalogues; it is translated where it is said."""
    return text


_TABLET, _NETWORK, _KEY = _("Tablet"), _("Network"), _("Key")
_HOW = _("Wi-Fi settings: add the network with this code")
_SECRET = _("Belongs to this tablet alone. Destroy the card when the tablet comes back.")


def svg(tablet: str, key: str, networks: list[Network], translate: Callable[[str], str]) -> str:
    """Return the cards as one SVG image, one below the other, a card per network; sizes in millimetres."""
    height = HEIGHT * len(networks)
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" '
        f'width="{WIDTH / 10:g}mm" height="{height / 10:g}mm" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" fill="#000">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
    ]
    for number, network in enumerate(networks):
        parts += _card(number * HEIGHT, tablet, key, network, translate)
    return "\n".join([*parts, "</svg>", ""])


def html(tablet: str, key: str, networks: list[Network], translate: Callable[[str], str]) -> str:
    """Return the same as a page of HTML, without anything from elsewhere."""
    image = svg(tablet, key, networks, translate)
    return (
        '<!doctype html>\n<html><head><meta charset="utf-8">\n'
        '<meta name="robots" content="noindex"><meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(translate(_TABLET))} {escape(tablet)}</title>\n"
        "<style>@page{margin:10mm}body{margin:0}</style></head>\n"
        f"<body>\n{image}</body></html>\n"
    )


def _card(
    top: int, tablet: str, key: str, network: Network, translate: Callable[[str], str]
) -> list[str]:
    left = _QR + 60
    return [
        f'<rect x="5" y="{top + 5}" width="{WIDTH - 10}" height="{HEIGHT - 10}" rx="20" '
        'fill="none" stroke="#888" stroke-width="2"/>',
        f'<svg x="25" y="{top + 70}" width="{_QR}" height="{_QR}" {network.code}',
        _text(left, top + 105, 24, translate(_TABLET)),
        _text(left, top + 155, 44, tablet, bold=True),
        _text(left, top + 210, 24, translate(_NETWORK)),
        _text(left, top + 255, 36, network.ssid, bold=True, fit=WIDTH - left - 30),
        _text(left, top + 310, 24, translate(_KEY)),
        _text(left, top + 355, 36, key, family="monospace", fit=WIDTH - left - 20),
        _text(30, top + 445, 24, translate(_HOW)),
        _text(30, top + 485, 21, translate(_SECRET)),
    ]


def _text(
    x: int, y: int, size: int, text: str, *, bold: bool = False, family: str = "", fit: int = 0
) -> str:
    # About 0.7 of its size is the width of a letter in bold: what would run over the edge is written smaller.
    size = min(size, int(fit / (0.7 * len(text)))) if fit else size
    weight = ' font-weight="bold"' if bold else ""
    face = f' font-family="{family}"' if family else ""
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" xml:space="preserve"{weight}{face}>'
        f"{escape(text)}</text>"
    )
