"""What cannot be recorded is refused by name, and only where a recording is asked for."""

from collections.abc import Callable

import pytest

from megatron_codemix.config.checks import check_config
from megatron_codemix.config.identity import HASHED_SECTIONS
from megatron_codemix.config.schema import RunConfig

Changed = Callable[..., RunConfig]

ASKED = "backend.cuda_graphs=microbatch"
DELAYED = "precision={kind: fp8, recipe: torch_scaled_mm, rule: delayed}"
TENSORWISE = "precision={kind: fp8, recipe: torch_scaled_mm, rule: tensorwise}"
REFUSED = {
    "backend.device is cpu": ["backend.device=cpu"],
    "does not go with model.moe": [
        "model.moe={num_experts: 4, top_k: 2, balance_coefficient: 0.01}",
        "model.ffn_hidden_size=64",
    ],
    "does not go with delayed scaling": [DELAYED],
    "does not go with precision.recipe=tensorwise": ["precision={kind: fp8, recipe: tensorwise}"],
    "does not go with data.loader=dali": ["data.loader=dali"],
    "layout.pipeline: 2 does not go with backend.cuda_graphs": ["layout.pipeline=2"],
    "layout.overlap_grad_reduce: True does not go with": ["layout.overlap_grad_reduce=true"],
}
"""What is said -> what is asked for beside it."""


@pytest.mark.parametrize("said", REFUSED)
def test_what_cannot_be_recorded_is_named(changed: Changed, said: str) -> None:
    overrides = REFUSED[said]
    assert check_config(changed(*overrides)) == []
    [problem] = check_config(changed(ASKED, *overrides))
    assert said in problem


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["layout.tensor=2", "layout.sequence_parallel=true", "layout.context=2"],
        ["layout.recompute=selective"],
        ["train.ramp_up={start_sequences: 4, increment_sequences: 4, over_tokens: 100K}"],
        [TENSORWISE, "model.block=parallel", "data.document_mask=true"],
    ],
)
def test_what_goes_together(changed: Changed, overrides: list[str]) -> None:
    assert check_config(changed(ASKED, *overrides)) == []


def test_it_is_no_part_of_what_is_learned(changed: Changed) -> None:
    asked, plain = changed(ASKED), changed()
    assert asked != plain
    for section in HASHED_SECTIONS:
        assert getattr(asked, section) == getattr(plain, section)
