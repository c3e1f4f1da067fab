"""The role makes an appliance that works under systemd: admits, fences, survives, is upgraded, restored, removed."""

import json
import re
import shlex
import shutil

import pytest
from appliance import Intruder, another, recap
from machine import Machine, await_, run

TAGS = ("--tags", "netguard_configure,netguard_run")
UNITS = ("guard", "dns", "watch", "radius", "dhcp", "time")


def invocations(appliance):
    """Return which start of each unit runs."""
    return {unit: appliance.machine.unit(f"netguard-{unit}", "InvocationID") for unit in UNITS}


def plan(appliance):
    """Return the digest of the plan in force, whatever a test before has just started anew."""
    return json.loads(appliance.netguard("status", "--json", check=False).stdout)["guard"]["plan"]


def works(lab, tablet="t1"):
    """Say whether a tablet's video call gets through."""
    return lab.probe(tablet, "tcp", "zoom.us", "443")["ok"]


@pytest.mark.parametrize("name", ["lies there, again", "booted, again"])
def test_a_second_run_changes_nothing(appliance, name):
    told = recap(appliance.printed[name])
    assert (told["changed"], told["failed"]) == (0, 0), appliance.printed[name][-4000:]
    first = recap(appliance.printed[name.removesuffix(", again")])
    assert first["changed"] > 0


def test_check_mode_of_the_whole_role_changes_nothing(appliance):
    machine = appliance.machine
    machine.sh("touch /run/before-check")
    told = recap(appliance.play("check mode, whole", "--check"))
    assert (told["changed"], told["failed"]) == (0, 0), appliance.printed["check mode, whole"][
        -4000:
    ]
    assert machine.sh("find /etc /opt /usr -xdev -newer /run/before-check") == ""


def test_nothing_passes_before_there_are_rules_and_no_link_is_up(appliance):
    seen = appliance.seen["at first"]
    assert "blocked, no plan in force" in seen
    assert "policy drop" in seen
    assert "tab0" in seen
    assert "DOWN" in seen


def test_the_blocked_table_stands_before_any_link(appliance):
    times = appliance.seen["boot"]
    assert 0 < times["netguard-blocked"] <= times["network-pre.target"] <= times["netguard-guard"]
    assert "netguard-blocked.service" in appliance.machine.unit("network-pre.target", "After")


def test_every_unit_works_and_systemd_has_nothing_to_say_of_them(appliance):
    machine = appliance.machine
    assert {machine.unit(f"netguard-{unit}") for unit in UNITS} == {"active"}
    assert machine.sh("systemctl --failed --no-legend") == ""
    names = machine.sh(
        "ls /etc/systemd/system/netguard-*.service /etc/systemd/system/netguard-*.timer"
    ).split()
    assert len(names) == 10
    done = machine.exec("systemd-analyze", "verify", *names)
    assert done.stdout + done.stderr == ""
    assert machine.unit("netguard-guard", "StatusText") == "guarding 150 tablets"


@pytest.mark.parametrize(
    ("unit", "capabilities"),
    [
        ("guard", {"cap_net_admin"}),
        ("dns", {"cap_net_admin", "cap_net_bind_service"}),
        ("watch", set()),
        ("radius", set()),
    ],
)
def test_a_process_has_the_rights_it_needs_and_no_other(appliance, unit, capabilities):
    machine = appliance.machine
    pid = machine.unit(f"netguard-{unit}", "MainPID")
    status = dict(
        line.split(":\t", 1)
        for line in machine.sh(f"cat /proc/{pid}/status").splitlines()
        if ":\t" in line
    )
    bits = {"cap_net_bind_service": 1 << 10, "cap_net_admin": 1 << 12}
    wanted = sum(bits[name] for name in capabilities)
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == wanted
    assert status["NoNewPrivs"] == "1"
    assert machine.sh(f"id -un {status['Uid'].split()[0]}").strip() == f"netguard-{unit}"


def test_the_exposure_of_a_unit_that_runs_is_at_most_two(appliance):
    """With all that the role adds to it, by the systemd of this Debian."""
    rows = appliance.machine.sh(
        "systemd-analyze security --no-pager | grep ^netguard-"
    ).splitlines()
    levels = {row.split()[0].removesuffix(".service"): float(row.split()[1]) for row in rows}
    assert levels.keys() >= {f"netguard-{unit}" for unit in UNITS}
    assert {name: level for name, level in levels.items() if level > 2.0} == {}


def test_a_tablet_is_admitted_and_fenced(appliance):
    lab = appliance.lab
    assert works(lab)
    assert not lab.probe("t1", "tcp", "10.10.0.5", "443")["ok"]
    assert not lab.probe("t1", "tcp", "93.184.215.14", "443")["ok"]
    assert lab.join("stranger")["answer"] == "reject"
    await_(
        "nothing is wrong",
        lambda: "wrong      nothing" in appliance.netguard("status", check=False).stdout,
    )


def test_a_changed_rule_is_shown_in_check_mode_and_restarts_nothing(appliance):
    tablets = appliance.rules / "tablets.csv"
    text = tablets.read_text()
    started, before = invocations(appliance), plan(appliance)
    last = text.splitlines()[-1]
    id_, mac = last.split(",")[0], next(word for word in last.split(",") if word.count(":") == 5)
    try:
        tablets.write_text(text.replace(mac, "00:1b:63:00:00:42"))
        shown = appliance.play("check mode", "--check", *TAGS)
        assert id_ in shown
        assert "00:1b:63:00:00:42" in shown
        assert plan(appliance) == before
        told = recap(appliance.play("a changed rule", *TAGS))
        # The folder, the comparison, the apply.
        assert (told["changed"], told["failed"]) == (3, 0), appliance.printed["a changed rule"][
            -3000:
        ]
        assert plan(appliance) != before
        assert invocations(appliance) == started
        assert '"by": "ansible"' in appliance.netguard("history", "--json").stdout
    finally:
        tablets.write_text(text)
        appliance.netguard("rollback", check=False)
    assert plan(appliance) == before


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda text: text + "nonsense: 1\n", "nonsense"),
        (lambda text: text.replace("zoom, ", ""), "failed: a patient signs in to Zoom"),
    ],
    ids=["a wrong key", "a case that fails"],
)
def test_rules_with_a_fault_stop_the_run_and_change_nothing(appliance, fault, words):
    before = appliance.netguard("history", "--json").stdout
    folder = appliance.machine.sh("find /etc/netguard/rules -type f -exec sha256sum {} + | sort")
    groups = appliance.rules / "groups.yaml"
    text = groups.read_text()
    try:
        groups.write_text(fault(text))
        told = appliance.play(f"a fault: {words}", *TAGS, check=False)
    finally:
        groups.write_text(text)
    assert words in told
    assert recap(told)["failed"] == 1
    assert appliance.netguard("history", "--json").stdout == before
    assert (
        appliance.machine.sh("find /etc/netguard/rules -type f -exec sha256sum {} + | sort")
        == folder
    )


def test_wrong_variables_are_refused_before_anything_is_done(appliance):
    told = appliance.play("wrong", check=False, netguard_radius_auth_port="radius")
    assert "netguard_radius_auth_port" in told
    assert recap(told)["changed"] == 0


@pytest.mark.parametrize("unit", ["guard", "dns", "watch"])
def test_a_hung_daemon_is_killed_and_comes_back_and_nothing_passes_wrongly(appliance, unit):
    machine, name = appliance.machine, f"netguard-{unit}"
    machine.sh(f"mkdir -p /run/systemd/system/{name}.service.d")
    machine.sh(
        f"printf '[Service]\\nWatchdogSec=3\\n' > /run/systemd/system/{name}.service.d/quick.conf && "
        f"systemctl daemon-reload && systemctl restart {name}"
    )
    try:
        pid = machine.unit(name, "MainPID")
        with Intruder(appliance.lab) as intruder:
            machine.sh(f"kill -STOP {pid}")
            await_(
                f"{name} runs again",
                lambda: (
                    machine.unit(name) == "active"
                    and machine.unit(name, "MainPID") not in {pid, "0"}
                ),
            )
        assert intruder.through == []
        assert (
            "watchdog"
            in machine.sh(f"journalctl -u {name} -b --no-pager | grep -i watchdog").lower()
        )
        await_("a call gets through", lambda: works(appliance.lab))
    finally:
        machine.sh(
            f"rm -r /run/systemd/system/{name}.service.d && systemctl daemon-reload && systemctl restart {name}"
        )


def test_stopped_units_leave_the_fence_standing(appliance):
    machine = appliance.machine
    try:
        with Intruder(appliance.lab) as intruder:
            machine.exec("systemctl", "stop", "netguard-guard", "netguard-dns", "netguard-blocked")
            assert "table inet netguard" in machine.sh("nft list tables")
            assert "unreachable" in machine.sh("ip rule")
            # FreeRADIUS answers without guard.
            assert appliance.lab.join("t3")["answer"] == "accept"
        assert intruder.through == []
    finally:
        machine.exec("systemctl", "start", "netguard-blocked", "netguard-guard", "netguard-dns")
    await_("a call gets through", lambda: works(appliance.lab))


def test_reloading_is_told_to_systemd(appliance):
    started = invocations(appliance)
    for unit in ("guard", "dns", "watch", "radius", "dhcp"):
        appliance.machine.exec("systemctl", "reload", f"netguard-{unit}")
    assert {appliance.machine.unit(f"netguard-{unit}") for unit in UNITS} == {"active"}
    assert invocations(appliance) == started
    assert works(appliance.lab)


def test_guard_may_restart_the_units_beside_it_and_no_other(appliance):
    def as_guard(verb, unit):
        words = (
            "setpriv",
            "--reuid=netguard-guard",
            "--regid=netguard-guard",
            "--clear-groups",
            "--",
        )
        return appliance.machine.exec(
            *words, "systemctl", "--no-ask-password", verb, unit, check=False
        ).returncode

    assert as_guard("restart", "netguard-time.service") == 0
    assert as_guard("stop", "netguard-time.service") != 0
    assert as_guard("restart", "netguard-watch.service") != 0
    assert as_guard("restart", "systemd-journald.service") != 0


def test_prometheus_reads_us_and_knows_our_alerts_and_whom_to_tell(appliance):
    machine = appliance.machine

    def asked(port, path):
        code = f"import urllib.request as r; print(r.urlopen('http://127.0.0.1:{port}{path}', timeout=10).read().decode())"
        done = machine.exec("/opt/netguard/current/bin/python", "-c", code, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else {}

    def up():
        found = (
            asked(9090, "/api/v1/query?query=up%7Bjob%3D%22netguard%22%7D")
            .get("data", {})
            .get("result", [])
        )
        return bool(found) and found[0]["value"][1] == "1"

    await_("Prometheus has read us", up)
    groups = asked(9090, "/api/v1/rules")["data"]["groups"]
    names = {rule["name"] for group in groups for rule in group["rules"]}
    assert "NetguardWatchdog" in names
    told = asked(9093, "/api/v2/status")["config"]["original"]
    # Debian 13's says `<secret>` where a URL is.
    assert "webhook_configs" in told
    assert "http://10.1.1.31:8080/hook" in machine.sh("cat /etc/prometheus/alertmanager.yml")
    assert "NetguardTablet" in told
    boards = machine.sh("ls /var/lib/grafana/dashboards/netguard").split()
    assert len(boards) == 4


def test_a_new_certificate_is_brought_by_a_reload(appliance):
    def shown():
        code = f"import ssl; print(ssl.get_server_certificate(('{appliance.lab.record.nas_gateway}', 6514)).strip())"
        return appliance.machine.exec("/opt/netguard/current/bin/python", "-c", code).stdout.strip()

    secrets, started = ("--tags", "netguard_secrets"), invocations(appliance)
    assert shown() == json.loads(appliance.certificate()["netguard_tls_certificate"]).strip()
    try:
        newer = appliance.certificate("second")
        told = recap(appliance.play("a newer certificate", *secrets, **newer))
        # The certificate with its key, that watch is older than it, and the reload.
        assert (told["changed"], told["failed"]) == (3, 0)
        assert shown() == json.loads(newer["netguard_tls_certificate"]).strip()
    finally:
        appliance.play("the certificate from before", *secrets)
    assert invocations(appliance) == started


def test_old_records_go_and_the_nightly_copy_waits(appliance):
    machine = appliance.machine
    rule = machine.sh("grep -v '^#' /etc/tmpfiles.d/netguard-keeping.conf").split()
    assert rule == ["e", "/var/log/netguard/radius", "-", "-", "-", "14d"]
    assert "MaxRetentionSec=180day" in machine.sh(
        "systemd-analyze cat-config systemd/journald.conf"
    )
    # What systemd-tmpfiles makes of that line, in a folder of its own: no file can be made to have been made long ago.
    machine.sh(
        "mkdir -p /run/kept && cd /run/kept && touch events-20200101.log && touch -d tomorrow events-20200116.log && sleep 2 && "
        "sed 's|/var/log/netguard/radius|/run/kept|; s/14d/1s/' /etc/tmpfiles.d/netguard-keeping.conf > /run/kept.conf && "
        "systemd-tmpfiles --clean /run/kept.conf"
    )
    assert machine.sh("ls /run/kept; rm -r /run/kept /run/kept.conf") == "events-20200116.log\n"
    for timer in ("systemd-tmpfiles-clean.timer", "netguard-backup.timer"):
        assert machine.unit(timer) == "active"
    assert "*-*-* 03:20:00" in machine.unit("netguard-backup.timer", "TimersCalendar")


def test_a_rotated_secret_costs_one_restart_and_no_admission(appliance):
    machine, lab = appliance.machine, appliance.lab
    before = invocations(appliance)
    told = appliance.netguard("secrets", "rotate", "nas-wlc-1").stdout
    try:
        assert "restarted" in told
        after = invocations(appliance)
        assert {unit for unit in UNITS if after[unit] != before[unit]} == {"radius"}
        shown = appliance.netguard("secrets", "show", "nas-wlc-1").stdout.strip()
        assert shown not in {appliance.secrets[0], ""}
        assert shown not in told
        appliance.secrets.append(shown)
        assert appliance.netguard("secrets", "list").returncode == 0
        # The old one is worth nothing any more.
        assert lab.join("t3")["answer"] != "accept"
    finally:
        secret = machine.path("/etc/netguard/secret-before")
        machine.exec("install", "-m", "600", "/dev/null", "/etc/netguard/secret-before")
        secret.write_text(appliance.secrets[0])
        appliance.netguard(
            "secrets", "rotate", "nas-wlc-1", "--from", "/etc/netguard/secret-before"
        )
        secret.unlink()
    await_("the controller is answered again", lambda: lab.join("t3")["answer"] == "accept")


def test_an_upgrade_and_a_roll_back_are_a_link_and_keep_what_is_known(appliance):
    appliance.netguard("tablet", "T-009", "stolen", "--note", "upgrade")
    before = json.loads(appliance.netguard("status", "--json").stdout)["guard"]
    old = str(appliance.machine.path("/opt/netguard/current").readlink())
    work = appliance.folder / "next"
    work.mkdir()
    newer = another(appliance.bundle, "9.9.9", work)
    try:
        told = appliance.play("upgrade, looked at", "--check", netguard_bundle=newer)
        assert "netguard 9.9.9 is not installed here" in told
        assert (recap(told)["changed"], recap(told)["failed"]) == (0, 0)
        back = {"netguard_bundle": newer, "netguard_version": old.rpartition("/")[2]}
        for words in ({"netguard_bundle": newer}, back):
            with Intruder(appliance.lab) as intruder:
                told = appliance.play(f"upgrade {words}", "--tags", "netguard_install", **words)
            assert recap(told)["failed"] == 0
            assert intruder.through == []
            link = str(appliance.machine.path("/opt/netguard/current").readlink())
            assert link == (old if words is back else "/opt/netguard/9.9.9")
            pid = appliance.machine.unit("netguard-guard", "MainPID")
            assert appliance.machine.sh(f"cat /proc/{pid}/cmdline").startswith(link)
            # What was said before the upgrade may still be on its way: a tablet is thrown off the air.
            now = json.loads(appliance.netguard("status", "--json", check=False).stdout)["guard"]
            assert (now["plan"], now["applied"], now["loans"]) == (
                before["plan"],
                before["applied"],
                before["loans"],
            )
            await_("a call gets through", lambda: works(appliance.lab))
    finally:
        appliance.netguard("tablet", "T-009", "found")
        appliance.machine.exec("rm", "-rf", "/opt/netguard/9.9.9")
        shutil.rmtree(work)


def test_an_upgrade_that_failed_half_way_is_finished_by_the_next_run(appliance):
    """The run that fails drops its handlers, and the next one finds nothing that it would have to change."""
    machine, own = appliance.machine, ("guard", "dns", "watch", "radius")
    install, secrets = (
        ("--tags", "netguard_install"),
        ("--tags", "netguard_install,netguard_secrets"),
    )

    def link():
        return str(machine.path("/opt/netguard/current").readlink())

    old, before = link(), invocations(appliance)
    work = appliance.folder / "half-way"
    work.mkdir()
    words = {"netguard_bundle": another(appliance.bundle, "9.9.8", work)}
    groups = appliance.rules / "groups.yaml"
    text = groups.read_text()
    try:
        groups.write_text(text + "nonsense: 1\n")
        told = appliance.play("half-way: rules", *install, check=False, **words)
        groups.write_text(text)
        assert (recap(told)["failed"], link()) == (1, old)
        weak = {**words, "netguard_radius_secrets": "{nas-wlc-1: short}"}
        told = appliance.play("half-way: a secret", *secrets, check=False, **weak)
        assert (recap(told)["failed"], link()) == (1, "/opt/netguard/9.9.8")
        assert invocations(appliance) == before

        told = appliance.play("half-way: the next", *secrets, **words)
        assert recap(told)["failed"] == 0
        after = invocations(appliance)
        assert {unit for unit in UNITS if after[unit] != before[unit]} == set(own)
        for unit in own[:3]:
            pid = machine.unit(f"netguard-{unit}", "MainPID")
            assert machine.sh(f"cat /proc/{pid}/cmdline").startswith("/opt/netguard/9.9.8")
        await_("the controller is answered", lambda: appliance.lab.join("t3")["answer"] == "accept")

        told = appliance.play("half-way: again", *secrets, **words)
        assert (recap(told)["changed"], recap(told)["failed"]) == (0, 0)
        assert invocations(appliance) == after
    finally:
        groups.write_text(text)
        appliance.play("half-way: back", *secrets)
        machine.exec("rm", "-rf", "/opt/netguard/9.9.8")
        shutil.rmtree(work)
    assert link() == old
    await_("a call gets through", lambda: works(appliance.lab))


ASKED = (
    ("radius", "ask", "T-001"),
    ("radius", "ask", "T-011"),
    ("explain", "T-001", "170.114.52.2", "tcp/443"),
    ("explain", "T-001", "10.10.0.5", "tcp/443"),
    ("tablet", "T-011", "--json"),
    ("history", "--json"),
    ("secrets", "list", "--json"),
)


def status(machine):
    """Return what a machine says of itself."""
    return machine.exec("netguard", "status", "--json", check=False).stdout


# What `explain` adds of the moment: seconds until closing time, what the kernel has counted and learned here.
MOVING = re.compile(r"(?<=session )\d+(?= s)|\n  counter [^\n]*|\n  [0-9.]+  learned for [^\n]*")


def answered(machine):
    """Return what a machine answers, but for what is judged or counted anew on each."""
    said = {words: machine.exec("netguard", *words, check=False).stdout for words in ASKED}
    known = json.loads(said["tablet", "T-011", "--json"])
    known.pop("presence")
    # That it has to go is known; how far that has come is another machine's business.
    known["removal"] = known["removal"] and known["removal"]["state"]
    said["tablet", "T-011", "--json"] = json.dumps(known)
    return {words: MOVING.sub("", text) for words, text in said.items()}


def test_a_restore_on_an_empty_machine_gives_the_same_answers_and_an_uninstallation_leaves_nothing(
    appliance,
):
    source = appliance.machine
    appliance.netguard("tablet", "T-011", "stolen", "--note", "restore")
    source.exec("systemctl", "start", "netguard-backup.service")
    name = source.sh("ls /var/backups/netguard | grep ^2 | tail -1").strip()
    answers = answered(source)
    appliance.netguard("tablet", "T-011", "found")

    other = Machine(appliance.spare, f"{appliance.machine.name}b")
    namespace = f"ng-{other.name}"
    run("ip", "netns", "add", namespace)
    try:
        for line in (
            "link set lo up", "link add tab0 type veth peer name tab0x", "link add up0 type veth peer name up0x",
            f"addr add {appliance.lab.record.nas_gateway}/24 dev up0", "link set up0 up", "link set up0x up",
        ):  # fmt: skip
            run("ip", "-n", namespace, *line.split())
        shutil.copytree(
            source.path(f"/var/backups/netguard/{name}"),
            other.path(f"/var/backups/netguard/{name}"),
        )
        other.boot(namespace)
        assert "blocked" in other.exec("netguard", "status", check=False).stdout
        told = other.exec(
            "/opt/netguard/current/share/netguard/systemd/restore", f"/var/backups/netguard/{name}"
        )
        assert "is in place" in told.stdout
        await_("nothing is wrong", lambda: not json.loads(status(other))["guard"]["problems"])
        assert answered(other) == answers
        _takes_everything_away(appliance, other)
    finally:
        other.remove()
        run("ip", "netns", "delete", namespace)


def _takes_everything_away(appliance, other):
    told = appliance.play("no confirmation", machine=other, check=False, netguard_state="absent")
    assert "netguard_uninstall_confirm=appliance-1" in told
    told = appliance.play(
        "absent", machine=other, netguard_state="absent", netguard_uninstall_confirm="appliance-1"
    )
    assert recap(told)["failed"] == 0
    left = other.sh(
        "find / -xdev -name '*netguard*' -not -path '/proc/*' -not -path '/var/log/journal/*'; "
        "getent passwd | grep netguard; getent group | grep netguard; "
        "systemctl list-units --all --no-legend 'netguard*' | grep -v not-found; nft list tables; ip rule | grep unreachable; "
        # The services of the distribution may start again, and no folder is left with nothing in it.
        "find /etc/systemd/system -lname /dev/null; ls -d /etc/grafana /var/lib/grafana /etc/systemd/journald.conf.d",
        check=False,
    )
    assert left == ""


def test_no_secret_is_in_what_a_run_wrote_printed_or_showed(appliance):
    machine = appliance.machine
    wanted = [*appliance.secrets, machine.sh("cat /etc/netguard/secrets/nas-wlc-1.conf").split()[2]]
    texts = {
        **appliance.printed,
        "ansible.log": (appliance.folder / "ansible.log").read_text(),
        "journal": machine.sh("journalctl --no-pager -o export"),
        "process list": str(appliance.seen["process list"]),
        "environments": machine.sh("cat /proc/[0-9]*/environ 2>/dev/null || true"),
    }
    assert texts["lies there"]
    assert [
        (name, n) for name, text in texts.items() for n, word in enumerate(wanted) if word in text
    ] == []
    # In files, those in memory too, only where nobody but root and the reader's group looks.
    tops = "/dev/shm /etc /home /opt /root /run /srv /tmp /usr/local /var"
    found = {}
    for word in wanted:
        for inside in machine.sh(
            f"grep -rlF -- {shlex.quote(word)} {tops} 2>/dev/null || true"
        ).splitlines():
            found.setdefault(word, []).append(inside)
            modes = machine.exec("stat", "--format=%a", inside, *_parents(inside)).stdout.split()
            assert any(mode.endswith("0") for mode in modes), f"{inside} can be read by everybody"
    # The search does find what is there.
    assert "/etc/netguard/secrets/nas-wlc-1.conf" in found[appliance.secrets[0]]


def _parents(inside):
    parts = inside.strip("/").split("/")
    return ["/" + "/".join(parts[:n]) for n in range(1, len(parts))]
