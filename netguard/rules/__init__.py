"""Rule files to a Policy, with the place of every fault."""
