"""How each process of the lab is run: on which host, as whom, with which capabilities. Data, as good as."""

from dataclasses import replace
from pathlib import Path

from netguard.lab import jail, users, world
from netguard.lab.jail import Program
from netguard.lab.layout import Layout, Record

APPLIANCE = ("guard", "dns", "freeradius", "dnsmasq", "chronyd", "haproxy", "watch")
AROUND = (
    "nsd", "unbound", "open-resolver", "servers-pacs", "servers-dmz", "servers-inet",
    "alertmanager", "nas",
)  # fmt: skip
PROCESSES = (*AROUND, *APPLIANCE)
NEEDED = (
    "bash", "bridge", "dnsmasq", "freeradius", "haproxy", "ip", "mount", "nft", "nsd", "nsd-checkconf", "nsenter",
    "prometheus-alertmanager", "radmin", "setpriv",
    "sysctl", "udhcpc", "unbound", "unshare", "useradd", "userdel",
)  # fmt: skip


def program(where: Layout, record: Record, process: str, listen: int | None = None) -> Program:
    """Return how a process is run; `listen` is the socket that watch gets."""
    match process:
        case "guard":
            # It signs Disconnect-Requests with the secrets that FreeRADIUS reads.
            return replace(_ours(where, process, users.GUARD, "net_admin"), reads=users.RADIUS)
        case "dns":
            return _ours(where, process, users.DNS, "net_admin", "net_bind_service")
        case "watch":
            return Program(
                process,
                "gw",
                _netguard(where, process),
                users.WATCH,
                environment={"LISTEN_FDS": "1"},
                listen=listen,
            )
        case "freeradius":
            return _freeradius(where, record)
        case "dnsmasq" | "chronyd" | "haproxy":
            return {"dnsmasq": _dnsmasq, "chronyd": _chronyd, "haproxy": _haproxy}[process](where)
        case "nas":
            words = ("--settings", f"{where.folder}/nas.json", "--socket", str(where.socket("nas")))
            return Program(process, "ap", jail.module(where, "netguard.lab.nas", *words))
        case "nsd" | "unbound" | "open-resolver" | "alertmanager":
            return _around(where, process)
        case _:
            return _servers(where, process)


def _netguard(where: Layout, process: str) -> tuple[str, ...]:
    return jail.module(where, "netguard", "--settings", str(where.settings), process)


def _ours(where: Layout, process: str, user: str, *capabilities: str) -> Program:
    return Program(process, "gw", _netguard(where, process), user, capabilities=capabilities)


def _freeradius(where: Layout, record: Record) -> Program:
    folder = where.folder
    hooks = str(folder / "code" / "radius_hooks")
    environment = {
        "NETGUARD_RADIUS_DATA": str(folder / "radius"),
        "NETGUARD_RADIUS_LOG": str(folder / "radius-log"),
        "NETGUARD_RADIUS_RUN": str(folder / "radius-run"),
        "NETGUARD_RADIUS_ADDRESS": record.nas_gateway,
        "NETGUARD_RADIUS_AUTH_PORT": "1812",
        "NETGUARD_RADIUS_ACCT_PORT": "1813",
        "NETGUARD_RADIUS_SELF_PORT": "18121",
        "TZ": record.zone,
    }
    argv = ("freeradius", "-f", "-l", "stdout", "-d", hooks, "-n", "radiusd")
    return Program("freeradius", "gw", argv, users.RADIUS, environment=environment)


def _dnsmasq(where: Layout) -> Program:
    argv = (
        "dnsmasq",
        "--keep-in-foreground",
        f"--conf-file={where.folder}/dhcp/dnsmasq.conf",
        f"--pid-file={where.folder}/dhcp/dnsmasq.pid",
        f"--user={users.DHCP}",
    )
    capabilities = ("net_admin", "net_bind_service", "net_raw")
    return Program("dnsmasq", "gw", argv, users.DHCP, capabilities=capabilities)


def _chronyd(where: Layout) -> Program:
    # Where it is not installed, since it would remove the machine's own time service (scripts/aside.sh).
    aside = where.folder / "code" / ".cache" / "aside" / "chrony" / "usr" / "sbin" / "chronyd"
    unpacked = (jail.CODE / aside.relative_to(where.folder / "code")).exists()
    # -x: it never touches the clock of this machine; -U: it needs no root, only its port.
    argv = (
        str(aside) if unpacked else "chronyd",
        *("-n", "-x", "-U", "-u", users.TIME),
        *("-f", f"{where.folder}/time/chrony.conf"),
    )
    return Program("chronyd", "gw", argv, users.TIME, capabilities=("net_bind_service",))


def _around(where: Layout, process: str) -> Program:
    """Return how a program of the distribution runs that is no part of the appliance."""
    folder = f"{where.folder}/{process}"
    if process == "alertmanager":
        argv: tuple[str, ...] = (
            "prometheus-alertmanager",
            # The one that netguard ships.
            f"--config.file={where.folder}/code/deploy/prometheus/alertmanager.yml",
            f"--storage.path={folder}",
            f"--web.listen-address={world.ALERTMANAGER}:9093",
            "--cluster.listen-address=",
        )
        return Program(process, "core", argv, "nobody", "nogroup")
    if process == "nsd":
        return Program(
            process, "inet", ("nsd", "-d", "-c", f"{folder}/nsd.conf"), "nobody", "nogroup"
        )
    host = "core" if process == "unbound" else "inet"
    argv = ("unbound", "-d", "-c", f"{folder}/unbound.conf")
    return Program(process, host, argv, "nobody", "nogroup")


def _haproxy(where: Layout) -> Program:
    # What it binds to are ports above 1024; it goes where a tablet wanted to as itself.
    folder = f"{where.folder}/sni"
    listening = ("-W", "-S", f"{folder}/master.sock,mode,666")
    return Program(
        "haproxy", "gw", ("haproxy", *listening, "-f", f"{folder}/haproxy.cfg"), users.SNI
    )


def _servers(where: Layout, process: str) -> Program:
    host = process.removeprefix("servers-")
    words: tuple[str, ...] = ("--host", host, "--socket", str(where.socket(process)))
    if host == "inet":
        words = (*words, "--more", *_pool(where.folder))
    return Program(process, host, jail.module(where, "netguard.lab.servers", *words))


def _pool(folder: Path) -> list[str]:
    """Return the addresses that were made up for the catalogue's names."""
    zone = (folder / "nsd" / "root.zone").read_text()
    return sorted({word for word in zone.split() if word.startswith("151.101.")})
