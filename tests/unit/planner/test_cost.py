"""GPU-hours, energy and money by their definitions."""

from pathlib import Path

import pytest

from megatron_codemix.planner.assumptions import load_for_plan
from megatron_codemix.planner.cost import (
    PUE,
    Prices,
    Site,
    paper_cost,
    steady_cost,
    total_cost,
    training_cost,
)
from megatron_codemix.planner.estimate import estimate
from megatron_codemix.planner.hardware import make_cluster
from megatron_codemix.planner.job import Job
from megatron_codemix.planner.time import estimate_time, load_constants
from megatron_codemix.resources import find_example

SIZES = ("data.sequence_length=2048", "train.global_batch_sequences=64")
RAMP_UP = "train.ramp_up={start_sequences: 16, increment_sequences: 16, over_tokens: 1966080}"


def model_file(name: str) -> Path:
    path = find_example(f"models/{name}.yaml")
    assert path is not None
    return path


def site(**prices: float) -> Site:
    return Site(cluster=make_cluster("h100"), constants=load_constants(), prices=Prices(**prices))


def test_a_cost_is_steps_times_their_time_in_gpu_hours() -> None:
    config = load_for_plan(model_file("150m"), SIZES).config
    where = site(gpu_hour=2.5, kwh=0.25)
    job = Job.of_config(config, 8)
    cost = training_cost(config, 10 * 64 * 2048 + 100, job, where)
    seconds = 10 * estimate_time(job, where.cluster, where.constants).step_seconds
    assert cost.tokens == 10 * 64 * 2048
    assert cost.seconds == pytest.approx(seconds)
    assert cost.gpu_hours == pytest.approx(8 * seconds / 3600)
    assert cost.kwh == pytest.approx(cost.gpu_hours * 0.7 * PUE)
    assert cost.gpu_money == pytest.approx(2.5 * cost.gpu_hours)
    assert cost.energy_money == pytest.approx(0.25 * cost.kwh)


def test_measured_power_takes_the_place_of_the_largest_and_no_price_gives_no_money() -> None:
    config = load_for_plan(model_file("150m"), SIZES).config
    where = site(gpu_watts=500.0)
    cost = steady_cost(
        10**9, estimate(Job.of_config(config, 8), where.cluster, where.constants), where
    )
    assert cost.kwh == pytest.approx(cost.gpu_hours * 0.5)
    assert (cost.gpu_money, cost.energy_money) == (None, None)
    assert cost.tokens == 10**9


def test_steps_of_a_ramp_up_have_their_own_time() -> None:
    """Of 16, 32 and 48 sequences until each has had 320 sequences, a third of the ramp-up."""
    config = load_for_plan(model_file("150m"), (*SIZES, RAMP_UP)).config
    where, job = site(), Job.of_config(config, 8)
    counts = {16: 20, 32: 10, 48: 7, 64: 5}
    tokens = sum(size * number for size, number in counts.items()) * 2048
    cost = training_cost(config, tokens, job, where)
    expected = 0.0
    for size, number in counts.items():
        smaller = load_for_plan(
            model_file("150m"),
            ("data.sequence_length=2048", f"train.global_batch_sequences={size}"),
        ).config
        time = estimate_time(Job.of_config(smaller, 8), where.cluster, where.constants)
        expected += number * time.step_seconds
    assert cost.tokens == tokens
    assert cost.seconds == pytest.approx(expected)


def test_costs_add_up() -> None:
    config = load_for_plan(model_file("150m"), SIZES).config
    job = Job.of_config(config, 8)
    parts = [
        training_cost(config, tokens, job, site(gpu_hour=2.0)) for tokens in (10**8, 3 * 10**8)
    ]
    total = total_cost(parts)
    assert total.tokens == parts[0].tokens + parts[1].tokens
    assert total.gpu_money == pytest.approx(2.0 * total.gpu_hours)
    assert total.energy_money is None


@pytest.mark.parametrize(("name", "hours"), [("470m", 4736), ("2_8b", 13824)])
def test_the_papers_models_stand_beside_what_the_paper_needed(name: str, hours: int) -> None:
    """Section 2.3 of arXiv 2408.10914: chip-hours of 200B tokens."""
    paper = paper_cost(load_for_plan(model_file(name)).config.model)
    assert paper is not None
    assert (paper.chip_hours, paper.tokens) == (hours, 200 * 10**9)
    other = load_for_plan(model_file(name), ["model.num_layers=4"]).config.model
    assert paper_cost(other) is None
