"""Verified problems as documents to train on, in several shapes; each can be run as it stands."""
