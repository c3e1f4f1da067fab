"""Runs inside a namespace: prints a line per marked frame that arrives, until its input closes.

A frame is marked by the payload NETGUARD followed by four bytes of a number.
"""

import re
import select
import socket
import struct
import sys

sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
sock.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
sock.bind((sys.argv[1], 0))
print("ready", flush=True)
while True:
    readable, _, _ = select.select([sock, sys.stdin], [], [])
    if sock in readable:
        frame = sock.recv(65535)
        # An outgoing ICMP error quotes the packet it is about: only what comes first counts.
        found = re.search(rb"NETGUARD(....)", frame, re.DOTALL)
        if (found and frame[12:14] == b"\x08\x00" and frame[23] in (6, 17)) or (
            found and frame[34] == 8
        ):
            print(struct.unpack("!I", found[1])[0], flush=True)
    elif not sys.stdin.readline():
        # Frames are handed over within the sender's call: what is not here now never comes.
        break
