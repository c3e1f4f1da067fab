"""The proof of what a kernel holds: its whole ruleset read, and followed for all packets at once."""
