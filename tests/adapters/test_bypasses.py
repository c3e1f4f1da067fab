"""What stands in no listing of nft is found where a real kernel has it."""

import asyncio
import subprocess
import uuid

import pytest

from netguard.adapters import bypasses
from tests.kernel import wire


@pytest.fixture
def namespace():
    name = f"ngb-{uuid.uuid4().hex[:6]}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(
            ["ip", "-n", name, "link", "add", "tab0", "type", "veth", "peer", "name", "up0"],
            check=True,
        )
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def look(namespace, proc=None):
    with wire.inside(namespace):
        return asyncio.run(bypasses.bypasses(*([proc] if proc else [])))


def test_a_plain_namespace_has_none(namespace, tmp_path):
    assert look(namespace, tmp_path) == []


def test_legacy_tables_are_named(namespace, tmp_path):
    (tmp_path / "ip_tables_names").write_text("filter\nnat\n")
    assert look(namespace, tmp_path) == ["legacy ip_tables: filter", "legacy ip_tables: nat"]


def test_what_cannot_be_looked_at_is_named(namespace, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert look(namespace, tmp_path) == ["XDP and tc: 'ip link show' fails"]
