"""The only reader of YAML: text with places, and nothing that surprises."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netguard.rules import source
from netguard.rules.source import Entries, Items, Text, Unreadable, parse, read_bytes


def plain(node):
    match node:
        case Text(value):
            return value
        case Items(items):
            return [plain(item) for item in items]
        case Entries(values):
            return {key: plain(value) for key, value in values.items()}


def fault(data):
    (found,) = parse(data, "f").faults
    return found


texts = st.text(alphabet="abcdefghij0123456789:.- ", max_size=8)
trees = st.recursive(
    texts, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
)


@given(st.dictionaries(texts, trees, min_size=1, max_size=4))
def test_every_scalar_stays_the_text_that_was_written(tree):
    import json

    assert plain(parse(json.dumps(tree).encode(), "f").root) == tree


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_fail(data):
    read = parse(data, "f")
    assert all(found.level == "error" and found.file == "f" for found in read.faults)


@given(st.text(alphabet="[]{},:&*!|>'\"#- \n\tab", max_size=60))
def test_no_text_makes_the_reader_fail(text):
    read = parse(text.encode(), "f")
    assert read.root is None or not any(f.id == "depth" for f in read.faults)


def test_a_place_is_line_and_column_from_one():
    root = parse(b"a: 1\nb:\n  - x\n", "f").root
    assert root.values["b"].items[0] == Text("x", 3, 5)
    assert root.keys["b"] == Text("b", 2, 1)


@pytest.mark.parametrize(
    ("data", "id_", "text", "place"),
    [
        (b"a: [b, c\nd: e\n", "syntax", "expected ',' or ']', the '[' opened at line 1, column 4", (2, 2)),
        (b"a: [b, c", "syntax", "the '[' opened at line 1, column 4 is not closed", (1, 4)),
        (b"a: {b: c\n\n", "syntax", "expected ',' or '}', the '{' opened at line 1", (1, 4)),
        (b"a: 'b\n", "syntax", "a quoted value is not closed", (1, 4)),
        (b"a: b: c\n", "syntax", "a ':' is not expected here", (1, 5)),
        (b"a: b\nc\nd: e\n", "syntax", "expected ':' after this key", (3, 1)),
        (b"a: \x07\n", "syntax", "control character", (1, 1)),
        (b"a: %b\n", "syntax", "not readable as YAML", (1, 4)),
        (b"a: b\n\t# c\n", "syntax", "tab used as indent", (2, 1)),
        (b"\ta: b\n", "syntax", "tab used as indent", (1, 1)),
        (b"a: &x b\n", "syntax", "anchors and aliases", (1, 4)),
        (b"a: *x\n", "syntax", "anchors and aliases", (1, 4)),
        (b"a: !!int 1\n", "syntax", "tags such as 'tag:yaml.org,2002:int'", (1, 4)),
        (b"a: !include b\n", "syntax", "there is no include statement", (1, 4)),
        (b"a: b\n---\nc: d\n", "syntax", "second document", (2, 1)),
        (b"a: b\na: c\n", "duplicate-key", "key 'a' already written at line 1", (2, 1)),
        (b"<<: b\n", "syntax", "merge keys", (1, 1)),
        (b"[a, b]: c\n", "syntax", "a key is one word", (1, 1)),
        (b"a: " + b"[" * 40, "depth", "nested deeper than 32", (1, 35)),
        (b"a: b\n\xff", "not-utf8", "line 2: save it as UTF-8", (2, 1)),
        (b"\xff\xfea\x00", "not-utf8", "is UTF-16", (1, 1)),
        (b"a: b\nc: \x00", "not-utf8", "NUL byte", (2, 4)),
    ],
)  # fmt: skip
def test_a_fault_of_shape_has_its_words_and_its_place(data, id_, text, place):
    found = fault(data)
    assert found.id == id_
    assert text in found.text
    assert (found.line, found.column) == place


def test_a_byte_order_mark_and_windows_line_ends_are_accepted():
    assert plain(parse("\ufeff# x\na: b\r\n".encode(), "f").root) == {"a": "b"}


def test_a_file_of_too_many_values_is_refused(monkeypatch):
    monkeypatch.setattr(source, "MAX_NODES", 10)
    assert "more than 10 values" in fault(b"a: [" + b"x," * 20 + b"]").text


def test_a_line_that_is_not_there_is_empty():
    assert parse(b"a: b", "f").line(9) == ""


def test_a_file_is_read_up_to_its_limit_and_no_further(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_bytes(b"x" * 1024)
    assert read_bytes(tmp_path, file, "a.yaml", 1024) == b"x" * 1024
    with pytest.raises(Unreadable, match="is larger than 0 KiB"):
        read_bytes(tmp_path, file, "a.yaml", 1023)


def test_what_is_no_file_of_the_folder_is_not_read(tmp_path):
    inside = tmp_path / "rules"
    inside.mkdir()
    (tmp_path / "secret").write_text("x")
    (inside / "link.yaml").symlink_to(tmp_path / "secret")
    with pytest.raises(Unreadable, match="leads out of the rules folder"):
        read_bytes(inside, inside / "link.yaml", "link.yaml")
    os.mkfifo(inside / "fifo.yaml")
    with pytest.raises(Unreadable, match="is not a regular file"):
        read_bytes(inside, inside / "fifo.yaml", "fifo.yaml")
    (inside / "folder.yaml").mkdir()
    with pytest.raises(Unreadable, match="is not a regular file"):
        read_bytes(inside, inside / "folder.yaml", "folder.yaml")
    with pytest.raises(Unreadable, match="cannot be read: No such file"):
        read_bytes(inside, inside / "gone.yaml", "gone.yaml")
