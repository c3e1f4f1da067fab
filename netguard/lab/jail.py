"""How a program runs on a host of the lab, and how it is found again and ended.

A host is a network namespace. A program gets a mount namespace of its own besides, so that what is
mounted for it vanishes with it: the code, which may lie below a folder that others cannot enter,
and the host's resolv.conf. Every process of a lab, and every child of one, carries the lab's token
in its environment: only those are ever ended, by a pidfd, so that a reused number hits nobody.
"""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple

from netguard.errors import NetguardError
from netguard.lab.layout import Layout

TOKEN = "NETGUARD_LAB_TOKEN"  # noqa: S105  # the name of a variable
CODE = Path(__file__).resolve().parents[2]
PATIENCE = 10.0
_children: set[int] = set()

# Mounts are private to this process: nothing is seen, and nothing left, outside.
_INSIDE = """\
set -eu
mount --bind "$NG_CODE" "$NG_LAB/code"
mount -o remount,bind,ro "$NG_LAB/code"
mount --bind "$NG_VENV" "$NG_LAB/venv"
mount -o remount,bind,ro "$NG_LAB/venv"
resolv=$(readlink -f /etc/resolv.conf || true)
if [ -n "$NG_RESOLV" ] && [ -f "$resolv" ]; then mount --bind "$NG_RESOLV" "$resolv"; fi
if [ -n "$NG_FD" ]; then exec 3<&"$NG_FD"; fi
unset NG_CODE NG_VENV NG_RESOLV NG_FD NG_LAB
exec "$@"
"""


class Identity(NamedTuple):
    """A process, told apart from a later one with the same number."""

    pid: int
    start: int


@dataclass(frozen=True, slots=True)
class Program:
    """What runs, as whom, and what it may do."""

    name: str
    host: str
    argv: tuple[str, ...]
    user: str = "root"
    group: str = ""
    # A group whose files it may read beside its own.
    reads: str = ""
    capabilities: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    listen: int | None = None


def python(layout: Layout) -> str:
    """Return the interpreter as a jailed process sees it."""
    return str(layout.folder / "venv" / "bin" / "python")


def module(layout: Layout, name: str, *words: str) -> tuple[str, ...]:
    """Return the words that run one of our modules inside."""
    return (python(layout), "-m", name, *words)


def command(layout: Layout, host: str, argv: Sequence[str]) -> list[str]:
    """Return the words that run a command on a host, as root."""
    namespace = f"/run/netns/{layout.namespace(host)}"
    return [
        "nsenter", f"--net={namespace}", "--",
        "unshare", "--mount", "--propagation", "private", "--",
        "bash", "-c", _INSIDE, "netguard-lab", *argv,
    ]  # fmt: skip


def environment(
    layout: Layout, token: str, host: str, more: Mapping[str, str], listen: int | None = None
) -> dict[str, str]:
    """Return the environment that `command` needs, the token among it."""
    resolv = layout.resolv(host)
    return {
        "PATH": f"{layout.folder}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "HOME": "/",
        "PYTHONPATH": str(layout.folder / "code"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "NETGUARD_SETTINGS": str(layout.settings),
        TOKEN: token,
        "NG_LAB": str(layout.folder),
        "NG_CODE": str(CODE),
        "NG_VENV": sys.prefix,
        "NG_RESOLV": str(resolv) if resolv.exists() else "",
        "NG_FD": "" if listen is None else str(listen),
        **more,
    }


def spawn(layout: Layout, token: str, program: Program) -> Identity:
    """Start a program that outlives us; what it prints goes to its log."""
    argv = [*_privileges(program), *program.argv]
    keep = () if program.listen is None else (program.listen,)
    with layout.log(program.name).open("ab") as log:
        started = subprocess.Popen(
            command(layout, program.host, argv),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment(layout, token, program.host, program.environment, program.listen),
            pass_fds=keep,
            start_new_session=True,
            cwd="/",
        )
    # It is meant to outlive this object; `_reap` takes it when it ends while we are its parent.
    started.returncode = 0
    _children.add(started.pid)
    identity = Identity(started.pid, start_of(started.pid) or 0)
    layout.pid_file(program.name).write_text(f"{identity.pid} {identity.start}\n")
    return identity


def _privileges(program: Program) -> list[str]:
    if program.user == "root":
        return []
    capabilities = ",".join(f"+{name}" for name in program.capabilities)
    words = ["setpriv", f"--reuid={program.user}", f"--regid={program.group or program.user}"]
    words.append(f"--groups={program.reads}" if program.reads else "--clear-groups")
    kept = f"-all{',' + capabilities if capabilities else ''}"
    words += [f"--inh-caps={kept}", f"--ambient-caps={kept}", f"--bounding-set={kept}"]
    return [*words, "--no-new-privs", "--"]


def recorded(layout: Layout, process: str) -> Identity | None:
    """Return the process of that name if it is alive and still the one that was started."""
    try:
        pid, start = map(int, layout.pid_file(process).read_text().split())
    except (OSError, ValueError):
        return None
    return Identity(pid, start) if start_of(pid) == start else None


def start_of(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None when it is gone or a zombie."""
    try:
        # The name is in parentheses and may hold anything, so count from the last one.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def belonging(token: str) -> Iterator[int]:
    """Yield the processes that carry this token."""
    wanted = f"{TOKEN}={token}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError):
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                yield int(entry.name)


def send(token: str, pid: int, number: int) -> bool:
    """Signal a process of this lab; False when it is not one (any more)."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        # From here on the number cannot be reused under us: look once more, then signal.
        if f"{TOKEN}={token}".encode() not in Path(f"/proc/{pid}/environ").read_bytes().split(
            b"\0"
        ):
            return False
        signal.pidfd_send_signal(descriptor, number)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)


_EMPTY_LOOKS = 5


def end_all(token: str) -> None:
    """End every process of a lab: asked first, then killed."""
    for number, patience in ((signal.SIGTERM, 3.0), (signal.SIGKILL, PATIENCE)):
        end = monotonic() + patience
        for pid in list(belonging(token)):
            send(token, pid, number)
        empty = 0
        # A process in the middle of an exec has no environment for a moment: nobody is left only
        # when nobody was seen several times in a row.
        while empty < _EMPTY_LOOKS:
            if monotonic() > end:
                break
            sleep(0.02)
            _reap()
            left = any(start_of(pid) is not None for pid in belonging(token))
            empty = 0 if left else empty + 1
            if left:
                for pid in list(belonging(token)):
                    send(token, pid, number)
        else:
            return
    raise NetguardError("processes of the lab cannot be ended, not even by SIGKILL")


def gone(identity: Identity, patience: float = PATIENCE) -> bool:
    """Wait until a process has ended, all its threads and all it held open."""
    try:
        descriptor = os.pidfd_open(identity.pid)
    except OSError:
        return True
    try:
        # A process is a zombie as soon as its first thread has ended; others may hold its ports still.
        # The pidfd becomes readable when the last one is gone.
        waiting = select.poll()
        waiting.register(descriptor, select.POLLIN)
        ended = start_of(identity.pid) not in {identity.start, None} or bool(
            waiting.poll(patience * 1000)
        )
    finally:
        os.close(descriptor)
    _reap()
    return ended


def _reap() -> None:
    # Only where this process started the lab itself: otherwise init does it.
    for pid in list(_children):
        try:
            ended = os.waitpid(pid, os.WNOHANG)[0] == pid
        except ChildProcessError:
            ended = True
        if ended:
            _children.discard(pid)
