"""What commands that ask an OpenAI-compatible endpoint have in common."""

import os
from urllib.parse import urlsplit

from megatron_codemix.errors import CodemixError


def api_key(variable: str | None) -> str | None:
    """The key that an environment variable holds; None where none is named."""
    if variable is None:
        return None
    key = os.environ.get(variable, "")
    if not key.isascii() or not key.isprintable() or not key:
        raise CodemixError(
            f"--api-key-env: {variable} holds no key; export it, without line breaks"
        )
    return key


def is_endpoint_url(text: str) -> bool:
    """Whether it can be the base URL of an endpoint."""
    try:
        parts = urlsplit(text)
        is_url = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number, or brackets that do not close
        return False
    return bool(is_url) and text.isascii() and not any(letter.isspace() for letter in text)
