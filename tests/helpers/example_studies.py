"""The study files that come with the package, and what they plan without any data."""

from functools import cache
from pathlib import Path

from megatron_codemix.study.loader import load_study
from megatron_codemix.study.outlook import PhaseOutlook, outlook
from megatron_codemix.study.tree import StudyTree, expand, identify

FOLDER = Path(__file__).parents[2] / "examples" / "studies"
FLAT = {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}
"""The papers' own sizes, by name."""
SIZED = {
    f"{folder}/{path.stem}": path
    for folder in ("tiny", "20m", "150m")
    for path in sorted((FOLDER / folder).glob("*.yaml"))
}
"""The same for one machine."""
FRAGMENTS = {
    f"{folder}/{path.stem}": path
    for folder in ("base", "sizes")
    for path in sorted((FOLDER / folder).glob("*.yaml"))
}
"""What the studies extend."""
STUDIES = {**FLAT, **SIZED}


@cache
def planned(name: str) -> StudyTree:
    """The study as it is planned where none of its data is there."""
    return identify(expand(load_study(STUDIES[name], data_root=Path("/nowhere"))))


@cache
def outlooks(name: str) -> dict[str, PhaseOutlook]:
    """`cell/phase` -> what it will do."""
    return {f"{phase.cell}/{phase.phase}": phase for phase in outlook(planned(name))}


def billions(phase: PhaseOutlook) -> dict[str, float]:
    """Billions of tokens of each source."""
    return {name: tokens / 1e9 for name, tokens in phase.source_tokens.items()}
