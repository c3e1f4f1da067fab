"""A Plan as chrony's configuration: the clock that tablets of a `local: ntp` service ask.

chronyd serves every tablet network; who may ask is the kernel's decision (chain `clock`). Without
servers it serves the machine's own clock, and says so with stratum 10. Format: chrony.conf(5) 4.3.
"""

from netguard.core.plan import Plan


def configuration(plan: Plan, folder: str) -> str:
    """Return chrony.conf; `folder` is chronyd's own, for what it learns of the clock."""
    lines = ["# Made by netguard apply."]
    lines += [f"server {address} iburst" for address in plan.time_servers]
    lines += [
        f"driftfile {folder}/drift",
        # Tablets keep one time also while the servers are silent.
        "local stratum 10",
        "makestep 1 3",
        f"pidfile {folder}/chronyd.pid",
        # Nobody configures it while it runs, neither from outside nor from here.
        "cmdport 0",
        "bindcmdaddress /",
        *(f"allow {network}" for site in plan.sites for network in site.networks),
    ]
    return "\n".join(lines) + "\n"
