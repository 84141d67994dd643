"""The laws; `registry.py` lists them."""
