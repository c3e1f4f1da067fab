"""The settings of a node are read as strictly as the rules."""

from pathlib import Path

import pytest

from netguard.errors import UsageError
from netguard.rules.settings_file import check_settings, read_settings
from netguard.settings import MailServer, Settings

SMALL = "version: 1\nnode: appliance-1\nsites: [pellegrin]\n"


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "settings.yaml"
        path.write_text(text)
        return path

    return write


def test_a_small_file_gives_the_defaults(file):
    assert read_settings(file(SMALL)) == Settings("appliance-1", ("pellegrin",))


def test_who_takes_our_mail_and_where_the_runbook_is(file):
    text = (
        SMALL
        + 'mail: {server: "smtp.chu.example:587", sender: netguard@chu.example, user: netguard, '
        "password-file: mail-password}\nrunbook: https://wiki.chu.example/netguard\n"
    )
    settings = read_settings(file(text))
    assert settings.mail == MailServer(
        "smtp.chu.example", 587, "netguard@chu.example", "starttls", "netguard", "mail-password"
    )
    assert settings.runbook == "https://wiki.chu.example/netguard"
    for less in (
        text.replace(", password-file: mail-password", ""),
        text.replace("user:", "tls: none, user:"),
    ):
        with pytest.raises(UsageError, match="signs in with a password-file"):
            read_settings(file(less))
    with pytest.raises(UsageError, match="lacks a port"):
        read_settings(file(text.replace(":587", "")))


def test_every_key_is_read(file):
    keys = (
        "rules",
        "state",
        "run",
        "radius",
        "radius-log",
        "radius-control",
        "radius-secrets",
        "dhcp",
    )
    paths = "".join(f"  {key}: /x/{key}\n" for key in keys)
    users = "".join(f"  {key}: u-{key}\n" for key in ("guard", "dns", "watch", "radius", "dhcp"))
    text = f"{SMALL}paths:\n{paths}users:\n{users}listen: {{web: '[::1]:9000'}}\n"
    read = read_settings(file(text))
    assert (read.web_host, read.web_port) == ("::1", 9000)
    for key in keys:
        assert getattr(read.paths, key.replace("-", "_")) == Path(f"/x/{key}")
    assert read.users.dhcp == "u-dhcp"
    assert read.guard_socket == Path("/x/run/guard.sock")


def test_no_control_socket_is_an_empty_one(file):
    assert read_settings(file(SMALL + "paths: {radius-control: ''}\n")).paths.radius_control is None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("node: appliance-1", "nodes: a", ":2:1: error: unknown key 'nodes', did you mean 'node'?"),
        ("node: appliance-1\n", "", ":1:1: error: key 'node' is missing here"),
        ("version: 1", "version: 2", "'2' is not a word for 'version', write 1"),
        ("[pellegrin]", "[]", ":3:8: error: no site"),
        ("[pellegrin]", "[a, a]", ":3:12: error: site 'a' is named twice"),
        ("[pellegrin]", "[A]", "'A' is not a name"),
        ("[pellegrin]", "[a]\npaths: {run: run}", "'run' is not an absolute path"),
        ("[pellegrin]", "[a]\npaths: {run: /a/../b}", "is not an absolute path"),
        ("[pellegrin]", "[a]\npaths: {runn: /a}", "unknown key 'runn', did you mean 'run'?"),
        ("[pellegrin]", "[a]\nusers: {dns: Root}", "'Root' is not the name of a system user"),
        ("[pellegrin]", "[a]\nusers: {dns: u, dhcp: u}", "user 'u' is already that of 'dns'"),
        ("[pellegrin]", "[a]\nlisten: {web: 127.0.0.1}", "lacks a port, write 127.0.0.1:9869"),
        ("[pellegrin]", "[a]\nlisten: {web: '127.0.0.1:0'}", "port 0 is out of range, 1 to 65535"),
        ("[pellegrin]", "[a]\nlisten: {web: 'localhost:80'}", "'localhost' is not an IP address"),
        ("[pellegrin]", "[a]\nlisten: {web: '::1:80'}", "write IPv6 in brackets, [::1]:80"),
        (SMALL, "", "no settings in this file; docs/settings.md lists the keys"),
        (
            SMALL,
            "- a\n",
            "expected keys at the top (listen, mail, node, paths, runbook, service-manager, sites, speed, users, version)",
        ),
        (SMALL, "a: [\n", "is not closed"),
    ],
)
def test_a_fault_is_told_with_its_place(file, old, new, said):
    path = file(SMALL.replace(old, new))
    (found,) = check_settings(path)
    assert said in found.render()
    with pytest.raises(UsageError) as caught:
        read_settings(path)
    assert caught.value.args == (found.render(),)


def test_all_faults_come_at_once(file):
    path = file("version: 1\nnode: A\nsites: [B]\nlisten: {web: x}\n")
    with pytest.raises(UsageError) as caught:
        read_settings(path)
    assert [line.split(":")[1] for line in str(caught.value).splitlines() if "error" in line] == [
        "2", "3", "4",
    ]  # fmt: skip


def test_the_file_may_be_a_link_but_must_be_a_file(file, tmp_path):
    link = tmp_path / "link.yaml"
    link.symlink_to(file(SMALL))
    assert check_settings(link) == []
    with pytest.raises(UsageError, match=r"no such settings file; docs/settings\.md shows one"):
        check_settings(tmp_path / "nothing.yaml")
    with pytest.raises(UsageError, match="is not a regular file"):
        read_settings(tmp_path)


def test_the_document_names_every_key():
    document = (Path(__file__).parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")
    for group, keys in (("paths", Settings("a", ()).paths), ("users", Settings("a", ()).users)):
        for key in keys.__slots__:
            shown = f"`{group}.{key.replace('_', '-')}`"
            assert shown in document
            default = getattr(keys, key)
            assert default is None or f"`{default}`" in document


@pytest.mark.parametrize(
    ("line", "wanted"), [("", "none"), ("service-manager: systemd\n", "systemd")]
)
def test_units_are_restarted_by_whom_the_settings_name(tmp_path, line, wanted):
    path = tmp_path / "settings.yaml"
    path.write_text(SMALL + line)
    assert read_settings(path).service_manager == wanted


def test_how_fast_a_lab_goes_is_a_number_of_seconds(file):
    assert read_settings(file(SMALL + "speed: 60\n")).speed == 60
    with pytest.raises(UsageError, match="speed"):
        read_settings(file(SMALL + "speed: 0\n"))
