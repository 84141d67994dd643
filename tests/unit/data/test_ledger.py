"""The ledger counts what was consumed, and says how far that is from the plan."""

import json
from pathlib import Path

import pytest

from megatron_codemix.data.dataset import SourceSpec
from megatron_codemix.data.ledger import Ledger
from megatron_codemix.data.mixture.plan import constant_plan
from megatron_codemix.data.resolve import DataPlan, Inherited


def plan(**changes: object) -> DataPlan:
    values = {
        "sources": [SourceSpec("code", Path("code")), SourceSpec("text", Path("text"))],
        "mixture": constant_plan({"code": 2**18, "text": 3 * 2**18}),
        "sequence_length": 16,
        "seed": 1,
        "tokenizer_hash": "t",
        "manifest_hashes": {"code": "c", "text": "d"},
    }
    return DataPlan(**{**values, **changes})


def test_planned_and_consumed_are_counted_apart() -> None:
    ledger = Ledger(plan(), {"code": 10, "text": 10})
    ledger.add([3, 5], [48, 80], [96.0, 240.0])
    record = ledger.record(step=1)
    code, text = record["sources"]["code"], record["sources"]["text"]
    assert (code["planned_samples"], code["consumed_samples"]) == (2.0, 3)
    assert (text["planned_samples"], text["consumed_samples"]) == (6.0, 5)
    assert record["max_error_samples"] == 1.0
    assert (code["consumed_tokens"], code["epochs"], code["loss_nats"]) == (48, 0.3, 2.0)
    assert (record["samples"], record["tokens"]) == (8, 128)


def test_restored_ledger_goes_on_as_if_never_stopped() -> None:
    whole, first = (
        Ledger(plan(), {"code": 10, "text": 10}),
        Ledger(plan(), {"code": 10, "text": 10}),
    )
    steps = [([1, 3], [16, 48], [1.1, 2.2]), ([1, 3], [16, 48], [3.3, 0.7])]
    for step in steps:
        whole.add(*step)
    first.add(*steps[0])
    second = Ledger(plan(), {"code": 10, "text": 10})
    second.restore(json.loads(json.dumps(first.record(1))))
    second.add(*steps[1])
    assert second.record(2) == whole.record(2)


def test_chain_counts_go_on_from_the_parent() -> None:
    inherited = {
        "text": Inherited(cursor=12, chain_tokens=192, samples_per_epoch=10),
        "markup": Inherited(cursor=5, chain_tokens=80, samples_per_epoch=4),
    }
    ledger = Ledger(plan(inherited=inherited), {"code": 10, "text": 10})
    ledger.add([1, 3], [16, 48], [1.0, 1.0])
    sources = ledger.record(1)["sources"]
    assert (sources["text"]["cursor"], sources["text"]["chain_tokens"]) == (15, 192 + 48)
    assert sources["text"]["epochs"] == 1.5
    assert sources["code"]["cursor"] == 1
    assert sources["markup"]["cursor"] == 5
    assert sources["markup"]["consumed_samples"] == 0
    assert sources["markup"]["loss_nats"] is None


def test_a_wrong_mixture_shows() -> None:
    """The ledger does not repeat the plan: fed with something else, it says so."""
    ledger = Ledger(plan(), {"code": 10, "text": 10})
    ledger.add([8, 0], [128, 0], [1.0, 0.0])
    assert ledger.record(1)["max_error_samples"] == pytest.approx(6.0)
