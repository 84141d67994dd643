"""What a rule is: parameters with defaults, and a function of one document."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from megatron_codemix.corpus.document import Document, JsonValue

Kind = Literal["code", "markup", "prose", "any"]


@dataclass(frozen=True, slots=True)
class Drop:
    """The document is not kept. `reason` is one of few names that never change, `detail` what was
    found in this one."""

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Changed:
    """The document is kept as `document`. `counts`: how often what was done to it."""

    document: Document
    counts: Mapping[str, int]


Verdict = Drop | Changed | None
"""None: kept as it is."""


class Rule(BaseModel):
    """A rule with its parameters. The verdict follows from the document and the parameters
    alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    """In policies."""
    kind: ClassVar[Kind]
    """What it was made for; a policy may use it for anything."""
    source: ClassVar[str]
    """Paper and section it is from; "" where it is this project's own."""

    @abstractmethod
    def __call__(self, document: Document) -> Verdict: ...

    def load(self) -> None:
        """Loads what the rule needs, once, before processes are forked. Raises UnavailableError."""
        return

    def depends_on(self) -> dict[str, JsonValue]:
        """What decides its verdicts besides the parameters: versions of packages, hashes of
        files."""
        return {}


def around(text: str, at: int) -> str:
    """What stands at a place, on one line, for the detail of a drop."""
    return " ".join(text[max(0, at - 20) : at + 40].split())
