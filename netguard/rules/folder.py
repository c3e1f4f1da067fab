"""The rules folder as bytes by name: read once, judged afterwards, sent or copied as it is.

Reading is apart from judging so that `apply` hands over exactly the bytes that were checked, and a
copy in force is judged by the same code as the folder an engineer edits.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from netguard.core.names import suggest
from netguard.errors import UsageError
from netguard.rules.findings import WARNING, Finding
from netguard.rules.source import Unreadable, read_bytes

FIXED = (
    "netguard.yaml",
    "sites.yaml",
    "protected.yaml",
    "groups.yaml",
    "tablets.yaml",
    "tablets.csv",
    "allotted.csv",
    "presence.yaml",
    "alerts.yaml",
    "feeds.yaml",
)
FOLDERS = ("services", "services/unverified", "services/feeds", "tests")
# The inventory grows with the fleet (10,000 tablets are about 1 MiB of CSV); rules do not.
MAX_CSV_BYTES = 16 * 1024 * 1024
MAX_FILES = 1000


@dataclass(frozen=True, slots=True)
class Folder:
    """The files of a rules folder; `name` is how messages call it."""

    name: str
    files: Mapping[str, bytes]
    faults: tuple[Finding, ...] = ()

    def shown(self, file: str) -> str:
        """Return the name of a file as messages give it."""
        return f"{self.name}/{file}" if self.name not in {"", "."} else file

    @property
    def digest(self) -> str:
        """Return the SHA-256 over all names and contents, independent of any order."""
        whole = hashlib.sha256()
        for file in sorted(self.files):
            content = hashlib.sha256(self.files[file]).hexdigest()
            whole.update(f"{file}\0{content}\n".encode())
        return whole.hexdigest()


def read_folder(path: Path, name: str | None = None) -> Folder:
    """Read every rule file below a folder; what cannot be read becomes a finding.

    Raises UsageError when the folder itself is missing or may not be read.
    """
    try:
        return _read_folder(path, name)
    except PermissionError as error:
        raise UsageError(f"{error.filename}: may not be read by this user") from error


def _read_folder(path: Path, name: str | None) -> Folder:
    if not path.exists():
        raise UsageError(f"{path}: no such folder; 'netguard init {path}' writes a first one")
    if not path.is_dir():
        raise UsageError(f"{path}: not a folder, give the folder that holds netguard.yaml")
    folder = Folder(name if name is not None else str(path).rstrip("/"), {})
    files: dict[str, bytes] = {}
    faults: list[Finding] = []
    for file in _candidates(path, folder, faults):
        limit = {"limit": MAX_CSV_BYTES} if file.endswith(".csv") else {}
        try:
            files[file] = read_bytes(path, path / file, folder.shown(file), **limit)
        except Unreadable as error:
            faults.append(error.finding)
            # Present but unreadable: an empty text keeps it from being reported as missing too.
            files[file] = b""
    return Folder(folder.name, files, tuple(faults))


def _candidates(path: Path, folder: Folder, faults: list[Finding]) -> list[str]:
    found = []
    for entry in sorted(path.iterdir()):
        if entry.name in FIXED or entry.suffix == ".csv":
            found.append(entry.name)
        elif entry.suffix in {".yaml", ".yml"}:
            hint = suggest(entry.name, FIXED) or f", names here: {', '.join(FIXED)}"
            faults.append(_unread(folder.shown(entry.name), f"is not a rule file{hint}"))
    for sub in FOLDERS:
        found.extend(_below(path, sub, folder, faults))
    if len(found) > MAX_FILES:
        raise UsageError(f"{path}: more than {MAX_FILES} rule files")
    return found


def _below(path: Path, sub: str, folder: Folder, faults: list[Finding]) -> list[str]:
    found = []
    for entry in sorted((path / sub).iterdir()) if (path / sub).is_dir() else ():
        if entry.suffix == ".yaml":
            found.append(f"{sub}/{entry.name}")
        elif entry.suffix in {".yml", ".json", ".csv"}:
            name = folder.shown(f"{sub}/{entry.name}")
            faults.append(_unread(name, "is not read, rule files end in .yaml"))
    return found


def _unread(name: str, text: str) -> Finding:
    return Finding(name, 0, 0, WARNING, "unknown-file", text)
