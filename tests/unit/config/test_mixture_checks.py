"""What is refused of sources, mixtures, changes and caps."""

from collections.abc import Callable

import pytest

from megatron_codemix.config.checks import check_config
from megatron_codemix.config.mixture_checks import weighted_sources
from megatron_codemix.config.schema import RunConfig

STEPS = "data.mixture={{kind: step, steps: [{{from_tokens: {}, weights: {{text: 1}}}}, {}]}}"
CHANGE = "{{at_tokens: {}, mixture: {{weights: {{text: 1}}}}}}"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "data.mixture={kind: linear, start: {txt: 1}, end: {text: 0.5}}",
            [
                "data.mixture.start.txt: no such source; did you mean 'text'?",
                "data.mixture.end: they sum to 0.5, not to 1",
            ],
        ),
        (
            STEPS.format("1K", "{from_tokens: 1K, weights: {code: 1}}"),
            [
                "data.mixture.steps.0.from_tokens: 1K; the first step begins at 0",
                "data.mixture.steps.1.from_tokens: 1K is not after the step before it",
            ],
        ),
        (
            STEPS.format("0", "{from_tokens: 9M, weights: {cod: 1}}"),
            [
                "data.mixture.steps.1.weights.cod: no such source",
                "data.mixture.steps.1.from_tokens: 9M is not within the",
            ],
        ),
        (
            "data.mixture={kind: stages, strategy: uniform, varying: {code: 1}, others: {code: 1}}",
            ["data.mixture: source 'code' is in both `varying` and `others`"],
        ),
        (
            f"data.changes=[{CHANGE.format('200K')}, {CHANGE.format('100K')}]",
            ["data.changes.1.at_tokens: 100K is not after the change before it, at 200K"],
        ),
        (
            f"data.changes=[{CHANGE.format('1B')}]",
            ["data.changes.0.at_tokens: 1B is not within the phase of"],
        ),
        (
            "data.changes=[{at_tokens: 1K, mixture: {weights: {text: 0.5, markop: 0.4}}}]",
            [
                "data.changes.0.mixture.weights.markop: no such source; did you mean 'markup'?",
                "data.changes.0.mixture.weights: they sum to 0.9, not to 1",
            ],
        ),
        (
            "data.sources.text.spill_to=[code]",
            ["data.sources.text.spill_to: means something only with max_epochs"],
        ),
        (
            "data.sources.code={train: c, max_epochs: 2, spill_to: [code, texts]}",
            [
                "data.sources.code.spill_to: a source cannot take over from itself",
                "data.sources.code.spill_to: no source 'texts'; did you mean 'text'?",
            ],
        ),
        (
            "data.sources.code={train: c, max_epochs: 2, packing: best_fit}",
            ["data.sources.code.max_epochs: how many samples an epoch has is not known"],
        ),
    ],
)
def test_problems_of_a_mixture_are_found_together(
    changed: Callable[..., RunConfig], override: str, expected: list[str]
) -> None:
    problems = check_config(changed(override))
    assert len(problems) == len(expected), problems
    for problem, start in zip(problems, expected, strict=True):
        assert problem.startswith(start), problems


def test_every_kind_is_accepted(changed: Callable[..., RunConfig]) -> None:
    for mixture in (
        "{weights: {text: 1}}",
        "{kind: linear, start: {text: 1}, end: {code: 1}}",
        "{kind: cosine, start: {text: 1}, end: {code: 1}}",
        "{kind: step, steps: [{from_tokens: 0, weights: {text: 1}}]}",
        "{kind: stages, strategy: uniform, varying: {code: 1}, others: {text: 0.5, markup: 0.5}}",
    ):
        assert check_config(changed(f"data.mixture={mixture}")) == []


def test_what_megatrons_order_cannot_do_is_refused_together(
    changed: Callable[..., RunConfig],
) -> None:
    problems = check_config(
        changed(
            "data.order=megatron",
            "data.mixture={kind: linear, start: {text: 1}, end: {code: 1}}",
            "data.sources.code={train: c, max_epochs: 2}",
            "data.sources.text={train: t, packing: best_fit}",
        )
    )
    assert sorted(problem.split(":")[0] for problem in problems) == [
        "data.order",
        "data.sources.code.max_epochs",
        "data.sources.text.packing",
    ]


def test_megatrons_order_does_not_go_on_from_a_parent(changed: Callable[..., RunConfig]) -> None:
    parent = "init_from={run: runs/parent, load: weights}"
    (problem,) = check_config(changed("data.order=megatron", parent))
    assert "set data.restart=true or use order: stateless" in problem
    assert check_config(changed("data.order=megatron", parent, "data.restart=true")) == []


def test_sources_along_a_chain_of_caps_are_read(changed: Callable[..., RunConfig]) -> None:
    config = changed(
        "data.sources.code={train: c, max_epochs: 1, spill_to: [markup]}",
        "data.sources.markup={train: m, max_epochs: 1, spill_to: [spare]}",
        "data.sources.spare={train: s}",
        "data.sources.other={train: o}",
        "data.mixture={weights: {code: 0.5, text: 0.5}}",
    )
    assert weighted_sources(config.data) == {"code", "text", "markup", "spare"}
