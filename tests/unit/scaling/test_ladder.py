"""Ladders: published batches and rates, whole steps, compute, and the study file."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from megatron_codemix.config.flops import training_flops_per_token
from megatron_codemix.config.parameters import count_parameters
from megatron_codemix.config.schema import ModelConfig
from megatron_codemix.errors import ConfigError
from megatron_codemix.scaling import rules
from megatron_codemix.scaling.ladder import Ladder, make_ladder
from megatron_codemix.scaling.ladder_design import Design, Target
from megatron_codemix.scaling.ladder_study import Machine, study_text
from megatron_codemix.scaling.model_file import read_model
from megatron_codemix.scaling.shapes import shape_near
from megatron_codemix.scaling.tiny_ladder import BUDGETS, MACHINE, SIZES, make_tiny_ladder
from megatron_codemix.study.chains import curve, taken_steps
from megatron_codemix.study.loader import load_study
from megatron_codemix.study.tree import StudyTree, expand

SHARES = (Fraction(0), Fraction(1, 4), Fraction(1, 2))

# The logs of AI2's ladder (github.com/allenai/OLMo-ladder, src/scripts/paper/data/ladder-runs):
# parameters, batch_size_in_tokens of sequences of 4,096, learning_rate_peak.
OLMO_LADDER = [
    (190_354_176, 524_288, 0.000972728518721015),
    (371_262_464, 786_432, 0.0007785480791584576),
    (758_220_288, 1_310_720, 0.0006136404571811406),
    (1_279_395_840, 1_572_864, 0.0005154392348953896),
]
# Table of model sizes of DataDecide (arXiv 2504.11393): model file, rate.
DATADECIDE = [("60m", 5.8e-3), ("150m", 4.2e-3), ("300m", 3.3e-3)]


@pytest.mark.parametrize(("parameters", "batch_tokens", "rate"), OLMO_LADDER)
def test_batches_and_rates_are_those_of_the_olmo_ladder(
    parameters: int, batch_tokens: int, rate: float
) -> None:
    """Its batches are multiples of 64; at 4,096 tokens it takes a quarter of the rate."""
    assert rules.batch_sequences(parameters, 4096, 64) * 4096 == batch_tokens
    assert rules.peak_learning_rate(parameters) / 4 == pytest.approx(rate, rel=1e-12)


@pytest.mark.parametrize(("name", "rate"), DATADECIDE)
def test_rates_are_those_of_datadecide(name: str, rate: float) -> None:
    model = read_model(Path(f"examples/models/{name}.yaml")).model
    padded = model.model_copy(update={"vocabulary_size": 50_304})  # as its authors pad it
    assert rules.peak_learning_rate(rules.rule_parameters(padded)) == pytest.approx(rate, abs=5e-5)


@pytest.mark.parametrize(
    ("nominal", "sequences"), [(60e6, 96), (150e6, 192), (300e6, 320), (530e6, 448), (1e9, 704)]
)
def test_batches_are_those_of_datadecide(nominal: float, sequences: int) -> None:
    """Its batches go by the sizes' names."""
    assert rules.batch_sequences(nominal, 2048, 32) == sequences


def test_an_output_table_of_its_own_is_counted_and_the_input_table_is_not() -> None:
    tinyllama = read_model(Path("examples/models/1b.yaml")).model
    assert rules.rule_parameters(tinyllama) == 1_100_048_384 - 32_000 * 2048
    assert rules.body_parameters(tinyllama) == 1_100_048_384 - 2 * 32_000 * 2048


@pytest.mark.parametrize("family", ["2_8b", "1b", "tiny"])
@pytest.mark.parametrize("part", [1, 1 / 3, 1 / 10, 1 / 30])
def test_a_shape_is_near_the_size_that_was_asked_for(family: str, part: float) -> None:
    model = read_model(Path(f"examples/models/{family}.yaml")).model
    wanted = part * rules.body_parameters(model)
    found = shape_near(model, wanted)
    # A fifth in size is worth a factor e in width over depth: see shapes.py.
    assert rules.body_parameters(found) == pytest.approx(wanted, rel=0.2)
    assert found.hidden_size % found.num_attention_heads == 0
    assert found.hidden_size // found.num_attention_heads % 2 == 0
    ratio = model.ffn_hidden_size / model.hidden_size
    assert found.ffn_hidden_size / found.hidden_size == pytest.approx(ratio, rel=0.2)
    if model.num_query_groups is not None:
        assert found.num_query_groups is not None
        assert found.num_attention_heads % found.num_query_groups == 0
    kept = {"num_layers", "hidden_size", "ffn_hidden_size", "num_attention_heads"}
    kept |= {"num_query_groups", "head_dim"}
    assert found.model_dump(exclude=kept) == model.model_dump(exclude=kept)


def large_target() -> Target:
    """400B tokens for the first paper's 2.8B."""
    file = read_model(Path("examples/models/2_8b.yaml"))
    return Target(model=file.model, tokens=400 * 10**9, sequence_length=file.sequence_length)


def test_a_ladder_costs_what_it_may_and_its_sizes_double() -> None:
    ladder = make_ladder(large_target(), Design(), 0.1)
    trained = [
        (rung.trained_tokens, training_flops_per_token(rung.model, 8192)) for rung in ladder.rungs
    ]
    total = 3 * sum(tokens * flops for tokens, flops in trained)
    assert total == pytest.approx(ladder.flops)
    assert 0.08 < total / ladder.target.flops <= 0.1
    bodies = [rung.parameters_without_embedding for rung in ladder.rungs]
    for small, large in pairwise(bodies):
        assert large / small == pytest.approx(2, rel=0.15)


def test_budgets_are_multiples_of_twenty_tokens_a_parameter_in_whole_steps() -> None:
    ladder = make_ladder(large_target(), Design(), 0.1)
    for rung in ladder.rungs:
        step = rung.batch_sequences * rung.sequence_length
        assert rung.batch_sequences % 8 == 0
        wanted = [20 * rung.parameters_total * times for times in (1, 2, 5, 10)]
        for branch, tokens in zip(rung.branches, wanted, strict=True):
            assert branch.tokens == pytest.approx(tokens, rel=0.001)
            assert branch.decay_tokens == pytest.approx(tokens / 5, rel=0.003)
            assert branch.from_tokens % rung.keep_every_tokens == 0
            assert branch.from_tokens % step == branch.decay_tokens % step == 0
        assert rung.warmup_tokens == rung.parameters_total  # its tables are tied
        assert rung.learning_rate == pytest.approx(
            0.0047 / 2 * (rung.parameters_total / 108e6) ** (-1 / 3), rel=0.003
        )


def test_one_stable_training_serves_all_budgets() -> None:
    """Four trainings of their own would take 18 Chinchilla budgets; branches take 8 + 18 / 5."""
    ladder = make_ladder(large_target(), Design(), 0.1)
    for rung in ladder.rungs:
        budget = 20 * rung.parameters_total
        assert rung.trained_tokens / budget == pytest.approx(0.8 * 10 + 0.2 * 18, rel=0.002)


def test_equal_budgets_put_equal_compute_on_diagonals() -> None:
    ladder = make_tiny_ladder(SHARES, 1)
    assert ladder.num_points == 60
    compute = [
        [rung.parameters_without_embedding * branch.tokens for branch in rung.branches]
        for rung in ladder.rungs
    ]
    for small, large in pairwise(compute):
        for longer, shorter in zip(small[1:], large, strict=False):
            assert longer == pytest.approx(shorter, rel=0.15)
    for rung, size in zip(ladder.rungs, SIZES, strict=True):
        assert rung.parameters_without_embedding == pytest.approx(size, rel=0.12)
        for branch, tokens in zip(rung.branches, BUDGETS, strict=True):
            assert branch.tokens == pytest.approx(tokens, rel=0.02)
        assert rung.warmup_tokens < rung.branches[0].from_tokens / 2


def tree_of(ladder: Ladder, machine: Machine, folder: Path) -> StudyTree:
    path = folder / "ladder.yaml"
    path.write_text(study_text(ladder, machine, "ladder", "codemix scaling ladder"))
    return expand(load_study(path))


CLUSTER = Machine(
    world_size=8,
    microbatch_sequences=1,
    precision="bf16",
    has_gpus=True,
    validation_bytes=1_000_000,
)


@pytest.mark.parametrize("is_tiny", [True, False])
def test_the_study_trains_what_the_ladder_says(is_tiny: bool, tmp_path: Path) -> None:
    ladder = make_tiny_ladder(SHARES, 1) if is_tiny else make_ladder(large_target(), Design(), 0.1)
    tree = tree_of(ladder, MACHINE if is_tiny else CLUSTER, tmp_path)
    assert tree.cells == ["code0", "code25", "code50"]
    assert len(tree.nodes) == 3 * 5 * (1 + 4)
    for rung in ladder.rungs:
        for branch in rung.branches:
            chain = tree.variant("code25", f"{rung.name}-{branch.name}")
            config = chain[-1].config
            assert config.data.mixture.weights == {"text": 0.75, "code": 0.25}
            assert count_parameters(config.model, config.model.vocabulary_size) == (
                rung.parameters_total
            )
            step = config.train.global_batch_sequences * config.data.sequence_length
            assert sum(taken_steps(chain)) * step == branch.tokens
            rate, stable = curve(chain), curve(chain[:1])
            end = taken_steps(chain)[-1] * step
            before = taken_steps(chain)[0] * step
            assert stable.at(before) == rung.learning_rate == rate.at(0)
            assert rate.at(end) == 0
            # 1 - sqrt: half of the rate is gone after a quarter of the decay
            assert rate.at(end // 4) == pytest.approx(rung.learning_rate / 2, rel=0.05)


def test_seeds_train_the_ladder_again(tmp_path: Path) -> None:
    ladder = make_tiny_ladder((Fraction(0), Fraction(1, 2)), 2)
    tree = tree_of(ladder, MACHINE, tmp_path)
    assert tree.cells == ["code0.seed1", "code0.seed2", "code50.seed1", "code50.seed2"]
    assert {node.config.train.seed for node in tree.nodes.values()} == {1, 2}
    assert ladder.flops == pytest.approx(4 / 3 * make_tiny_ladder(SHARES, 1).flops)


def test_a_family_with_grouped_queries_keeps_them(tmp_path: Path) -> None:
    file = read_model(Path("examples/models/1b.yaml"))
    target = Target(model=file.model, tokens=10**11, sequence_length=2048)
    tree = tree_of(make_ladder(target, Design(sizes=3), 0.1), CLUSTER, tmp_path)
    assert all(node.config.model.num_query_groups for node in tree.nodes.values())


@pytest.mark.parametrize(
    ("changes", "compute", "words"),
    [
        ({"sizes": 1}, 0.1, "at least 2"),
        ({"multiples": (Fraction(1), Fraction(1))}, 0.1, "each once"),
        ({"multiples": (Fraction(0),)}, 0.1, "above 0"),
        ({"shares": (Fraction(1),)}, 0.1, "below 1"),
        ({"shares": (Fraction(0), Fraction(0))}, 0.1, "twice"),
        ({"decay": Fraction(1)}, 0.1, "between 0 and 1"),
        ({}, 0.0, "above 0"),
        ({}, 1e-12, "allow more"),
    ],
)
def test_what_is_no_ladder_is_refused(
    changes: dict[str, object], compute: float, words: str
) -> None:
    design = replace(Design(), **changes)  # type: ignore[arg-type]  # a field of any type
    with pytest.raises(ConfigError, match=words):
        make_ladder(large_target(), design, compute)


def test_a_file_without_a_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("data: {sequence_length: 128}\n")
    with pytest.raises(ConfigError, match="no section 'model'"):
        read_model(path)
    assert isinstance(read_model(Path("examples/models/tiny.yaml")).model, ModelConfig)
