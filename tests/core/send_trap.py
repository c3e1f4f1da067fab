"""Sends one trap with pysnmp: PORT AUTH LEVEL, of SNMPv2c where LEVEL is the word v2c. A process of its own: it leaves files open."""

import asyncio
import sys

from pysnmp.hlapi.v3arch import asyncio as hlapi
from pysnmp.proto.rfc1902 import OctetString

AIRESPACE = "1.3.6.1.4.1.14179.2.6"
STATION = bytes.fromhex("3c286daa0110")
ENGINE = "8000000001020304"
AUTH, PRIVACY = "correct horse", "battery staple"
PROTOCOLS = {
    "sha1": hlapi.USM_AUTH_HMAC96_SHA,
    "sha256": hlapi.USM_AUTH_HMAC192_SHA256,
    "sha512": hlapi.USM_AUTH_HMAC384_SHA512,
}


async def send(port, auth, level):
    """Send it to a port of loopback."""
    words = {}
    if level != "noAuthNoPriv":
        words |= {"authKey": AUTH, "authProtocol": PROTOCOLS[auth]}
    if level == "authPriv":
        words |= {"privKey": PRIVACY, "privProtocol": hlapi.USM_PRIV_CFB128_AES}
    engine = hlapi.SnmpEngine(OctetString(hexValue=ENGINE))
    target = await hlapi.UdpTransportTarget.create(("127.0.0.1", port), timeout=0.1, retries=0)
    said = hlapi.NotificationType(hlapi.ObjectIdentity(f"{AIRESPACE}.3.1")).add_varbinds(
        (f"{AIRESPACE}.2.34.0", OctetString(STATION)),
        ("1.3.6.1.4.1.14179.2.2.1.1.3.0", OctetString(b"AP-CAR-301")),
    )
    user = hlapi.UsmUserData("wlc", **words)
    if level == "v2c":
        user = hlapi.CommunityData("trap-secret", mpModel=1)
    await hlapi.send_notification(engine, user, target, hlapi.ContextData(), "trap", said)
    engine.close_dispatcher()


if __name__ == "__main__":
    asyncio.run(send(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
