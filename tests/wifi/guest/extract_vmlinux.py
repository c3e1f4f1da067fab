"""Takes the uncompressed ELF kernel out of a Debian bzImage (xz), so that the emulated CPU need not.

usage: extract_vmlinux.py BZIMAGE OUT
"""

import lzma
import sys
from pathlib import Path

XZ, ELF = b"\xfd7zXZ\x00", b"\x7fELF"


def kernel(image: bytes) -> bytes:
    """Return the kernel; raises ValueError where there is none (Documentation/x86/boot, HdrS)."""
    if image[0x202:0x206] != b"HdrS":
        raise ValueError("not a bzImage")
    start = image.find(XZ)
    while start >= 0:
        try:
            found = lzma.LZMADecompressor(format=lzma.FORMAT_XZ).decompress(image[start:])
        except lzma.LZMAError:
            found = b""
        if found.startswith(ELF):
            return found
        start = image.find(XZ, start + 1)
    raise ValueError("no kernel compressed with xz")


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(kernel(Path(sys.argv[1]).read_bytes()))
