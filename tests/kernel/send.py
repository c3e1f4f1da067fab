"""Runs inside a namespace: sends frames given as hex lines on standard input from one interface."""

import socket
import sys
import time

sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sock.bind((sys.argv[1], 0))
for number, line in enumerate(sys.stdin):
    sock.send(bytes.fromhex(line))
    # A veth hands frames over at once; a pause now and then lets the receiver drain its buffer.
    if number % 100 == 99:
        time.sleep(0.01)
