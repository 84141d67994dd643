"""Figures of a corpus: bars and histograms, narrow enough for a phone."""

import math
from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from megatron_codemix.files import Json
from megatron_codemix.obs.look import COLOURS, LOOK
from megatron_codemix.report.figures import SIZE_INCHES, Picture, data_uri, tick_words
from megatron_codemix.units import format_bytes

_OURS, _PAPERS = COLOURS[6], COLOURS[1]
_KEPT, _LEFT_OUT = COLOURS[3], COLOURS[4]
_ROW_INCHES = 0.24
_MAX_BARS = 15
_MAX_NAME = 34


def size_pictures(sources: Mapping[str, Json]) -> list[Picture]:
    """Bytes of each source, and the lengths of its documents."""
    sizes = {name: float(source["bytes"]) for name, source in sources.items()}
    title = "Text of each source"
    by_size = bars(title, [Bars("", sizes)], "bytes", as_bytes=True)
    with_lengths = {name: one["lengths"] for name, one in sources.items() if one["lengths"]}
    return [by_size, *([_length_picture(with_lengths)] if with_lengths else [])]


class Bars:
    """A set of bars: name -> value. All sets of a figure have the same names."""

    def __init__(self, label: str, values: Mapping[str, float], colour: str = _OURS) -> None:
        self.label, self.values, self.colour = label, dict(values), colour


def bars(
    title: str,
    sets: Sequence[Bars],
    axis: str,
    *,
    as_bytes: bool = False,
    is_stacked: bool = False,
    end: float | None = None,
) -> Picture:
    """Bars that lie, the first name on top; sets beside one another, or stacked. end: of the axis,
    where it is not that of the longest bar."""
    names = list(sets[0].values)
    width = 0.8 if is_stacked else 0.8 / len(sets)
    with mpl.rc_context(LOOK):
        figure, axes = _tall(len(names) * (1 if is_stacked else max(1.0, 0.75 * len(sets))))
        lefts = [0.0] * len(names)
        for number, one in enumerate(sets):
            offset = 0.0 if is_stacked else (number - (len(sets) - 1) / 2) * width
            places = [place + offset for place in range(len(names))]
            values = [one.values[name] for name in names]
            left = lefts if is_stacked else None
            axes.barh(
                places, values, 0.92 * width, left=left, color=one.colour, label=_short(one.label)
            )
            lefts = [before + value for before, value in zip(lefts, values, strict=True)]
        _name_rows(axes, names)
        axes.set_xlabel(axis)
        longest = max([abs(value) for value in lefts if is_stacked] or _all_values(sets))
        _format(axes, longest, as_bytes=as_bytes)
        if end is not None:
            axes.set_xlim(0, end)
        if any(one.label for one in sets):
            figure.legend(fontsize=8, loc="outside lower center", ncols=3)
        alt = f"{title}, by {axis}: " + "; ".join(
            f"{name} {', '.join(f'{one.values[name]:,.4g}' for one in sets)}" for name in names
        )
        return Picture(title=title, alt=alt, uri=data_uri(figure))


def language_picture(source: str, languages: Mapping[str, Json]) -> Picture | None:
    """Share of the documents of a source by programming language, beside the first paper's where it
    has such a source, else by natural language; None where there is only one."""
    if not has_language_picture(languages):
        return None
    if _is_beside_paper(languages):
        return _beside_paper(source, languages["programming"], languages["expected_percent"])
    kind = told_kind(languages)
    title = f"{source}: documents by {kind} language"
    return bars(title, [Bars("", _shares(languages[kind]))], "% of documents")


def has_language_picture(languages: Mapping[str, Json]) -> bool:
    """Whether there is more to show than one language."""
    counts = languages[told_kind(languages)]
    return _is_beside_paper(languages) or (len(counts) > 1 and bool(_known(counts)))


def _is_beside_paper(languages: Mapping[str, Json]) -> bool:
    return bool(languages["expected_percent"]) and bool(_known(languages["programming"]))


def told_kind(languages: Mapping[str, Json]) -> str:
    """The kind of language that is shown of a source: `natural` of prose, whatever its files are
    called, and where one is known."""
    is_natural = languages["is_prose"] or _known(languages["natural"])
    return "natural" if is_natural else "programming"


def drop_picture(stage: str, sources: Mapping[str, Json]) -> Picture | None:
    """Documents that a stage has left out of the sources, by reason; None where there are none."""
    reasons: dict[str, int] = {}
    for source in sources.values():
        for reason, entry in source["dropped"].items():
            reasons[reason] = reasons.get(reason, 0) + entry["count"]
    if not reasons:
        return None
    ordered = sorted(reasons, key=lambda reason: (-reasons[reason], reason))[:_MAX_BARS]
    sets = _by_source(sources, ordered)
    title = f"{stage}: left out, by reason"
    if len(reasons) > len(ordered):
        title += f" (the first {len(ordered)} of {len(reasons)})"
    return bars(title, sets, "documents", is_stacked=True)


def _by_source(sources: Mapping[str, Json], reasons: Sequence[str]) -> list[Bars]:
    """A set for each source that has lost documents; a source has one colour in all stages."""
    colours = COLOURS[1:]
    sets = []
    rest: list[str] = []
    for number, (name, source) in enumerate(sources.items()):
        if not source["num_dropped"]:
            continue
        if number >= len(colours):
            rest.append(name)
            continue
        values = {reason: _count(source, reason) for reason in reasons}
        sets.append(Bars(name, values, colours[number]))
    if rest:
        values = {one: sum(_count(sources[name], one) for name in rest) for one in reasons}
        sets.append(Bars("other sources", values, COLOURS[0]))
    return sets


def kept_picture(stage: str, sources: Mapping[str, Json]) -> Picture | None:
    """Share of each source that a stage has kept; None where it did not record what it read."""
    read = {name: one for name, one in sources.items() if one["read"]}
    if not read:
        return None
    kept = {name: 100 * one["kept"] / one["read"] for name, one in read.items()}
    left_out = {name: 100 - share for name, share in kept.items()}
    sets = [Bars("kept", kept, _KEPT), Bars("left out", left_out, _LEFT_OUT)]
    return bars(f"{stage}: kept and left out", sets, "% of documents", is_stacked=True, end=100)


def cluster_picture(sizes: Mapping[str, int]) -> Picture | None:
    """Clusters of near-duplicates by size; None where there are none."""
    if not sizes:
        return None
    ordered = sorted((int(size), count) for size, count in sizes.items())
    shown = {f"{size} documents": float(count) for size, count in ordered[: _MAX_BARS - 1]}
    if rest := ordered[_MAX_BARS - 1 :]:
        shown[f"{rest[0][0]} and more"] = float(sum(count for _, count in rest))
    return bars("Clusters of near-duplicates by size", [Bars("", shown)], "clusters")


def synthetic_pictures(source: str, synthetic: Mapping[str, Json]) -> list[Picture]:
    """Families, shapes, difficulty and mutation score of a synthetic source."""
    pictures = [
        bars(f"{source}: {kind}", [Bars("", _first(synthetic[kind]))], "documents")
        for kind in ("families", "shapes")
        if synthetic[kind]
    ]
    for key, axis in (("difficulty", "difficulty"), ("mutation_score", "mutation score")):
        if synthetic[key]["mean"] is not None:
            pictures.append(_spread_picture(source, axis, synthetic[key]))
    return pictures


def epoch_picture(runs: Sequence[Mapping[str, Json]], max_epochs: float) -> Picture | None:
    """Epochs of each source by the end of each run; None where nothing is known."""
    names = sorted({name for run in runs for name in run["sources"]})
    values = {
        f"{run['run']}: {name}": run["sources"][name]["epochs"]
        for run in runs
        for name in names
        if name in run["sources"] and run["sources"][name]["epochs"] is not None
    }
    if not values:
        return None
    with mpl.rc_context(LOOK):
        figure, axes = _tall(len(values))
        colours = [_LEFT_OUT if epochs > max_epochs else _OURS for epochs in values.values()]
        axes.barh(range(len(values)), list(values.values()), 0.75, color=colours)
        axes.axvline(max_epochs, color="black", linewidth=0.8, linestyle="--")
        _name_rows(axes, list(values))
        axes.set_xlabel(f"epochs by the end of the run; dashed: {max_epochs:g}")
        title = "Epochs of each source"
        alt = f"{title}: " + "; ".join(f"{name} {epochs:.2f}" for name, epochs in values.items())
        return Picture(title=title, alt=alt, uri=data_uri(figure))


def _length_picture(lengths: Mapping[str, Json]) -> Picture:
    with mpl.rc_context(LOOK):
        height = max(1.9, 0.7 + 0.85 * len(lengths))
        figure = Figure(figsize=(SIZE_INCHES[0], height), layout="constrained")
        rows = figure.subplots(len(lengths), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (name, one) in zip(rows, lengths.items(), strict=True):
            starts = [bin_["from"] for bin_ in one["histogram"]]
            widths = [bin_["below"] - bin_["from"] for bin_ in one["histogram"]]
            counts = [bin_["documents"] for bin_ in one["histogram"]]
            axes.bar(starts, counts, widths, align="edge", color=_OURS, linewidth=0)
            axes.axvline(one["percentiles"]["50"], color=_LEFT_OUT, linewidth=1.2)
            axes.set_xscale("log", base=2)
            axes.set_title(_short(name), loc="left", fontsize=9, pad=2)
            axes.yaxis.set_major_locator(MaxNLocator(2, integer=True))
            highest = max(counts)
            axes.yaxis.set_major_formatter(lambda y, _, top=highest: _count_words(y, top))
        rows[-1].xaxis.set_major_formatter(lambda length, _: _byte_words(length))
        rows[-1].set_xlabel("bytes of a document; the line is the median")
        figure.supylabel("documents", fontsize=9)
        title = "Lengths of documents"
        alt = f"{title}: " + "; ".join(
            f"{name} median {one['percentiles']['50']:,} bytes" for name, one in lengths.items()
        )
        return Picture(title=title, alt=alt, uri=data_uri(figure))


def _beside_paper(source: str, counts: Mapping[str, int], expected: Mapping[str, float]) -> Picture:
    """The paper's languages in its order, then the most frequent of others."""
    total = sum(counts.values())
    ours = {name: 100 * counts.get(name, 0) / total for name in expected}
    more = [name for name in _known(counts) if name not in expected and name[0] != "("]
    for name in more[:5]:
        ours[name] = 100 * counts[name] / total
    ours["other or unknown"] = max(0.0, 100 - sum(ours.values()))
    papers = {name: expected.get(name, 0.0) for name in ours}
    sets = [Bars("this corpus", ours), Bars("the paper", papers, _PAPERS)]
    title = f"{source}: documents by language, beside the paper's"
    return bars(title, sets, "% of documents")


def _spread_picture(source: str, axis: str, spread: Mapping[str, Json]) -> Picture:
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(SIZE_INCHES[0], 2.2), layout="constrained")
        axes = figure.add_subplot()
        number = len(spread["bins"])
        starts = [place / number for place in range(number)]
        axes.bar(starts, spread["bins"], 1 / number, align="edge", color=_OURS, edgecolor="white")
        axes.axvline(spread["mean"], color=_LEFT_OUT, linewidth=1.2)
        axes.set_xlim(0, 1)
        axes.set_xlabel(f"{axis}; the line is the mean, {spread['mean']:.3f}")
        axes.set_ylabel("documents")
        title = f"{source}: {axis}"
        return Picture(title=title, alt=f"{title}, mean {spread['mean']:.3f}", uri=data_uri(figure))


def _tall(rows: float) -> tuple[Figure, Axes]:
    """A figure that is as tall as its rows of bars need."""
    size = (SIZE_INCHES[0], 0.9 + _ROW_INCHES * max(2.0, rows))
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.add_subplot()


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [_short(name) for name in names])
    axes.set_ylim(len(names) - 0.45, -0.55)  # the first on top
    axes.grid(visible=False, axis="y")


def _format(axes: Axes, longest: float, *, as_bytes: bool) -> None:
    if longest == 0:
        axes.set_xlim(0, 1)
    elif as_bytes:
        # Round numbers of the unit that the longest bar is told in.
        unit = 1024 ** int(math.log(max(longest, 1), 1024))
        round_numbers = MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(0, longest / unit)
        ticks = [unit * tick for tick in round_numbers]
        axes.set_xticks([tick for tick in ticks if tick <= 1.05 * longest])
        axes.xaxis.set_major_formatter(lambda value, _: _byte_words(value))
    else:
        axes.xaxis.set_major_formatter(lambda value, _: _count_words(value, longest))


def _count_words(value: float, longest: float) -> str:
    return "0" if value == 0 else tick_words(value, longest)


def _byte_words(value: float) -> str:
    return format_bytes(value).replace(".0 ", " ")


def _all_values(sets: Sequence[Bars]) -> list[float]:
    return [abs(value) for one in sets for value in one.values.values()]


def _known(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if name != "unknown"}


def _shares(counts: Mapping[str, int]) -> dict[str, float]:
    """Percent of all, of the most frequent; those that are not shown together."""
    total = sum(counts.values())
    return {name: 100 * count / total for name, count in _first(counts).items()}


def _first(counts: Mapping[str, int]) -> dict[str, float]:
    """The first few of counts in descending order; the others together."""
    names = list(counts)
    if len(names) <= _MAX_BARS:
        return {name: float(count) for name, count in counts.items()}
    shown = {name: float(counts[name]) for name in names[: _MAX_BARS - 1]}
    rest = names[_MAX_BARS - 1 :]
    return shown | {f"{len(rest)} others": float(sum(counts[name] for name in rest))}


def _count(source: Mapping[str, Json], reason: str) -> float:
    entry = source["dropped"].get(reason)
    return float(entry["count"]) if entry else 0.0


def _short(name: str) -> str:
    """As a tick label: a long name is cut, `$` is no formula, and what the font does not have is a
    question mark."""
    cut = name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 3] + "..."
    shown = (one if one.isprintable() and one < "\u0600" else "?" for one in cut)
    return "".join(shown).replace("$", r"\$")
