"""Files of secrets: made closed, given to their group, swapped by rename. No content is ever logged."""

import grp
import os
import secrets
import stat
from pathlib import Path

from netguard.errors import UsageError

# Beyond what any controller takes; a file that is longer is none of ours.
_MOST = 4096


def new() -> str:
    """Return a new secret: 192 bits as hexadecimal digits, which every controller takes."""
    return secrets.token_hex(24)


def write(path: Path, text: str, group: str) -> None:
    """Bring a file to this content, 0640, root and the group of its reader.

    Raises UsageError where the group is missing or nobody but root may do that.
    """
    try:
        gid = grp.getgrnam(group).gr_gid
    except KeyError:
        raise UsageError(f"no group '{group}' on this machine: netguard is not installed") from None
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                os.fchown(file.fileno(), -1, gid)
                os.fchmod(file.fileno(), 0o640)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            beside.rename(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}; as root?") from error


def read(path: Path) -> str:
    """Return what a file holds. Raises UsageError."""
    try:
        with path.open("rb") as file:
            data = file.read(_MOST + 1)
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UsageError(f"{path}: cannot be read: {why}") from error
    if len(data) > _MOST:
        raise UsageError(f"{path}: longer than {_MOST} bytes, that is no secret")
    return text


def look(path: Path, group: str) -> tuple[str, float | None]:
    """Return how a file is (`ok`, `missing`, or what is wrong), and when it was written."""
    try:
        seen = path.stat()
    except FileNotFoundError:
        return "missing", None
    except OSError as error:
        return f"unreadable: {error.strerror}", None
    if seen.st_mode & (stat.S_IRWXO | stat.S_IWGRP):
        return f"others may use it, run: chmod 0640 {path}", seen.st_mtime
    try:
        wrong = seen.st_gid != grp.getgrnam(group).gr_gid
    except KeyError:
        wrong = True
    if wrong:
        return f"its reader cannot read it, run: chgrp {group} {path}", seen.st_mtime
    return "ok", seen.st_mtime
