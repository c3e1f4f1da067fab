"""A Debian of its own: debootstrapped once, copied for each run, entered by chroot, booted by systemd-nspawn.

Nothing of the machine around it changes: mounts live in a namespace, processes in a control group of
ours, and the booted one has the network namespace that it is given.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "system"
# What Ansible needs on the other side; all else is the role's to bring.
PACKAGES = "systemd,systemd-sysv,dbus,python3,python3-apt,iproute2,ca-certificates"
# Seconds until something that does not happen is a failure; not a measure.
PATIENCE = 120.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENVIRONMENT = {"PATH": _PATH, "LANG": "C.UTF-8", "HOME": "/root", "TERM": "dumb"}


def run(*words, check=True, timeout=600, **options):
    """Run a command to its end; a failure shows what it printed."""
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, errors="replace",
        timeout=timeout, check=False, stdin=subprocess.DEVNULL, **options,
    )  # fmt: skip
    if check and done.returncode:
        raise AssertionError(
            f"{words}: {done.returncode}\n{done.stdout[-6000:]}\n{done.stderr[-4000:]}"
        )
    return done


def await_(what, condition, patience=PATIENCE):
    """Wait until a condition holds; `what` names it when it never does. Returns what it returned."""
    end = monotonic() + patience
    while not (found := condition()):
        assert monotonic() < end, f"never happened: {what}"
        sleep(0.1)
    return found


def codename() -> str:
    """Return the release of this machine."""
    lines = Path("/etc/os-release").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)["VERSION_CODENAME"].strip('"')


# The Debian that is installed: this machine's, or the other one that netguard supports.
RELEASE = os.environ.get("NETGUARD_SYSTEM_RELEASE") or codename()
# Which Python 3 each has.
PYTHONS = {"bookworm": "11", "trixie": "13"}


def base() -> Path:
    """Return a tree with a minimal Debian; made once and kept in the cache."""
    release = RELEASE
    tree = CACHE / f"base-{release}"
    if tree.exists():
        return tree
    CACHE.mkdir(parents=True, exist_ok=True)
    mirror = run(
        "apt-get",
        "indextargets",
        "--format",
        "$(SITE)",
        "Created-By: Packages",
        "Codename: " + codename(),
    ).stdout.split()
    new = CACHE / f"base-{release}.new"
    shutil.rmtree(new, ignore_errors=True)
    words = ("debootstrap", "--variant=minbase", f"--include={PACKAGES}", release, new)
    run(*words, *mirror[:1], timeout=900)
    # It goes after the test: what a power cut would leave of it is of no interest.
    (new / "etc/dpkg/dpkg.cfg.d/unsafe-io").write_text("force-unsafe-io\n")
    for archive in (new / "var/cache/apt/archives").glob("*.deb"):
        archive.unlink()
    new.rename(tree)
    return tree


class Machine:
    """One copy of the tree: at first only entered, later booted, then stopped."""

    def __init__(self, folder: Path, name: str) -> None:
        self.tree, self.name = folder / "tree", name
        self.console = folder / "console"
        self._holder: subprocess.Popen | None = None
        self._spawned: subprocess.Popen | None = None
        self._leader = 0

    def make(self) -> None:
        """Copy the base and mount what a chroot needs, in a namespace that ends with us."""
        run("cp", "--archive", "--reflink=auto", base(), self.tree)
        shutil.copy("/etc/resolv.conf", self.tree / "etc/resolv.conf")
        self.enter()

    def enter(self) -> None:
        """Hold the namespaces of a chroot open."""
        words = (
            f"mount --bind {self.tree} {self.tree} && mount -t proc proc {self.tree}/proc && "
            f"mount -t tmpfs -o mode=755 run {self.tree}/run && mount --rbind /dev {self.tree}/dev && "
            "echo ready && exec sleep infinity"
        )
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "sh", "-c", words],
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        assert self._holder.stdout.readline() == b"ready\n"

    @property
    def words(self) -> list[str]:
        """Return the words that run a command inside."""
        if self._leader:
            return [
                "nsenter",
                "-t",
                str(self._leader),
                "-m",
                "-u",
                "-i",
                "-n",
                "-p",
                "-r",
                "-w",
                "--",
            ]
        child = _children(self._holder.pid)[0]
        return ["nsenter", "-t", str(child), "-m", "-p", "--", "chroot", str(self.tree)]

    def exec(self, *words, check=True, timeout=300):
        """Run a command inside."""
        return run(*self.words, *words, check=check, timeout=timeout, env=_ENVIRONMENT)

    def sh(self, script, check=True, timeout=300):
        """Run a line of shell inside and return what it printed."""
        return self.exec("sh", "-c", script, check=check, timeout=timeout).stdout

    def path(self, inside: str) -> Path:
        """Return a file of the tree; no link on the way is followed out of it."""
        return self.tree / inside.lstrip("/")

    def leave(self) -> None:
        """Let go of the chroot."""
        if self._holder is not None:
            _end(self._holder)
            self._holder.stdout.close()
            self._holder = None

    # booted

    def boot(self, namespace: str) -> None:
        """Let systemd be process 1 of it, in a network namespace that exists."""
        self.leave()
        words = [
            "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--as-pid2=no", f"--machine={self.name}",
            "--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=pipe", "--kill-signal=SIGRTMIN+3",
            f"--network-namespace-path=/run/netns/{namespace}", "--capability=CAP_NET_ADMIN", f"--directory={self.tree}",
            "--boot",
        ]  # fmt: skip
        words.remove("--as-pid2=no")
        # The namespace is the machine's own: so are its settings, as on a machine of metal.
        groups = [folder / f"netguard-{self.name}" for folder in _hierarchies()]
        for group in groups:
            group.mkdir(exist_ok=True)
        inside = " && ".join(
            f"echo $$ > {shlex.quote(str(group))}/cgroup.procs" for group in groups
        )
        with self.console.open("ab") as console:
            self._spawned = subprocess.Popen(
                ["sh", "-c", f'{inside} && exec "$@"', "sh", *words],
                stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT,
                start_new_session=True, env=_ENVIRONMENT | {"SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"},
            )  # fmt: skip
        self._leader = await_("process 1 of the machine", self._find_leader, 30)
        state = await_("systemd is up", self._is_up)
        assert state in {"running", "degraded"}, self.console.read_text(errors="replace")[-4000:]

    def _find_leader(self) -> int:
        assert self._spawned.poll() is None, self.console.read_text(errors="replace")[-4000:]
        for pid in _descendants(self._spawned.pid):
            with suppress(OSError):
                status = Path(f"/proc/{pid}/status").read_text()
                names = next(
                    line for line in status.splitlines() if line.startswith("NSpid:")
                ).split()
                if len(names) > 2 and names[-1] == "1":
                    return pid
        return 0

    def _is_up(self) -> str:
        state = self.exec("systemctl", "is-system-running", check=False).stdout.strip()
        return state if state in {"running", "degraded"} else ""

    def halt(self) -> None:
        """Let it shut down; killed when it does not."""
        if self._spawned is None:
            return
        self.exec("systemctl", "--no-block", "poweroff", check=False)
        try:
            self._spawned.wait(60)
        except subprocess.TimeoutExpired:
            if self._leader:
                os.kill(self._leader, signal.SIGKILL)
            _end(self._spawned)
        self._spawned, self._leader = None, 0
        for folder in _hierarchies():
            group = folder / f"netguard-{self.name}"
            for each in sorted(group.rglob("*"), reverse=True):
                if each.is_dir():
                    with suppress(OSError):
                        each.rmdir()
            with suppress(OSError):
                group.rmdir()

    def remove(self) -> None:
        """End all of it and take the tree away."""
        self.halt()
        self.leave()
        run("rm", "-rf", "--one-file-system", self.tree)

    def unit(self, name, what="ActiveState") -> str:
        """Return a property of a unit."""
        return self.exec("systemctl", "show", "--value", f"--property={what}", name).stdout.strip()

    # Ansible

    def play(self, playbook: Path, variables: Path, *flags, check=True):
        """Run a playbook on it; returns what ansible-playbook printed."""
        environment = {
            **_ENVIRONMENT,
            "ANSIBLE_CONFIG": str(ROOT / "deploy/ansible/ansible.cfg"),
            "ANSIBLE_CONNECTION_PLUGINS": str(Path(__file__).parent / "ansible_plugins"),
            "ANSIBLE_ROLES_PATH": str(ROOT / "deploy/ansible/roles"),
            "ANSIBLE_LOCAL_TEMP": str(self.console.parent / "ansible"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_LOG_PATH": str(self.console.parent / "ansible.log"),
            "HOME": str(self.console.parent),
        }
        inventory = self.console.parent / "hosts.yml"
        inventory.write_text(
            "netguard:\n  hosts:\n    appliance-1:\n      ansible_connection: tree\n      ansible_become: false\n"
            f"      tree_enter: {shlex.join(self.words)}\n      tree_root: {self.tree}\n"
        )
        words = ("ansible-playbook", "-i", inventory, "-e", f"@{variables}", *flags, playbook)
        return run(*words, env=environment, check=check, cwd=ROOT / "deploy/ansible", timeout=900)


def _hierarchies() -> list[Path]:
    """Return where systemd keeps its control groups on this machine: one tree, or the two of the hybrid."""
    top = Path("/sys/fs/cgroup")
    if (top / "cgroup.controllers").exists():
        return [top]
    return [each for each in (top / "systemd", top / "unified") if each.is_dir()]


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += [int(word) for word in task.read_text().split()]
    return found


def _descendants(pid: int) -> list[int]:
    found = []
    for child in _children(pid):
        found += [child, *_descendants(child)]
    return found


def _end(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


if __name__ == "__main__":
    sys.stdout.write(f"{base()}\n")
