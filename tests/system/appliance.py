"""The appliance under test: how a playbook is run on it, who tries to get past it meanwhile, and who reads along."""

import json
import shutil
import tarfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from around import Around
from machine import ROOT, Machine, await_, run

SITE = ROOT / "deploy/ansible/playbooks/site.yml"
VAULT = "webhook-0123456789abcdef-vault"


def quiet(text):
    """Print progress where pytest captures it."""
    print(f"lab: {text}")


@dataclass
class Appliance:
    """The machine, the hospital around it, and what was seen while it was made."""

    machine: Machine
    lab: Around
    folder: Path
    bundle: Path
    rules: Path
    spare: Path
    secrets: list = field(default_factory=list)
    printed: dict = field(default_factory=dict)
    seen: dict = field(default_factory=dict)

    def play(self, name, *flags, machine=None, check=True, **variables):
        """Run the playbook; what it printed is kept for the search for secrets."""
        path = self.folder / "variables.yml"
        words = {
            "netguard_bundle": self.bundle, "netguard_rules": self.rules, "netguard_node": "appliance-1",
            "netguard_sites": "[pellegrin]", "netguard_radius_address": self.lab.record.nas_gateway,
            "netguard_listen_syslog": f"{self.lab.record.nas_gateway}:5514",
            "netguard_time_zone": self.lab.record.zone, "netguard_set_clock": "false",
            "netguard_radius_secrets": f"{{nas-wlc-1: {self.secrets[0]}}}",
            "netguard_prometheus": "local", "netguard_grafana": "true",
            "netguard_alert_receivers": "{operations: {webhook_configs: [{url: 'http://10.1.1.31:8080/hook'}]}}",
            "netguard_watch_secrets": f"{{webhook-security: {VAULT}}}",
            "netguard_listen_syslog_tls": f"{self.lab.record.nas_gateway}:6514", **self.certificate(), **variables,
        }  # fmt: skip
        path.touch(mode=0o600)
        path.write_text("".join(f"{key}: {value}\n" for key, value in words.items()))
        began = monotonic()
        with Sampler(self.secrets) as sampler:
            done = (machine or self.machine).play(SITE, path, "-vv", "--diff", *flags, check=check)
        quiet(f"play '{name}' {' '.join(flags)}: {monotonic() - began:.0f} s")
        self.printed[name] = done.stdout + done.stderr
        self.seen.setdefault("process list", []).extend(sampler.found)
        return done.stdout

    def certificate(self, name="first"):
        """Make a certificate of syslog over TLS, once by each name; return the variables that bring it."""
        key, made = self.folder / f"{name}.key", self.folder / f"{name}.crt"
        if not made.exists():
            run(
                "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-days", "3650", "-subj", f"/CN={name}", "-keyout", key, "-out", made,
            )  # fmt: skip
            self.secrets.append(key.read_text().splitlines()[1])
        return {
            "netguard_tls_certificate": json.dumps(made.read_text()),
            "netguard_tls_key": json.dumps(key.read_text()),
        }

    def netguard(self, *words, check=True):
        """Type a command on the appliance."""
        return self.machine.exec("netguard", *words, check=check)


class Sampler(threading.Thread):
    """Looks at every command line of this machine, again and again, for words that must not be there."""

    def __init__(self, secrets):
        super().__init__(daemon=True)
        self.wanted = [secret.encode() for secret in secrets]
        self.found, self.over = [], threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *error):
        self.over.set()
        self.join()

    def run(self):
        while not self.over.wait(0.5):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = path.read_bytes()
                except OSError:
                    continue
                self.found += [line for word in self.wanted if word in line]


class Intruder(threading.Thread):
    """A tablet that tries what it may not, as long as it is asked to; `through` is what got through."""

    def __init__(self, lab, host="t2"):
        super().__init__(daemon=True)
        self.lab, self.host = lab, host
        self.tried, self.through, self.over = 0, [], threading.Event()

    def __enter__(self):
        for host in ("pacs", "inet"):
            self.lab.counts(host, reset=True)
        self.start()
        return self

    def __exit__(self, *error):
        await_(
            "the intruder has tried at least twice", lambda: self.tried >= 2 or not self.is_alive()
        )
        self.over.set()
        self.join()

    def run(self):
        while not self.over.is_set():
            for target in ("10.10.0.5", "93.184.215.14"):
                said = self.lab.probe(self.host, "tcp", target, "443")
                self.through += [said] if said["ok"] else []
            self.tried += 1


def recap(printed):
    """Return the numbers of Ansible's last line."""
    line = next(
        line
        for line in printed.splitlines()
        if line.startswith("appliance-1") and "changed=" in line
    )
    return {
        key: int(value) for key, value in (word.split("=") for word in line.split() if "=" in word)
    }


def another(bundle, version, folder):
    """Return the same bundle under another version: what an upgrade brings is not the point here."""
    name = bundle.name.removesuffix(".tar.gz")
    with tarfile.open(bundle) as packed:
        packed.extractall(folder, filter="data") if hasattr(
            tarfile, "data_filter"
        ) else packed.extractall(folder)
    (folder / name).rename(folder / f"netguard-{version}")
    (folder / f"netguard-{version}" / "VERSION").write_text(f"{version}\n")
    made = folder / f"netguard-{version}.tar.gz"
    plain = folder / "plain.tar"
    run("tar", "-C", folder, "-cf", plain, f"netguard-{version}")
    run("gzip", "-1", plain)
    (folder / "plain.tar.gz").rename(made)
    shutil.rmtree(folder / f"netguard-{version}")
    return made
