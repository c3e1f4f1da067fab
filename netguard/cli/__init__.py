"""The `netguard` command: says what to do next, imports what a command needs when it runs.

Data go to standard output, messages to standard error. Exit codes: 0 done and clean, 1 a problem
found, 2 usage, 3 `plan` has changes pending, 4 a daemon cannot be reached, 5 refused (rules/README.md lists them).
"""

import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    from netguard.cli.parser import build_parser
    from netguard.errors import NetguardError

    parser = build_parser()
    parsed = parser.parse(sys.argv[1:] if arguments is None else arguments)
    try:
        code: int = parsed.run(parsed)
        sys.stdout.flush()
    except NetguardError as error:
        sys.stderr.write(f"netguard: {error}\n")
        return error.exit_code
    except BrokenPipeError:
        # The reader went away (`| head`): nothing is wrong, and nothing more can be written.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    return code
