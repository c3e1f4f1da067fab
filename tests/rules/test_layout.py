"""`fmt`: what comes out means what went in, comments stay, and a second time changes nothing."""

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netguard.rules.layout import Unchanged, laid_out
from netguard.rules.source import Entries, Items, parse

ROOT = Path(__file__).parents[2]
FILES = [p for base in ("rules", "tests/bad/base") for p in sorted((ROOT / base).rglob("*.yaml"))]


def meaning(data):
    def plain(node):
        if isinstance(node, Entries):
            return {key: plain(value) for key, value in node.values.items()}
        return [plain(item) for item in node.items] if isinstance(node, Items) else node.value

    source = parse(data, "x.yaml")
    assert source.faults == ()
    return plain(source.root)


def comments(text):
    return [line.partition("# ")[2] for line in text.splitlines() if "# " in line]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_example_hospital_is_laid_out(path):
    assert laid_out(path.name, path.read_bytes()) == path.read_bytes()


@pytest.mark.parametrize("seed", range(12))
def test_what_an_editor_does_to_blanks_is_undone(seed):
    dice = random.Random(seed)
    for path in FILES:
        text = path.read_text()
        wide = dice.choice([1, 2, 3])
        lines = []
        for line in text.splitlines():
            indent = len(line) - len(line.lstrip(" "))
            bare = line.lstrip(" ")
            if bare.startswith("- "):
                bare = "-" + " " * (2 * wide - 1) + bare[2:]
            lines.append(" " * (indent * wide) + bare + " " * dice.choice([0, 0, 3]))
            if not line and dice.random() < 0.5:
                lines += [""] * dice.randrange(3)
        end = dice.choice(["\n", "\r\n"])
        spoilt = (dice.choice(["", "\ufeff"]) + end.join(lines) + end * dice.randrange(3)).encode()
        once = laid_out(path.name, spoilt)
        assert laid_out(path.name, once) == once, path
        assert meaning(once) == meaning(path.read_bytes()), path
        assert comments(once.decode()) == comments(text), path
        if wide == 1:
            assert once == path.read_bytes(), path


WORDS = st.text(alphabet="ab c,#'\"[]{}:-é", max_size=8)
TREES = st.recursive(
    WORDS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3),
        st.dictionaries(st.sampled_from(["a", "b-c", "mac", "d"]), inner, min_size=1, max_size=3),
    ),
    max_leaves=8,
)


def written(tree, dice, depth=0, flow=False):
    """Write a tree as somebody might, with blanks and comments wherever they are allowed."""
    pad = " " * dice.choice([0, 0, 1, 2])
    if isinstance(tree, str):
        return "'" + tree.replace("'", "''") + "'"
    if flow or (depth and dice.random() < 0.4):
        if isinstance(tree, list):
            return (
                "["
                + pad
                + f"{pad},{pad}".join(written(t, dice, depth, True) for t in tree)
                + pad
                + "]"
            )
        pairs = (f"{key}: {pad}{written(t, dice, depth, True)}" for key, t in tree.items())
        return "{" + pad + f"{pad},{pad}".join(pairs) + pad + "}"
    indent, out = " " * depth, ""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        out += "\n" + dice.choice(["", "", f"{indent}# why\n", "\n\n"])
        out += f"{indent}- {pad}" if isinstance(tree, list) else f"{indent}{key}:{pad} "
        text = written(value, dice, depth + dice.choice([2, 3, 4]))
        out += text + dice.choice(["", "  # so", "  "]) if not text.startswith("\n") else text
    return out


@given(st.dictionaries(st.sampled_from(["x", "y"]), TREES, min_size=1), st.integers())
def test_any_tree_keeps_its_meaning_and_its_comments(tree, seed):
    data = written(tree, random.Random(seed)).encode() + b"\n"
    before = meaning(data)
    once = laid_out("x.yaml", data)
    assert laid_out("x.yaml", once) == once
    assert meaning(once) == before
    assert once.count(b"# why") == data.count(b"# why")
    assert not any(line.endswith(b" ") for line in once.splitlines())


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ("a: [ b,c ,d ]\n", "a: [b, c, d]\n"),
        ("a:   { b: c,d: e }  # x\n", "a:   {b: c, d: e}  # x\n"),
        ("a:\n    b: c\n    #why\n    d:\n    - e\n", "a:\n  b: c\n  # why\n  d:\n    - e\n"),
        ("a:\n  -   b: c\n      d: e\n", "a:\n  - b: c\n    d: e\n"),
        ("\n\na: b\n\n\n\nc: d\n\n", "a: b\n\nc: d\n"),
        ("a: {mac: 3C-28-6D-AA-01-10}\n", 'a: {mac: "3c:28:6d:aa:01:10"}\n'),
        ("mac: '3c286daa0110' # x\n", 'mac: "3c:28:6d:aa:01:10" # x\n'),
        ("mac: none\n", "mac: none\n"),
        ("note: see [b,c]\n", "note: see [b,c]\n"),
        ("a: [b,\n      c]\n", "a: [b,\n      c]\n"),
        ("x:\n     a: [b,\n         c]\n", "x:\n  a: [b,\n      c]\n"),
        # A comment within a list of several lines, and one behind everything.
        ("x:\n     a: [b,\n         # c\n         d]\n", "x:\n  a: [b,\n      # c\n      d]\n"),
        ("x:\n    a: b\n    # end\n", "x:\n  a: b\n  # end\n"),
        # Nothing behind a dash.
        ("a:\n     -\n     - b\n", "a:\n  -\n  - b\n"),
        # A MAC in a spelling of YAML's own stays as somebody wrote it.
        ('mac: "\\x33c286daa0110"\n', 'mac: "\\x33c286daa0110"\n'),
    ],
)
def test_a_layout(given_, expected):
    assert laid_out("x.yaml", given_.encode()).decode() == expected


@pytest.mark.parametrize("data", ['a: "x\n\n\n  y"\n', "a: |\n  x  \n\n\n  y\n"])
def test_a_text_whose_empty_lines_say_something_is_left_alone(data):
    with pytest.raises(Unchanged, match="without changing what it says"):
        laid_out("x.yaml", data.encode())


def test_a_table_gets_its_macs_and_its_line_ends():
    data = b'\xef\xbb\xbfid,mac,group\r\nT-001,3C286DAA0110,patients\r\n\r\n"T,2",3C286DAA0111,p\r\nT-3,bad\r\n'
    assert laid_out("tablets.csv", data).decode() == (
        'id,mac,group\nT-001,3c:28:6d:aa:01:10,patients\n"T,2",3C286DAA0111,p\nT-3,bad\n'
    )
    assert laid_out("x.csv", b"") == b""
    assert laid_out("x.csv", b"a,b\nmac, x\n") == b"a,b\nmac, x\n"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.yaml", b"a: [b\n"),
        ("x.yaml", b"# nothing\n"),
        ("x.csv", b"a,\xff\n"),
        ("x.yaml", b"a: b\na: c\n"),
    ],
)
def test_what_has_faults_is_left_alone(name, data):
    with pytest.raises(Unchanged):
        laid_out(name, data)
