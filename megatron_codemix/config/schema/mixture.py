"""`data.mixture`: the share of each source as a function of tokens."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from megatron_codemix.config.schema.fields import PositiveTokens, Section, Tokens

Weights = Annotated[dict[str, Annotated[float, Field(ge=0)]], Field(min_length=1)]
"""Share of the tokens from each source; they sum to 1, and sources that are left out have 0."""


class ConstantMixtureConfig(Section):
    """The same weights from the first to the last sample."""

    kind: Literal["constant"] = "constant"
    weights: Weights
    """Share of the tokens from each source; they sum to 1."""


class MixtureStepConfig(Section):
    """Weights from one point on."""

    from_tokens: Tokens
    """Where these weights begin, in tokens since the mixture began; 0 in the first step. Rounded to
    the nearest whole sample."""
    weights: Weights
    """Share of the tokens from each source; they sum to 1."""


class StepMixtureConfig(Section):
    """Weights that jump."""

    kind: Literal["step"] = "step"
    steps: Annotated[list[MixtureStepConfig], Field(min_length=1)]
    """The weights, each from its point on, in order."""


class LinearMixtureConfig(Section):
    """Weights on a straight line from `start` to `end`, reached at the last token of the phase."""

    kind: Literal["linear"] = "linear"
    start: Weights
    """Share of the tokens from each source at the first token; they sum to 1."""
    end: Weights
    """Share of the tokens from each source at the last token; they sum to 1."""


class CosineMixtureConfig(Section):
    """Weights on half a cosine from `start` to `end`, reached at the last token of the phase: slow
    at both ends."""

    kind: Literal["cosine"] = "cosine"
    start: Weights
    """Share of the tokens from each source at the first token; they sum to 1."""
    end: Weights
    """Share of the tokens from each source at the last token; they sum to 1."""


class StagesMixtureConfig(Section):
    """The dynamic mixing of "At Which Training Stage Does Code Data Help LLMs Reasoning?" (arXiv
    2309.16298, Table 5): four stages in which the share of code takes steps.

    The paper gives the ratios and not the lengths of the stages; they are equal here, with which
    all three strategies have the same total share, 3/8.
    """

    kind: Literal["stages"] = "stages"
    strategy: Literal["uniform", "increase", "decrease"]
    """Text : code in the four stages. `uniform`: 5:3 in all; `increase`: 7:3, 7:3, 6:4, 5:5;
    `decrease`: 5:5, 6:4, 7:3, 7:3."""
    varying: Weights
    """Sources whose share is stepped (the paper's code), with their shares of one another; they sum
    to 1."""
    others: Weights
    """Sources that make up the rest (the paper's text), with their shares of one another; they sum
    to 1."""


def _constant_by_default(value: Any) -> Any:  # Any: pydantic hands over whatever the file held
    is_open = isinstance(value, dict) and "kind" not in value
    return {"kind": "constant", **value} if is_open else value


MixtureConfig = Annotated[
    ConstantMixtureConfig
    | StepMixtureConfig
    | LinearMixtureConfig
    | CosineMixtureConfig
    | StagesMixtureConfig,
    Field(discriminator="kind"),
    BeforeValidator(_constant_by_default),
]
"""Without a `kind` it is `constant`."""


class MixtureChangeConfig(Section):
    """Another mixture from a point in the phase on."""

    at_tokens: PositiveTokens
    """Where it begins, in tokens of the phase. Rounded to the nearest whole sample."""
    mixture: MixtureConfig
    """Share of each source from there on; a schedule runs from there to the end of the phase."""
