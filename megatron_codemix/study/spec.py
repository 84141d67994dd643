"""What a study file may say.

A study is YAML with every scalar as text, like a run's configuration. Its `defaults` are a fragment
of `RunConfig`; each phase changes some fields of it by dotted key. A value given by a dotted key
replaces whatever stands there, sub-fields included, so that `schedule: {kind: linear, ...}` leaves
nothing of a cosine behind.

Budgets are written as in the paper that the study follows, and `token_scale` multiplies every field
that is a number of tokens, so that the same file runs at any size.

A study may extend others (`extends: FILE`, or a list of them, at its top): `study/extending.py`
says how they are laid on one another.
"""

import re
from collections.abc import Collection
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PositiveInt, PrivateAttr, WithJsonSchema

from megatron_codemix.config.schema import PositiveTokens, Section
from megatron_codemix.study.evaluation import EvaluationSpec
from megatron_codemix.study.token_scale import MAX_SCALE

_FILE_NAME = "[A-Za-z0-9][A-Za-z0-9_.+-]*"


def _require_file_name(value: str) -> str:
    if re.fullmatch(_FILE_NAME, value) is None:
        raise ValueError(
            "a name becomes part of a path: letters, digits and _ . + - alone, with a letter or "
            f"digit first, got {value!r}"
        )
    return value


FileName = Annotated[
    str,
    AfterValidator(_require_file_name),
    WithJsonSchema({"type": "string", "pattern": f"^{_FILE_NAME}$"}),
]
"""A name that becomes part of a path."""

# Keys are Any, not str: pydantic would turn keys that know their line in the file into plain text.
Settings = dict[Any, Any]


class ParentSpec(Section):
    """The phase whose final checkpoint another starts from."""

    phase: str
    """Name of the parent phase."""
    load: Literal["weights", "weights+optimizer"]
    """What is taken over: a scientific choice, so it has no default."""
    at_tokens: PositiveTokens | None = None
    """Start from the checkpoint after so many of the parent's tokens, which it must keep
    (`checkpoint.keep_every_tokens`); absent: from its last."""


class PhaseSpec(Section):
    """One training: the defaults with some fields replaced."""

    init_from: ParentSpec | None = None
    """The parent; absent: weights from the seed."""
    set: Settings = {}
    """Dotted key of the run configuration -> value."""


class CompareSpec(Section):
    """What the variants are compared with."""

    baseline: str
    """Variant that relative changes refer to: (x - baseline) / baseline."""


class RepeatsSpec(Section):
    """What of this study repeats a published figure, so that the report can set the paper's values
    beside ours."""

    rows: Annotated[dict[str, str], Field(min_length=1)]
    """Variant -> row of the figure. What the figure has besides is reported as not run."""
    cells: dict[str, str] = {}
    """Point of the matrix, without its seed -> model of the figure. Absent: every point repeats its
    only one; a figure with several needs it."""


class StudySpec(Section):
    """A study, as the user wrote it (after the command line's changes)."""

    name: FileName
    """Name of the study; its default place is runs/<name>."""
    token_scale: Annotated[Decimal, Field(gt=0, le=MAX_SCALE)] = Decimal(1)
    """Multiplies every number of tokens in `defaults`, `axes` and `phases`."""
    world_size: PositiveInt
    """Processes that train one phase."""
    data_root: Path | None = None
    """Folder that `{data}` stands for in paths; relative to the study file. The command line's
    --data goes first."""
    source_tokens: dict[str, PositiveTokens] | None = None
    """Tokens that there are of a source where its shard is not: what the epochs of `study plan` and
    a source's `max_epochs` are counted with until it is prepared. Facts, which `token_scale` leaves
    alone; absent: nothing is known before."""
    gpu: str | None = None
    """Kind of GPU that `study plan` works out memory, time and cost for where no --gpu is given;
    absent: none."""
    defaults: Settings
    """Run configuration common to all phases; may hold `extends: FILE`, relative to the file that
    says so."""
    matrix: dict[str, Annotated[list[str], Field(min_length=1)]] = {}
    """Axis -> values. The study is repeated at every point; relative changes stay within a
    point."""
    axes: dict[str, dict[str, Settings]] = {}
    """Axis -> value -> dotted keys to set. An axis that is not here is itself a dotted key
    (`train.seed`)."""
    phases: Annotated[dict[FileName, PhaseSpec], Field(min_length=1)]
    """The trainings, by name."""
    variants: Annotated[dict[str, str], Field(min_length=1)]
    """Name to show -> last phase of the chain."""
    compare: CompareSpec
    """The comparison."""
    evaluation: EvaluationSpec
    """The measurements."""
    published: dict[str, RepeatsSpec] = {}
    """Published figure (`paper_a/proportion`) -> what repeats it. Decides nothing that is
    learned."""
    origin: dict[str, str] = {}
    """Path in this file -> where the value is from: `paper <section>` or `inferred`, with an
    optional `: reason`."""
    _places: dict[str, str] = PrivateAttr(default_factory=dict)
    _options: str = PrivateAttr(default="")

    def note_source(self, places: dict[str, str], options: str) -> None:
        """Keeps where its keys stand, by path, and what the command line has changed of them."""
        self._places, self._options = places, options

    @property
    def options(self) -> str:
        """What the command line has changed of the file, in its words: `--scale 0.1 --set
        train.seed=2`."""
        return self._options

    def at(self, path: str) -> str:
        """`study.yaml:12: ` + path, where the file's line is known."""
        place = self._places.get(path)
        return f"{place}: {path}" if place else path

    def nearest_place(self, path: str) -> str:
        """`study.yaml:12` of `path`, or of the innermost section around it; "" where none stands
        in a file."""
        while path and path not in self._places:
            path = path.rpartition(".")[0]
        return self._places.get(path, "")

    def places(self) -> Collection[str]:
        """Of everything but `defaults`, which know theirs."""
        return self._places.values()
