"""Instruction data: conversations from files, and the chat templates that make them text."""
