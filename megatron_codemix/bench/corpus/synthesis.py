"""How many verified problems an hour, how many of them are distinct, whether they verify again."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from megatron_codemix.bench.corpus.orphans import orphans_adopted
from megatron_codemix.bench.corpus.setting import SYNTHESIS_COUNT, Setting
from megatron_codemix.bench.measure import Cost, Trial, cost_of
from megatron_codemix.bench.rows import Goal, Row
from megatron_codemix.corpus.synthesis.output import Synthesized
from megatron_codemix.corpus.synthesis.synthesize import synthesize
from megatron_codemix.corpus.synthesis.verify import Verification, verify_corpus

CORES = 2
_SEED = 1
_HOUR = 3600


def synthesis(setting: Setting) -> Iterator[Row]:
    """One run with a worker for each of two cores, verified again from its files."""
    made: list[Synthesized] = []
    out = setting.folder / "synthetic"
    cost = cost_of(Trial(lambda: made.append(_synthesize(setting, out)), before=lambda: None))
    checked: list[Verification] = []
    with setting.progress("verify", setting.synthesis_count, "documents") as advance:
        recheck = cost_of(
            Trial(lambda: checked.append(verify_corpus(out, advance)), before=lambda: None)
        )
    yield from _speed(made[0], cost)
    yield from _quality(made[0], checked[0], recheck)
    yield from _left_out(made[0])


def _synthesize(setting: Setting, out: Path) -> Synthesized:
    count = setting.synthesis_count
    with orphans_adopted(), setting.progress("synthesize", count / 0.85, "candidates") as advance:
        return synthesize(out, count=count, seed=_SEED, workers=CORES, advance=advance)


def _speed(made: Synthesized, cost: Cost) -> Iterator[Row]:
    is_full = made.count >= SYNTHESIS_COUNT
    size = f"{made.count:,} problems of {len(made.families)} families"
    measured = size if is_full else f"extrapolated from {size}"
    figures = {
        f"synthesis: problems in 60 minutes of {CORES} cores": (
            CORES * _HOUR * made.count / (cost.user + cost.system),
            f"{measured}, by processor time, that of the sandboxes included",
        ),
        f"synthesis: problems in 60 minutes with {CORES} workers": (
            _HOUR * made.count / cost.wall,
            f"{measured}, by the clock, whatever else runs",
        ),
    }
    for name, (ours, note) in figures.items():
        yield Row(
            name=name,
            ours=ours,
            peer=None,
            unit="",
            is_rate=True,
            goal=Goal(at_least=SYNTHESIS_COUNT),
            is_judged=is_full,
            note=note,
            ours_system_seconds=cost.system,
        )


def _quality(made: Synthesized, checked: Verification, recheck: Cost) -> Iterator[Row]:
    yield Row(
        name="synthesis: share of distinct statements",
        ours=checked.distinct_statements,
        peer=None,
        unit="",
        goal=Goal(at_least=0.95),
        is_judged=made.count >= SYNTHESIS_COUNT,  # the more there are, the harder
        note="once names, numbers and punctuation are out",
    )
    yield Row(
        name="synthesis: documents that fail when verified again",
        ours=checked.failed,
        peer=None,
        unit="",
        goal=Goal(at_most=0),
        note=f"of {checked.documents:,} with {checked.tests:,} tests, in "
        f"{recheck.user + recheck.system:,.1f} s of processor time",
    )
    yield Row(
        name="synthesis: mean mutation score", ours=checked.mutation_score, peer=None, unit=""
    )


def _left_out(made: Synthesized) -> Iterator[Row]:
    """By reason, all families together."""
    reasons: Counter[str] = Counter()
    for name, number in made.rejected.items():
        reasons[name.rpartition(": ")[2]] += number
    for reason, number in sorted(reasons.items()):
        yield Row(
            name=f"synthesis: candidates left out, {reason}",
            ours=100 * number / made.candidates,
            peer=None,
            unit="%",
            note=f"{number:,} of {made.candidates:,}",
        )
