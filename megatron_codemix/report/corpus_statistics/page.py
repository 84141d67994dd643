"""The page of a corpus: one file that needs no other file or network."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from megatron_codemix.corpus.statistics.samples import NUM_PIECES
from megatron_codemix.corpus.statistics.source_counts import UNKNOWN, CountOptions
from megatron_codemix.data.mixture.describe import MAX_EPOCHS
from megatron_codemix.files import Json, write_text
from megatron_codemix.report.corpus_statistics.figures import (
    cluster_picture,
    drop_picture,
    epoch_picture,
    has_language_picture,
    kept_picture,
    language_picture,
    size_pictures,
    synthetic_pictures,
    told_kind,
)
from megatron_codemix.report.environment import page_environment
from megatron_codemix.report.figures import Picture
from megatron_codemix.units import format_bytes


def write_page(out: Path, corpus: Mapping[str, Json], options: CountOptions) -> None:
    """corpus: as `summarise` has it, with `tokens` (see epochs.answer) or None there."""
    write_text(out, render_page(corpus, options))


def render_page(corpus: Mapping[str, Json], options: CountOptions) -> str:
    """Everything that comes from the corpus is escaped."""
    environment = page_environment(is_html=True)
    environment.filters |= {
        "bytes": format_bytes,
        "share": _share,
        "first_of": _first_of,
        "by_count": _by_count,
        "languages": _language_words,
    }
    return environment.get_template("corpus.html.j2").render(
        name=Path(str(corpus["corpus"])).resolve().name,
        corpus=corpus,
        pictures=_pictures(corpus),
        num_licences=len(
            {one for source in corpus["sources"].values() for one in source["licences"]}
        ),
        seed=options.seed,
        held_out=options.validation_fraction,
        num_pieces=NUM_PIECES,
        max_epochs=MAX_EPOCHS,
    )


def _pictures(corpus: Mapping[str, Json]) -> dict[str, list[Picture] | list[list[Picture]]]:
    sources, found = corpus["sources"], corpus["duplicates"]["found"]
    study = corpus["tokens"]["study"] if corpus["tokens"] else None
    return {
        "sizes": size_pictures(sources),
        "languages": _drawn(language_picture(n, one["languages"]) for n, one in sources.items()),
        "stages": [
            _drawn(draw(stage["name"], stage["sources"]) for draw in (kept_picture, drop_picture))
            for stage in corpus["stages"]
        ],
        "duplicates": _drawn([cluster_picture(found["cluster_sizes"])]) if found else [],
        "synthetic": [
            picture
            for name, one in sources.items()
            if one["synthetic"]
            for picture in synthetic_pictures(name, one["synthetic"])
        ],
        "epochs": _drawn([epoch_picture(study["runs"], MAX_EPOCHS)]) if study else [],
    }


def _drawn(pictures: Iterable[Picture | None]) -> list[Picture]:
    return [picture for picture in pictures if picture is not None]


def _share(value: float) -> str:
    """`12.3%`."""
    return f"{100 * value:.2g}%" if 0 < value < 0.01 else f"{100 * value:.1f}%"


def _first_of(counts: Mapping[str, int], number: int) -> dict[str, int]:
    """The first few, and the others together."""
    names = list(counts)
    rest = names[number:]
    shown = {name: counts[name] for name in names[:number]}
    return shown | ({f"{len(rest)} others": sum(counts[name] for name in rest)} if rest else {})


def _by_count(dropped: Mapping[str, Json]) -> list[tuple[str, Json]]:
    return sorted(dropped.items(), key=lambda item: (-item[1]["count"], item[0]))


def _language_words(source: Mapping[str, Json]) -> str | None:
    """What no figure is drawn for: one language, or none known; None where there is a figure."""
    languages = source["languages"]
    if not source["documents"] or has_language_picture(languages):
        return None
    (language,) = languages[told_kind(languages)]
    if language == UNKNOWN:
        return "no document tells its language; `codemix corpus filter` finds that of prose"
    return f"all {language}"
