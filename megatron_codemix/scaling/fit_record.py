"""What stands in `fit.json`, checked when it is read."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from megatron_codemix.errors import ConfigError
from megatron_codemix.scaling.registry import build_law, sources_of

_Ends = Annotated[list[float], Field(min_length=2, max_length=2)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)


class ParameterRecord(_Record):
    """See `diagnosis.Parameter`."""

    name: str
    value: float
    low: float | None
    high: float | None
    is_identified: bool
    reason: str
    together_with: str


class LeftOutRecord(_Record):
    """See `analysis.LeftOut`."""

    what: str
    measured: float
    predicted: float
    relative_error: float


class FitRecord(_Record):
    """See `fits.RunFit` and `analysis.FittedLaw`; what only people read is not checked."""

    target_column: str
    where: dict[str, float | str]
    parameters_column: str | None
    law: str
    inputs: list[str]
    parameters: list[ParameterRecord]
    draws: list[list[float]]
    bootstraps: Annotated[int, Field(ge=1)]
    level: Annotated[float, Field(gt=0, lt=1)]
    runs: Annotated[int, Field(ge=1)]
    groups: Annotated[int, Field(ge=1)]
    objective: float
    starts: int
    agreeing_starts: int
    at_bounds: list[str]
    is_least_squares: bool
    residuals: list[float]
    condition_number: float | None
    left_out: LeftOutRecord | None
    left_out_missing: str
    fitted_range: dict[str, _Ends]
    diagnosis: list[str]


class FitFileRecord(_Record):
    fits: Annotated[list[FitRecord], Field(min_length=1)]


def problems_of_fit(record: FitRecord) -> list[str]:
    """Where the record does not fit its law."""
    try:
        law = build_law(record.law, sources_of(record.inputs))
    except ConfigError as error:
        return [f"law: {error}"]
    problems = []
    names = [one.name for one in record.parameters]
    if names != list(law.parameter_names):
        problems.append(f"parameters: law {law.name} has {', '.join(law.parameter_names)}")
    if sorted(record.inputs) != sorted(law.inputs):
        problems.append(f"inputs: law {law.name} has {', '.join(law.inputs)}")
    if any(len(draw) != len(names) for draw in record.draws):
        problems.append(f"draws: each has {len(names)} parameters")
    absent = [name for name in law.inputs if name not in record.fitted_range]
    if absent:
        problems.append(f"fitted_range: lacks {', '.join(absent)}")
    problems += [
        f"fitted_range.{name}: {low:g} is above {high:g}"
        for name, (low, high) in record.fitted_range.items()
        if low > high
    ]
    return problems
