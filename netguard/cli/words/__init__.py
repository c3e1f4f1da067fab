"""The words of the command line, one module a topic; each adds its own to the parser."""
