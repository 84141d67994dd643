"""What every section of the configuration is made of."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from megatron_codemix.units import format_count, parse_bytes, parse_count

MAX_TOKENS = 10**18
"""Sums of numbers of tokens fit into 64 bits."""


def _read_count(value: Any) -> Any:  # Any: pydantic hands over whatever the file held
    return parse_count(value) if isinstance(value, str) else value


_Count = Annotated[
    int,
    BeforeValidator(_read_count),
    Field(le=MAX_TOKENS, json_schema_extra={"examples": ["200B"]}),
    PlainSerializer(format_count, when_used="json"),
]

Tokens = Annotated[_Count, Field(ge=0)]
"""A number of tokens: `200B`, `0.5M`, `4096`."""

PositiveTokens = Annotated[_Count, Field(gt=0)]


def _read_bytes(value: Any) -> Any:  # Any: pydantic hands over whatever the file held
    return parse_bytes(value) if isinstance(value, str) else value


PositiveBytes = Annotated[
    int,
    BeforeValidator(_read_bytes),
    Field(gt=0, json_schema_extra={"examples": ["256KiB"]}),
]
"""A size: `256KiB`, `1MB`, `4096`."""


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )
