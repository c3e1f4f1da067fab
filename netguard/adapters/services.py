"""The service manager: restarts and reloads of the units beside ours, over `systemctl`.

polkit decides whether guard may (deploy/systemd/polkit-1); a refusal is an error like any other.
"""

import asyncio
import contextlib

from netguard.errors import EnforcementError

# Of a FreeRADIUS with 10,000 tablets; not a measure.
PATIENCE = 60.0


async def tell(verb: str, unit: str) -> None:
    """Let systemd restart or reload a unit and wait until that is done. Raises EnforcementError."""
    try:
        process = await asyncio.create_subprocess_exec(
            *("systemctl", "--no-ask-password", verb, "--", unit),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise EnforcementError(f"systemctl cannot be started: {error.strerror}") from error
    try:
        async with asyncio.timeout(PATIENCE):
            _, said = await process.communicate()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        text = f"systemctl {verb} {unit}: not done within {PATIENCE:.0f} s"
        raise EnforcementError(text) from None
    if process.returncode:
        words = said.decode(errors="replace").strip().splitlines()
        why = words[0] if words else f"exit {process.returncode}"
        raise EnforcementError(f"systemctl {verb} {unit}: {why}")
