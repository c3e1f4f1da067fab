"""What atheris drives: the first byte says whether a message is a query, an answer with A, or with AAAA.

    python tests/fuzz/target.py -max_total_time=60 FOLDER      # FOLDER: a message a file
    python tests/fuzz/target.py keep FOLDER                    # add what is there to tests/data/dnswire.hex

Words after the program's name are libFuzzer's.
"""

import sys
from contextlib import nullcontext
from pathlib import Path

try:
    import atheris
except ImportError:
    atheris = None  # type: ignore[assignment]  # no wheel for this machine; `one` works without

# Only our own parser is looked into: which of dnspython's lines run is of no interest.
with (
    atheris.instrument_imports(["netguard"])
    if atheris and __name__ == "__main__"
    else nullcontext()
):
    from netguard.core import dnswire  # noqa: F401  # instrumented here, before the oracle has it

from tests.fuzz import oracle

KEPT = Path(__file__).parents[1] / "data" / "dnswire.hex"
# Longer ones show nothing that short ones do not.
LONGEST = 300


def one(data):
    """Compare one message; an AssertionError is a difference, anything else that is raised a crash."""
    if not data:
        return
    kind, message = data[0] % 3, data[1:]
    if kind == 0:
        oracle.query(message)
    else:
        oracle.answer(message, 1 if kind == 1 else 28)


def keep(folder):
    """Add the messages of a folder to those that are kept, one a line, each once."""
    lines = set(KEPT.read_text().split()) if KEPT.exists() else set()
    lines |= {d.hex() for p in Path(folder).iterdir() if 0 < len(d := p.read_bytes()) <= LONGEST}
    KEPT.write_text("".join(f"{line}\n" for line in sorted(lines)))


def main():
    """Fuzz until told to end."""
    if sys.argv[1] == "keep":
        keep(sys.argv[2])
        return
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
