"""The examples of the data engine run as their texts say."""

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

from tests.helpers.shards import END_OF_DOCUMENT, write_random_shard

EXAMPLES = Path(__file__).parents[2] / "examples"


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
