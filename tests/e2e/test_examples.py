"""The examples of the data engine run as their texts say."""

import argparse
import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from megatron_codemix.cli.main import main
from megatron_codemix.config.checks import check_config
from megatron_codemix.config.loader import load_run_config
from megatron_codemix.data.mixture.mixture import Mixture
from megatron_codemix.data.mixture.plan import MixturePlan
from megatron_codemix.files import read_jsonl
from tests.helpers.commands import codemix
from tests.helpers.shards import END_OF_DOCUMENT, write_random_shard
from tests.helpers.tiny import VOCABULARY, write_shard, write_tokenizer_into

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = REPOSITORY / "examples"


def test_mixing_and_reblending_reads_what_the_weights_say(tmp_path) -> None:
    script = EXAMPLES / "data_engine" / "mix_and_reblend.py"
    result = subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "samples 0 to 39: {'code': 10, 'text': 30}"
    assert lines[1].startswith("sample 7 is from DocumentSpan(source=")
    assert lines[2] == "samples 40 to 119: {'code': 40, 'math': 20, 'text': 20}"
    assert lines[3] == "where the sources stand: {'code': 50, 'math': 20, 'text': 50}"


def test_the_provider_for_megatron_lm_gives_its_data_sets(tmp_path) -> None:
    for seed, name in enumerate(("code.train", "text.train", "text.validation")):
        write_random_shard(tmp_path / name, seed=seed)
    path = EXAMPLES / "megatron_lm" / "codemix_data.py"
    spec = importlib.util.spec_from_file_location("codemix_data", path)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    args = argparse.Namespace(
        seq_length=16,
        seed=1,
        reset_position_ids=False,
        reset_attention_mask=False,
        eod_mask_loss=False,
        create_attention_mask_in_dataloader=False,
    )
    provider = example.make_provider(args, END_OF_DOCUMENT, lambda: True, data=tmp_path)
    train, valid, test = provider([100, 20, 0])
    assert (len(train), len(valid), test) == (100, 20, None)
    assert sorted(train[0]) == ["labels", "loss_mask", "position_ids", "tokens"]


# Share of code after this part of the run, by the integral of each schedule.
SHARES_OF_CODE = {
    "constant": lambda done: 0.2,
    "step": lambda done: 0.5 * (min(done, 0.8) - min(done, 0.4)) / done,
    "linear": lambda done: 0.25 * done,
    "cosine": lambda done: 0.25 * (1 - math.sin(math.pi * done) / (math.pi * done)),
    # Text : code in four stages, arXiv 2309.16298, Table 5.
    "stages_uniform": lambda done: in_stages([3 / 8] * 4, done),
    "stages_increase": lambda done: in_stages([3 / 10, 3 / 10, 4 / 10, 5 / 10], done),
    "stages_decrease": lambda done: in_stages([5 / 10, 4 / 10, 3 / 10, 3 / 10], done),
}


def in_stages(shares: list[float], done: float) -> float:
    parts = [max(0.0, min(0.25, done - 0.25 * number)) for number in range(4)]
    return sum(share * part for share, part in zip(shares, parts, strict=True)) / done


def test_each_example_of_a_mixture_is_tested() -> None:
    """Those of instructions in test_instruct_examples.py."""
    found = {path.stem for path in (EXAMPLES / "mixtures").glob("*.yaml")}
    assert {name for name in found if not name.startswith("instruct_")} == set(SHARES_OF_CODE)


@pytest.mark.parametrize("name", SHARES_OF_CODE)
def test_mixtures_read_what_their_schedules_say(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "runs" / "quickstart" / "data"
    tokenizer = write_tokenizer_into(data)
    for source in ("text", "code"):
        documents = [np.arange(200)] * 2000
        write_shard(data / f"{source}.train", documents, tokenizer=tokenizer, source=source)
    monkeypatch.chdir(tmp_path)
    path = str(EXAMPLES / "mixtures" / f"{name}.yaml")
    assert main(["data", "mixture", path, f"model.vocabulary_size={VOCABULARY}", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    mixture = Mixture(MixturePlan.from_dict(found["plan"]))
    num_samples = found["segments"][-1]["stop"]
    assert num_samples == 49 * 16, "200K tokens in whole steps"
    code = mixture.source_names.index("code")
    for part in range(1, 9):
        n = num_samples * part // 8
        expected = SHARES_OF_CODE[name](part / 8)
        # Each segment is at most two samples off, and a step begins at the nearest sample.
        assert mixture.counts(n)[code] == pytest.approx(n * expected, abs=4)


FP8 = EXAMPLES / "precision" / "emulated_fp8.yaml"


def test_emulated_fp8_trains_beside_bf16(tmp_path: Path) -> None:
    """On a small data set of bytes, for four steps."""
    data = tmp_path / "runs" / "quickstart" / "data"
    tokenizer = write_tokenizer_into(data)
    for source in ("text", "code"):
        documents = [np.arange(200)] * 100
        write_shard(data / f"{source}.train", documents, tokenizer=tokenizer, source=source)
    small = [f"model.vocabulary_size={VOCABULARY}", "train.train_tokens=4096"]
    small += ["schedule.warmup_tokens=2048", "checkpoint.save_every_tokens=null"]
    small += [f"data.sources.{name}.validation=null" for name in ("text", "code")]
    losses = []
    for change in ([], ["precision={kind: bf16}"]):
        run = tmp_path / str(len(losses))
        done = codemix("train", FP8, *change, *small, "--run-dir", run, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        losses.append([line["loss/train_nats"] for line in read_jsonl(run / "metrics.jsonl")])
    assert len(losses[0]) == 4
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], abs=0.05)


@pytest.mark.parametrize("change", ["precision.rule=blockwise", "precision.rule=delayed"])
def test_emulated_fp8_has_the_shapes_of_every_rule(change: str) -> None:
    assert check_config(load_run_config(FP8, [change])) == []
