"""Golden tests of the command line: one file a case, its input, a line of dashes, what is printed.

Input, over a copy of the small hospital of tests/bad/base (or of rules/, with `base: example`):

    change groups.yaml: OLD => NEW     the first OLD in a file becomes NEW
    add tests/more.yaml                the indented lines that follow are added to a file
    table intune.csv utf-16-le         the indented lines that follow are a file beside the rules, in this encoding
    copy rules new                     a second folder as it is now
    capture NAME.pcap                  the indented lines that follow are sent, and captured (tests/core/doctor/captures.py)
    $ netguard test rules              a command (hashes, times and our version are left out); all output of all commands is compared, then its exit code

`NETGUARD_WRITE_EXPECT=1 pytest tests/cli/test_golden.py` writes what is printed; read the difference.
"""

import codecs
import os
import re
import shlex
import shutil
from pathlib import Path

import pytest

from netguard import __version__
from netguard.cli import main
from tests.core.doctor import captures

HERE = Path(__file__).parent
BASES = {"small": HERE.parent / "bad" / "base", "example": HERE.parents[1] / "rules"}
CASES = sorted((HERE / "golden").glob("*.txt"))
LINE = "-" * 12 + "\n"


class Capture(str):
    """The name of a capture that is being written."""

    __slots__ = ()


def more(file, line, sent, encoding):
    """Add one indented line to a file, or to what is sent in a capture."""
    if isinstance(file, Capture):
        sent.append(line)
        captures.write(Path(file), sent)
    else:
        with file.open("a", encoding=encoding, newline="") as out:
            out.write(line[2:] + "\n")


def change(rest):
    """Change the first OLD of a file: `groups.yaml: OLD => NEW`."""
    name, _, what = rest.partition(": ")
    old, _, new = what.partition(" => ")
    path = Path("rules") / name
    assert old in path.read_text(), f"{name} does not hold {old!r}"
    path.write_text(path.read_text().replace(old, new, 1))


def typed(rest, capsys):
    """Carry out a command; return it, all that it prints, its exit code."""
    try:
        code = main(shlex.split(rest)[1:])
    except SystemExit as error:
        code = error.code
    return [f"$ {rest}\n", *capsys.readouterr(), f"exit {code}\n"]


def play(text, capsys):
    """Carry out the lines of an input in the folder we are in; return all that is printed."""
    said, file, encoding, sent = [], None, "utf-8", []
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if (line.startswith("  ") or not line) and file is not None:
            more(file, line, sent, encoding)
            continue
        file, encoding = None, "utf-8"
        if word == "base:":
            shutil.rmtree("rules")
            shutil.copytree(BASES[rest], "rules")
        elif word == "change":
            change(rest)
        elif word == "add":
            file = Path("rules") / rest
            file.parent.mkdir(parents=True, exist_ok=True)
        elif word == "table":
            name, _, given = rest.partition(" ")
            file, encoding = Path(name), given or "utf-8"
            file.write_bytes(codecs.BOM_UTF16_LE if given == "utf-16-le" else b"")
        elif word == "capture":
            file, sent = Capture(rest), []
        elif word == "copy":
            shutil.copytree(*rest.split())
        elif word == "$":
            said += typed(rest, capsys)
        else:
            assert not line or line.startswith("#"), f"no such word: {line}"
    text = re.sub(r"\b[0-9a-f]{64}\b", "SHA256", "".join(said))
    text = re.sub(r"; [0-9]+\.[0-9] s$", "; TIME", text, flags=re.MULTILINE)
    text = text.replace(str(Path.cwd()), "HERE")
    return re.sub(r"(proof-[0-9-]{10}-)[0-9a-f]{12}", r"\1PLAN", text).replace(
        __version__, "VERSION"
    )


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_command_prints_what_the_file_says(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NETGUARD_SETTINGS", str(tmp_path / "none.yaml"))
    shutil.copytree(BASES["small"], "rules")
    given, _, expected = path.read_text().partition(LINE)
    found = play(given, capsys)
    if os.environ.get("NETGUARD_WRITE_EXPECT"):
        path.write_text(given + LINE + found)
        return
    assert found == expected
