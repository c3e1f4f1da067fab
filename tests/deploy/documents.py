"""What the operator pages tell people to type, and which of it is typed on another machine than the appliance."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
# All but the one on how the engine was measured.
PAGES = [page for page in sorted((ROOT / "docs").glob("*.md")) if page.name != "presence.md"]
PROGRAMS = (
    "netguard", "make", "systemctl", "systemd-analyze", "journalctl", "ansible-playbook", "git", "df", "ls", "ln", "rm",
    "sha256sum", "/opt/netguard/current/share/netguard/systemd/restore",
)  # fmt: skip
# A command by one of these would be looked at by nobody.
OTHER_PROGRAMS = (
    "apt", "apt-get", "cat", "chmod", "chown", "chronyc", "cp", "curl", "dig", "ethtool", "haproxy", "ip", "kill", "mv",
    "nft", "openssl", "ping", "python3", "radclient", "radmin", "scp", "sqlite3", "ss", "ssh", "sudo", "sysctl", "tail",
    "tar", "tcpdump", "wget",
)  # fmt: skip
# Commands that are whole with one word; of others a word alone is a name in a sentence.
ALONE = {
    "status",
    "doctor",
    "alerts",
    "unknown",
    "tablets",
    "denials",
    "version",
    "confirm",
    "history",
    "audit",
}
# By its first words: what is typed elsewhere, and the test that types it. All else is typed on an appliance, line by
# line, by tests/system/test_pages.py.
ELSEWHERE = {
    "cd deploy/ansible": "deploy/test_documents.py::test_a_command_of_a_page_can_be_typed",
    "git -C rules log": "deploy/test_documents.py::test_who_had_an_address_since_when_is_in_git",
    "make bundle": "system/conftest.py::appliance",
    "make setup": "deploy/test_documents.py::test_tests_begin_with_what_a_page_begins_with",
    "netguard init": "cli/test_first_folder.py::test_a_first_folder_is_made_by_asking_on_a_terminal",
    "netguard replay": "cli/test_replaying.py::test_a_difference_of_rules_is_what_alerts_change",
    "sha256sum --check": "system/test_pages.py::test_the_sum_of_the_bundle_is_right",
}
# The lines of Ansible by what they add to the first one, and the test that runs the playbook in that way.
PLAYS = {
    "": "test_a_second_run_changes_nothing",
    "--check": "test_check_mode_of_the_whole_role_changes_nothing",
    "netguard_bundle": "test_an_upgrade_and_a_roll_back_are_a_link_and_keep_what_is_known",
    "netguard_bundle --check": "test_an_upgrade_and_a_roll_back_are_a_link_and_keep_what_is_known",
    "netguard_state netguard_uninstall_confirm": (
        "test_a_restore_on_an_empty_machine_gives_the_same_answers_and_an_uninstallation_leaves_nothing"
    ),
    "netguard_version": "test_an_upgrade_and_a_roll_back_are_a_link_and_keep_what_is_known",
}
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_OTHER = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")


def commands() -> list[tuple[str, list[str]]]:
    """Return every command of every page: the page, and its words; in their order. Also those within a sentence."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for piece in re.split(r"(^```sh\n.*?^```$)", text, flags=re.MULTILINE | re.DOTALL):
            if block := _BLOCK.fullmatch(piece):
                lines = [line for line in block[1].splitlines() if line.strip()]
            else:
                lines = [
                    each
                    for each in spans(piece)
                    if re.match(rf"({'|'.join(PROGRAMS)}) [^ =]", each) and not each.endswith("-")
                ]
            for line in lines:
                # A shell runs both sides of it.
                found += [
                    (page.name, shlex.split(each, comments=True)) for each in line.split("&&")
                ]
    return found


def spans(text: str) -> list[str]:
    """Return what a page shows as code within a sentence."""
    return _INLINE.findall(_OTHER.sub("", text))


def is_a_name(words: list[str]) -> bool:
    """Say whether these are the name of a command in a sentence, with nothing of what it needs."""
    return words[0] == "netguard" and len(words) == 2 and words[1] not in ALONE


def elsewhere(words: list[str]) -> str | None:
    """Return the test that types a command on another machine than the appliance; None where that is the appliance."""
    line = " ".join(words)
    if words[0] == "ansible-playbook":
        added = [word.partition("=")[0] for word in words[4:] if word != "-e"]
        return f"system/test_appliance.py::{PLAYS[' '.join(added)]}"
    return next((test for start, test in ELSEWHERE.items() if line.startswith(start)), None)
