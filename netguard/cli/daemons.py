"""guard, dns, watch, and all three at once for the lab."""

import argparse
import signal
import subprocess
import sys
import time
from functools import partial

from netguard.cli import folders
from netguard.cli.parser import settings_file
from netguard.daemon import process


def guard(arguments: argparse.Namespace) -> int:
    """Run guard until it is told to end."""
    from netguard.daemon import guard as daemon

    return process.run("guard", partial(daemon.run, folders.settings(arguments)))


def dns(arguments: argparse.Namespace) -> int:
    """Run the name proxy until it is told to end."""
    from netguard.daemon import dns as daemon

    return process.run("dns", partial(daemon.run, folders.settings(arguments)))


def watch(arguments: argparse.Namespace) -> int:
    """Run watch until it is told to end."""
    from netguard.daemon import watch as daemon

    return process.run("watch", partial(daemon.run, folders.settings(arguments)))


def run(arguments: argparse.Namespace) -> int:
    """Run all three as processes of their own; ends when one of them does, and ends the others."""
    folders.settings(arguments)
    command = [sys.executable, "-m", "netguard", "--settings", str(settings_file(arguments))]
    running = {name: subprocess.Popen([*command, name]) for name in ("guard", "dns", "watch")}  # noqa: S603  # our own program

    def stop(number: int, frame: object) -> None:
        for each in running.values():
            each.send_signal(signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    while all(each.poll() is None for each in running.values()):
        time.sleep(0.2)
    ended = next(name for name, each in running.items() if each.poll() is not None)
    sys.stderr.write(f"netguard run: {ended} has ended, ending the others\n")
    stop(signal.SIGTERM, None)
    codes = [each.wait(timeout=30) for each in running.values()]
    return max((abs(code) for code in codes), default=0)
