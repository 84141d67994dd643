"""The command line: one thin module for each command, loaded only when it is chosen."""
