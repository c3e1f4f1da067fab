"""A Plan as the native text of each enforcer: pure, sorted, byte-stable."""
