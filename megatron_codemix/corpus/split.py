"""Train or validation: a pure function of a document's origin, the same for every source.

The position does not depend on the other documents, so the split survives re-ordering and adding
documents; and what was held out at one fraction stays held out at every larger one.
"""

import hashlib
from typing import Literal

from megatron_codemix.errors import DataError

Split = Literal["train", "validation"]
SPLITS: tuple[Split, ...] = ("train", "validation")

_SPLIT_KEY = b"megatron_codemix split v1"
_SELECTION_KEY = b"megatron_codemix selection v1"  # another key, else the capped corpus is held out


def _position(key: bytes, origin: str) -> float:
    value = hashlib.blake2b(origin.encode(), key=key, digest_size=8).digest()
    return (int.from_bytes(value, "big") >> 11) / 2**53  # 53 bits: exact in a float, below 1


def split_position(origin: str) -> float:
    """Where in [0, 1) the origin stands; below the validation fraction means held out."""
    return _position(_SPLIT_KEY, origin)


def require_validation_fraction(fraction: float) -> None:
    """Raises DataError where it is no share that leaves something to train on."""
    if not 0 <= fraction < 1:
        raise DataError(f"validation fraction {fraction}: expected 0 <= fraction < 1")


def split_of(origin: str, validation_fraction: float) -> Split:
    return "validation" if split_position(origin) < validation_fraction else "train"


def selection_position(origin: str) -> float:
    """Order in which origins are taken until a cap is reached; independent of `split_position`."""
    return _position(_SELECTION_KEY, origin)
