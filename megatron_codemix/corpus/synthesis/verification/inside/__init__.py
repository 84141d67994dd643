"""Modules that run inside the sandbox, sent there as text: only the standard library is there."""
