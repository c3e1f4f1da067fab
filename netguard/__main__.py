"""`python -m netguard`: the same as the `netguard` command."""

import sys

from netguard.cli import main

if __name__ == "__main__":
    sys.exit(main())
