"""The machine as /proc, the file system and the kernel show it: ports, settings, room, clock, programs.

Read only, for `netguard doctor`. What cannot be read is None or an error's own words, never a guess.
"""

import ctypes
import os
import pwd
import re
import shutil
import struct
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

_LISTEN, _UNCONNECTED = 0x0A, 0x07  # tcp_states.h; a bound UDP socket is in the second
_STA_UNSYNC = 0x40  # linux/timex.h
_TIME_ERROR = 5
_VERSION = re.compile(r"\b[vV]?(?:ersion )?(\d+)\.(\d+)(?:\.(\d+))?")
_SECRET = re.compile(r'(?m)^\s*secret\s*=\s*"?([^"\s#]*)"?')
_WEAK = frozenset({"testing123", "secret", "radius", "cisco", "password"})


@dataclass(frozen=True, slots=True)
class Listener:
    """One port that is listened on: `0.0.0.0` and `::` stand for every address."""

    protocol: str
    address: str
    port: int
    user: str


def listeners(proc: Path = Path("/proc/net")) -> list[Listener]:
    """Return what is listened on in this network namespace."""
    found = []
    for name in ("tcp", "tcp6", "udp", "udp6"):
        try:
            rows = (proc / name).read_text().splitlines()[1:]
        except OSError:
            continue
        wanted = _LISTEN if name.startswith("tcp") else _UNCONNECTED
        for row in rows:
            fields = row.split()
            if len(fields) > 7 and int(fields[3], 16) == wanted:
                address, _, port = fields[1].rpartition(":")
                found.append(
                    Listener(name[:3], _address(address), int(port, 16), _user(int(fields[7])))
                )
    return found


def _address(text: str) -> str:
    """Read an address as the kernel prints it: words of 32 bits in the machine's own order."""
    words = [int(text[at : at + 8], 16) for at in range(0, len(text), 8)]
    raw = struct.pack(f"={len(words)}I", *words)
    return str(IPv4Address(raw) if len(raw) == 4 else IPv6Address(raw))


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def sysctl(path: str, root: Path = Path("/proc/sys")) -> int | None:
    """Return a kernel setting that is a number; None where this kernel or namespace has none."""
    try:
        return int((root / path).read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


@dataclass(frozen=True, slots=True)
class Room:
    """What is free of a file system."""

    free: int
    size: int
    inodes: int
    inodes_of: int
    read_only: bool


def room(path: Path) -> Room:
    """Return the room where a path lies. Raises OSError."""
    seen = os.statvfs(path)
    return Room(
        seen.f_bavail * seen.f_frsize,
        seen.f_blocks * seen.f_frsize,
        seen.f_favail,
        seen.f_files,
        bool(seen.f_flag & os.ST_RDONLY),
    )


def kernel_clock() -> tuple[bool, float]:
    """Say whether the kernel's clock is synchronised, and how many seconds it may be off (adjtimex(2))."""
    buffer = ctypes.create_string_buffer(512)
    state = ctypes.CDLL(None).adjtimex(buffer)
    # struct timex: int modes; long offset, freq, maxerror, esterror; int status.
    word = struct.calcsize("l")
    (worst,) = struct.unpack_from("l", buffer.raw, 3 * word)
    (status,) = struct.unpack_from("i", buffer.raw, 5 * word)
    return state != _TIME_ERROR and not status & _STA_UNSYNC, worst / 1e6


def holder(lock: Path) -> int | None:
    """Return the process whose number a lock file holds, while it is alive."""
    try:
        pid = int(lock.read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError, IndexError):
        return None
    # The number may be somebody else's by now.
    return pid if b"netguard" in command and state not in "ZX" else None


def version(*words: str) -> tuple[int, ...] | None:
    """Return the version that a program prints; None where it is not there, () where it is not read."""
    path = "/usr/sbin:/usr/bin:/sbin:/bin"
    found = shutil.which(words[0], path=path)
    if found is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603  # a fixed program with fixed words
            [found, *words[1:]],
            capture_output=True,
            text=True,
            timeout=2.5,
            check=False,
            env={"PATH": path, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    match = _VERSION.search(done.stdout + done.stderr)
    return tuple(int(part) for part in match.groups() if part is not None) if match else ()


def ends_in(path: Path, now: datetime) -> float | str:
    """Return the days until the first certificate of a file ends, or why nobody knows."""
    from cryptography import x509  # noqa: PLC0415  # most nodes have none

    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        return error.strerror or str(error)
    except ValueError:
        return "is no certificate in PEM"
    first = min(each.not_valid_after_utc for each in found)
    return (first - now.astimezone(UTC)).total_seconds() / 86400


def secret(path: Path) -> tuple[str, str]:
    """Return what is wrong with the snippet of a RADIUS client, and what mends it; never the secret."""
    problem, mend = private(path)
    if problem:
        return problem, mend
    try:
        match = _SECRET.search(path.read_text())
    except (OSError, UnicodeDecodeError):
        return "cannot be read", "sudo netguard doctor"
    fresh = f'echo "secret = $(openssl rand -hex 24)" > {path}, the same on the NAS; restart netguard-radius'
    if match is None:
        return "holds no line 'secret = ...'", fresh
    if match[1].lower() in _WEAK:
        return "the secret is one that everybody knows", fresh
    if len(match[1]) < 16:
        return f"the secret has {len(match[1])} characters, less than 16", fresh
    return "", ""


def private(path: Path) -> tuple[str, str]:
    """Return what is wrong with who may read or write a file, and what mends it."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "is missing", "write it (docs/settings.md); FreeRADIUS does not start without it"
    except OSError as error:
        return error.strerror or str(error), "sudo netguard doctor"
    if mode & 0o007:
        return f"mode {mode & 0o777:04o}: everybody may read it", f"chmod o= {path}"
    if mode & 0o020:
        return f"mode {mode & 0o777:04o}: its group may write it", f"chmod g-w {path}"
    return "", ""


def radius_secret(path: Path) -> bytes | None:
    """Return the secret of a RADIUS client's snippet; None where it cannot be read."""
    try:
        match = _SECRET.search(path.read_text())
    except (OSError, UnicodeDecodeError):
        return None
    return match[1].encode() if match is not None and match[1] else None
