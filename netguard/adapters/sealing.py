"""Texts sealed with a key of this node, so that a copy of the store alone gives none of them away.

ChaCha20-Poly1305 (RFC 8439) through `cryptography`, with a nonce drawn for each text and the name of its owner as
associated data: a text that was moved to another row does not open. The key is a file of mode 0600, made once.
"""

import base64
import binascii
import os
import secrets
import stat
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from netguard.errors import SealError

_HEAD = "1:"
_NONCE = 12
_KEY = 32


class Box:
    """What seals and opens with the key of one file. Raises SealError, which repeats no secret."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # The key, and by what its file is told from another one.
        self._held: tuple[bytes, tuple[int, int, int]] | None = None

    @property
    def has_key(self) -> bool:
        """Say whether the file of the key is there."""
        return self.path.exists()

    def make(self) -> None:
        """Make the key; a file that is there is never written over."""
        self._held = None
        text = base64.b64encode(secrets.token_bytes(_KEY)) + b"\n"
        beside = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                # Unlike a rename, a link fails where somebody was faster.
                os.link(beside, self.path)
            finally:
                beside.unlink(missing_ok=True)
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            os.fsync(folder)
            os.close(folder)
        except OSError as error:
            raise SealError(f"{self.path}: cannot be made: {error.strerror}") from error

    def seal(self, owner: str, text: str) -> str:
        """Return a text as it is stored for its owner."""
        nonce = secrets.token_bytes(_NONCE)
        sealed = self._cipher().encrypt(nonce, text.encode(), owner.encode())
        return _HEAD + base64.b64encode(nonce + sealed).decode()

    def open(self, owner: str, sealed: str) -> str:
        """Return the text that was sealed for an owner."""
        try:
            raw = base64.b64decode(sealed.removeprefix(_HEAD), validate=True)
            return self._cipher().decrypt(raw[:_NONCE], raw[_NONCE:], owner.encode()).decode()
        except (InvalidTag, binascii.Error, ValueError) as error:
            raise SealError(
                f"what is stored for {owner} was not sealed with the key in {self.path}"
            ) from error

    def _cipher(self) -> ChaCha20Poly1305:
        """Use the key that is on the disk now: what was sealed with another one nobody opens after a restart."""
        try:
            found = self.path.stat()
            mark = (found.st_dev, found.st_ino, found.st_ctime_ns)
            held = self._held
            if held is None or held[1] != mark:
                held = self._held = self._read(found.st_mode), mark
        except OSError as error:
            raise SealError(f"{self.path}: cannot be read: {error.strerror}") from error
        return ChaCha20Poly1305(held[0])

    def _read(self, mode: int) -> bytes:
        text = self.path.read_bytes()
        if stat.S_IMODE(mode) & 0o077:
            raise SealError(f"{self.path}: others may read it, run: chmod 0600 {self.path}")
        try:
            key = base64.b64decode(text.strip(), validate=True)
        except binascii.Error:
            key = b""
        if len(key) != _KEY:
            raise SealError(f"{self.path}: is no key of ours, put it back from a backup")
        return key
