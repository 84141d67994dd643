"""Which cells of a matrix repeat one another with another seed, and their common name."""

from collections.abc import Mapping

from megatron_codemix.study.spec import StudySpec

SEED_KEY = "train.seed"
"""What runs that repeat one another differ in."""


def seed_axes(spec: StudySpec) -> frozenset[str]:
    """Axes of the matrix that change the seed and nothing else: the key itself, and axes of any
    name whose values set it alone."""
    return frozenset(axis for axis in spec.matrix if axis == SEED_KEY or _sets_seeds(spec, axis))


def _sets_seeds(spec: StudySpec, axis: str) -> bool:
    """Whether its values set seeds; one that sets nothing has that of the defaults."""
    values = spec.axes.get(axis, {}).values()
    return any(values) and all(set(value) <= {SEED_KEY} for value in values)


def without_seed(spec: StudySpec, point: Mapping[str, str]) -> str:
    """What cells of this point of the matrix are called together; "" where they are all cells."""
    seeds = seed_axes(spec)
    return ".".join(value for axis, value in point.items() if axis not in seeds)


def seed_of(spec: StudySpec, point: Mapping[str, str]) -> str:
    """What tells the point from those that it repeats; "" where it repeats none."""
    seeds = seed_axes(spec)
    return ".".join(value for axis, value in point.items() if axis in seeds)


def is_repeated(spec: StudySpec) -> bool:
    """Whether any model is trained with several seeds."""
    return any(len(spec.matrix[axis]) > 1 for axis in seed_axes(spec))
