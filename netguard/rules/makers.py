"""Who made a tablet: the maker of its MAC against the maker of its declared model."""

from collections.abc import Iterator
from functools import cache

from netguard.core.policy import Tablet
from netguard.rules.documents import Documents
from netguard.rules.findings import WARNING, Finding

# What the IEEE registry calls the makers of the tablets that inventories name by model.
_MAKERS = {
    "sm-": ("samsung",),
    "galaxy": ("samsung",),
    "ipad": ("apple",),
    "iphone": ("apple",),
    "tb-": ("lenovo",),
    "tab m": ("lenovo",),
    "mediapad": ("huawei",),
    "matepad": ("huawei",),
    "ags": ("huawei",),
    "redmi": ("xiaomi",),
    "pixel": ("google",),
    "surface": ("microsoft",),
}


def judge_makers(documents: Documents) -> Iterator[Finding]:
    """Warn where the maker of a MAC is not the maker of the declared model."""
    for tablet in documents.tablets.values():
        expected = _expected_maker(tablet)
        maker = _maker(tablet.mac.text[:8].upper().replace(":", "-")) if expected else ""
        if maker and not any(word in maker.lower() for word in expected):
            origin = documents.tablet_lines[tablet.id]
            text = f"mac, '{tablet.mac}', is registered to {maker}, the model says {tablet.model}"
            yield Finding(origin.file, origin.line, 0, WARNING, "oui-model", text, cell=True)


def _expected_maker(tablet: Tablet) -> tuple[str, ...]:
    model = tablet.model.lower()
    return next((makers for prefix, makers in _MAKERS.items() if model.startswith(prefix)), ())


@cache
def _maker(prefix: str) -> str:
    """Return the registered maker of an OUI, or an empty text; the registry is netaddr's."""
    from netaddr import OUI, NotRegisteredError  # noqa: PLC0415  # 0.2 s that only tables of MACs pay

    try:
        return str(OUI(prefix).registration()["org"])
    except NotRegisteredError:
        return ""
