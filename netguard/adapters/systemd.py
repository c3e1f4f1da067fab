"""What systemd wants to hear and hands over: readiness, watchdog, sockets (sd_notify(3), sd_listen_fds(3)).

Does nothing where systemd is not: in the lab, in tests, on a terminal.
"""

import os
import socket

_FIRST_FD = 3


def notify(state: str) -> None:
    """Tell the service manager something such as READY=1; silent when there is none."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        try:
            sender.sendto(state.encode(), address)
        except OSError:
            # The manager is gone or restarting: our work does not depend on it.
            return


def watchdog_interval() -> float | None:
    """Return how often to send WATCHDOG=1, in seconds, or None where nobody watches."""
    span = os.environ.get("WATCHDOG_USEC", "")
    return int(span) / 2_000_000 if span.isdigit() and int(span) else None


def listening_socket() -> socket.socket | None:
    """Return the one listening TCP socket that was handed over, or None."""
    if os.environ.get("LISTEN_PID") not in {None, str(os.getpid())}:
        return None
    if os.environ.get("LISTEN_FDS") != "1":
        return None
    return socket.socket(fileno=_FIRST_FD)
