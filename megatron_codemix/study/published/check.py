"""Whether what a study says that it repeats is there: figures, their rows and models, and its own
variants and cells."""

import itertools
from collections.abc import Iterator, Sequence

from megatron_codemix.config.problems import suggestion
from megatron_codemix.study.node import SINGLE_CELL
from megatron_codemix.study.published.catalog import figure_names, read_figure
from megatron_codemix.study.published.figure import Figure
from megatron_codemix.study.repetition import without_seed
from megatron_codemix.study.spec import RepeatsSpec, StudySpec


def published_problems(spec: StudySpec) -> list[str]:
    """Names below `published` that refer to nothing."""
    problems: list[str] = []
    for name, repeats in spec.published.items():
        if name in figure_names():
            problems += _problems(spec, name, repeats, read_figure(name))
        else:
            place = spec.at(f"published.{name}")
            problems.append(f"{place}: no published figure {name!r}{_known(name, figure_names())}")
    return problems


def compared_cells(spec: StudySpec) -> list[str]:
    """Points of the matrix without their seeds, as reports name them."""
    points = [
        dict(zip(spec.matrix, values, strict=True))
        for values in itertools.product(*spec.matrix.values())
    ]
    return list(dict.fromkeys(without_seed(spec, point) or SINGLE_CELL for point in points))


def _problems(spec: StudySpec, name: str, repeats: RepeatsSpec, figure: Figure) -> Iterator[str]:
    first: dict[str, str] = {}  # row -> the variant that is it
    for variant, row in repeats.rows.items():
        place = spec.at(f"published.{name}.rows.{variant}")
        if variant not in spec.variants:
            yield f"{place}: no variant {variant!r}{suggestion(variant, list(spec.variants))}"
        if row not in figure.rows:
            yield f"{place}: {name} has no row {row!r}{_known(row, list(figure.rows))}"
        elif first.setdefault(row, variant) != variant:
            yield f"{place}: variant {first[row]!r} is row {row!r} already"
    yield from _cell_problems(spec, name, repeats, figure)


def _cell_problems(
    spec: StudySpec, name: str, repeats: RepeatsSpec, figure: Figure
) -> Iterator[str]:
    cells = compared_cells(spec)
    for cell, model in repeats.cells.items():
        place = spec.at(f"published.{name}.cells.{cell}")
        if cell not in cells:
            yield f"{place}: the matrix has no point {cell!r}{_known(cell, cells)}"
        if model not in figure.models:
            yield f"{place}: {name} has no model {model!r}{_known(model, figure.models)}"
    if len(figure.models) > 1 and not repeats.cells:
        pairs = ", ".join(f"{cell}: ..." for cell in cells)
        yield (
            f"{spec.at(f'published.{name}')}: has values of {' and '.join(figure.models)}; say "
            f"which point of the matrix is which: `cells: {{{pairs}}}`"
        )


def _known(name: str, names: Sequence[str]) -> str:
    """What was meant, or all that there are."""
    return suggestion(name, names) or f"; there are {', '.join(names)}"
