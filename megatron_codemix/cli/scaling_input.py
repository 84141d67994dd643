"""What the options of `codemix scaling` say: numbers, counts, pairs, targets."""

import math
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from megatron_codemix.errors import ConfigError
from megatron_codemix.units import parse_count

if TYPE_CHECKING:  # this waits for numpy and pandas, which help texts must not
    from megatron_codemix.scaling.target import Point


def read_point(
    parameters: str | None,
    model: Path | None,
    tokens: str | None,
    share: list[str] | None,
    others: list[str] | None,
    counts: set[str | None],
) -> "Point":
    """counts: the columns of parameters that the fits are by."""
    from megatron_codemix.scaling.model_file import read_model
    from megatron_codemix.scaling.target import Point

    if parameters is not None and model is not None:
        raise ConfigError(["--parameters and --model both say the size; give one of the two"])
    size: float | None = None
    if parameters is not None:
        size = read_count("--parameters", parameters)
    elif model is not None:
        counts_of_model = read_model(model).counts
        columns = {column for column in counts if column is not None}
        if len(columns) > 1:
            raise ConfigError(["--model: the fits count parameters in two ways; give --parameters"])
        size = counts_of_model[columns.pop()] if columns else counts_of_model["parameters_total"]
    return Point(
        parameters=size,
        tokens=None if tokens is None else read_count("--tokens", tokens),
        shares=read_shares("--share", share),
        others=read_numbers("--input", others),
    )


def read_counted(text: str | None) -> str | None:
    if text is None:
        return None
    if text not in ("total", "without_embedding"):
        raise ConfigError([f"--parameters {text}: total or without_embedding"])
    return f"parameters_{text}"


def read_pairs(option: str, texts: list[str] | None) -> dict[str, str]:
    """`NAME=VALUE`s. Raises ConfigError, also where a name is given twice."""
    found: dict[str, str] = {}
    for text in texts or []:
        name, sign, value = text.partition("=")
        if not (name and sign and value):
            raise ConfigError([f"{option} {text}: expected NAME=VALUE"])
        if name in found:
            raise ConfigError(
                [f"{option} {text}: {option} {name}={found[name]} is given too; write one of them"]
            )
        found[name] = value
    return found


def read_numbers(option: str, texts: list[str] | None) -> dict[str, float]:
    """`NAME=NUMBER`s, all finite. Raises ConfigError."""
    found = {}
    for name, value in read_pairs(option, texts).items():
        try:
            found[name] = float(value)
        except ValueError as error:
            raise ConfigError([f"{option} {name}={value}: expected a number"]) from error
        if not math.isfinite(found[name]):
            raise ConfigError([f"{option} {name}={value}: expected a finite number"])
    return found


def read_shares(option: str, texts: list[str] | None) -> dict[str, float]:
    """`SOURCE=PART`s of a mixture. Raises ConfigError."""
    found = {}
    for name, value in read_pairs(option, texts).items():
        try:
            found[name] = float(value)
        except ValueError:
            found[name] = math.nan
        if not 0 <= found[name] <= 1:
            raise ConfigError([f"{option} {name}={value}: a share is a number from 0 to 1"])
    return found


def read_count(option: str, text: str) -> int:
    try:
        count = parse_count(text)
    except ValueError as error:
        raise ConfigError([f"{option}: {error}"]) from error
    if count <= 0:
        raise ConfigError([f"{option} {text}: must be above 0"])
    return count


def read_counts(option: str, text: str) -> tuple[int, ...]:
    return tuple(read_count(option, part) for part in text.split(","))


def read_fractions(option: str, text: str) -> tuple[Fraction, ...]:
    """Exact numbers from `0,0.25,0.5`."""
    try:
        return tuple(Fraction(Decimal(part.strip())) for part in text.split(","))
    except (InvalidOperation, ValueError, OverflowError) as error:
        raise ConfigError(
            [f"{option} {text}: expected numbers such as 0.25, with commas"]
        ) from error
