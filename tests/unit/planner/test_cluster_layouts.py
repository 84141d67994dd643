"""The layouts in examples/cluster are those that the planner finds, and what they say is what it
predicts."""

from pathlib import Path

import pytest

from megatron_codemix.config.loader import load_run_config
from megatron_codemix.errors import ConfigError
from megatron_codemix.planner.answer import Answer, Question, answer, answer_by_search
from megatron_codemix.planner.assumptions import load_for_plan
from megatron_codemix.planner.cost import Prices, Site
from megatron_codemix.planner.hardware import make_cluster
from megatron_codemix.planner.time import load_constants
from megatron_codemix.units import format_bytes

MODELS = ("470m", "2_8b", "7b", "13b", "70b")
NODES = (1, 2, 8, 64)
TOO_LARGE = {("70b", 1)}
CLUSTER = Path(__file__).parents[3] / "examples" / "cluster"
SITE = Site(cluster=make_cluster("h100"), constants=load_constants(), prices=Prices())


def layout_of(model: str, nodes: int) -> Path:
    return CLUSTER / "layouts" / f"{model}_{nodes}x8.yaml"


def question_of(nodes: int) -> Question:
    return Question(world_size=8 * nodes, site=SITE)


def predicted(found: Answer) -> str:
    memory, time = found.chosen.memory, found.chosen.time
    used, limit = format_bytes(memory.peak_bytes), format_bytes(memory.limit_bytes)
    return f"# Predicted: {time.tokens_per_second:,.0f} tokens/s, {used} of {limit}."


def test_there_is_one_for_each_model_and_size() -> None:
    there = {path.name for path in (CLUSTER / "layouts").iterdir()}
    wanted = {(model, nodes) for model in MODELS for nodes in NODES} - TOO_LARGE
    assert there == {layout_of(*one).name for one in wanted}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("nodes", NODES)
def test_what_it_says_is_predicted(model: str, nodes: int) -> None:
    if (model, nodes) in TOO_LARGE:
        config = load_for_plan(CLUSTER / f"{model}.yaml", []).config
        with pytest.raises(ConfigError, match="no layout fits"):
            answer_by_search(config, question_of(nodes), frozenset())
        return
    path = layout_of(model, nodes)
    found = answer(load_run_config(path), question_of(nodes))
    assert found.chosen.memory.fits
    assert path.read_text().splitlines()[1] == predicted(found)


@pytest.mark.parametrize(("model", "nodes"), [("470m", 1), ("7b", 1), ("70b", 2)])
def test_no_other_is_faster(model: str, nodes: int) -> None:
    config = load_for_plan(CLUSTER / f"{model}.yaml", []).config
    found = answer_by_search(config, question_of(nodes), frozenset())
    assert found.config.layout == load_run_config(layout_of(model, nodes)).layout
