"""Pure decisions: no I/O, no clock, no log, no thread, no random number."""
