"""The C++ extension as `_C`; where it is missing, its first use says how to build it."""

from typing import NoReturn

from megatron_codemix.errors import UnavailableError

__all__ = ["_C"]


class _MissingExtension:
    """Stands in for the extension, so that what needs none of it (--help, doctor) works without."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def __getattr__(self, name: str) -> NoReturn:
        raise UnavailableError(
            f"the C++ extension megatron_codemix._C cannot be loaded ({self._reason}); build it "
            "with `pip install .`, or in a checkout with `python setup.py build_ext --inplace` "
            "(needs a C++17 compiler and the Python headers)"
        )


try:
    from megatron_codemix import _C
except ImportError as error:
    _C = _MissingExtension(str(error))  # type: ignore[assignment]  # raises on any use
