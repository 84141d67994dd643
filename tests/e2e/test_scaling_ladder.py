"""A ladder from target to prediction: study file, trainings side by side, table, fit, figures."""

import json
from pathlib import Path

import pytest
import yaml

from megatron_codemix.files import read_jsonl
from megatron_codemix.scaling.readers.study import read
from tests.helpers.commands import codemix
from tests.helpers.tiny import (
    SEQUENCE,
    VOCABULARY,
    markov_documents,
    write_held_out,
    write_shard,
    write_tokenizer_into,
)

BUDGETS = (5_000, 10_000)
TARGET = {
    "model": {
        "num_layers": 4,
        "hidden_size": 64,
        "ffn_hidden_size": 176,
        "num_attention_heads": 4,
        "vocabulary_size": VOCABULARY,
        "tie_embeddings": True,
    },
    "data": {"sequence_length": SEQUENCE},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    tokenizer = write_tokenizer_into(folder)
    for seed, source in enumerate(("code", "text")):
        documents = markov_documents(seed, 300)
        write_shard(folder / f"{source}.train", documents, tokenizer=tokenizer, source=source)
        write_held_out(
            folder / f"{source}.validation", seed + 10, tokenizer=tokenizer, source=source
        )
    return folder


@pytest.mark.slow
def test_a_ladder_from_target_to_prediction(data: Path, tmp_path: Path) -> None:
    (tmp_path / "target.yaml").write_text(yaml.safe_dump(TARGET))
    study, out = tmp_path / "ladder.yaml", tmp_path / "runs"
    options = {
        "--tokens": "10M",
        "--sizes": "2",
        "--budgets": ",".join(map(str, BUDGETS)),
        "--shares": "0.25",
        "--compute": "0.01",
        "--rate-factor": "0.2",
        "--gpus": "1",
        "--out": str(study),
    }
    words = [word for option in options.items() for word in option]
    made = codemix("scaling", "ladder", tmp_path / "target.yaml", *words)
    assert made.returncode == 0, made.stderr
    here = ("--data", data, "--out", out)
    changes = ("--set", "backend.device=cpu", "--set", "precision.kind=fp32")
    ran = codemix("study", "run", study, *here, *changes, "--jobs", "2")
    assert ran.returncode == 0, ran.stderr
    assert not list(out.rglob("evaluation")), "nothing evaluates but the trainings themselves"

    table = read(out)
    assert len(table) == 4
    stable = {gone.name for gone in table.excluded}
    assert len(stable) == 2
    assert all(name.endswith("-stable") for name in stable)
    for tokens in table.frame["tokens"]:
        assert min(abs(tokens / wanted - 1) for wanted in BUDGETS) < 0.05
    for name, loss in table.frame[["name", "loss_nats.text"]].itertuples(index=False):
        [run] = out.glob(f"{name}-*")
        assert read_jsonl(run / "validation.jsonl")[-1]["sources"]["text"]["loss_nats"] == (
            pytest.approx(loss)
        )

    fitted = codemix(
        "scaling", "fit", out, "--law", "overtraining", "--bootstraps", "10", "--out",
        tmp_path / "fit", "--json",
    )  # fmt: skip
    assert fitted.returncode == 0, fitted.stderr
    record = json.loads(fitted.stdout)
    targets = [fit["target_column"] for fit in record["fits"]]
    failed = [failure["target"] for failure in record["failed"]]  # four runs, four parameters
    assert sorted(targets + failed) == ["loss_nats.code", "loss_nats.text"]
    asked = codemix(
        "scaling", "predict", tmp_path / "fit", "--model", tmp_path / "target.yaml",
        "--tokens", "10M", "--json",
    )  # fmt: skip
    assert asked.returncode == 0, asked.stderr
    assert len(json.loads(asked.stdout)["predictions"]) == len(targets)
