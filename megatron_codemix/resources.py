"""Files that come with the package: the examples, in a checkout and in an installed wheel alike."""

from pathlib import Path

_PACKAGE = Path(__file__).parent
# A wheel has the examples inside the package; a checkout beside it.
_PLACES = (_PACKAGE / "examples", _PACKAGE.parent / "examples")


def find_example(name: str) -> Path | None:
    """Path of a packaged example such as `models/tiny.yaml`; None if there is none of that name."""
    for place in _PLACES:
        if (place / name).is_file():
            return place / name
    return None
