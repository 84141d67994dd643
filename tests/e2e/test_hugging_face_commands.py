"""`codemix checkpoint export` and `import` as a user meets them: what is refused, killed, damaged;
a disk that is full; memory that does not grow with the model."""

import contextlib
import io
import json
import resource
import shutil
import signal
from pathlib import Path

import pytest
import transformers
import yaml

from megatron_codemix.cli.main import main
from megatron_codemix.files import read_json
from megatron_codemix.runs import RunDirectory
from tests.helpers.commands import codemix, python
from tests.helpers.tiny import SEQUENCE, VOCABULARY, write_run, write_tokenizer

PAGE = resource.getpagesize()
DISK_BYTES = 28 * PAGE
"""Room for the small model's weights and a page more, not for tokenizer.json behind them."""

STEPS = f"train.train_tokens={4 * 8 * SEQUENCE}"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunDirectory]:
    folder = tmp_path_factory.mktemp("trained")
    config = write_run(folder / "data")
    run = RunDirectory(folder / "run")
    done = codemix("train", config, STEPS, "--run-dir", run.path, "--nproc", "2", "layout.tensor=2")
    assert done.returncode == 0, done.stderr
    return config, run


def export(place: Path, out: Path, *options: str) -> None:
    with contextlib.redirect_stderr(io.StringIO()) as said:
        code = main(["checkpoint", "export", str(place), "--out", str(out), *options])
    assert code == 0, said.getvalue()


def refused(*arguments: str | Path) -> str:
    """What is said instead of a traceback."""
    with contextlib.redirect_stderr(io.StringIO()) as said:
        code = main(["checkpoint", *map(str, arguments)])
    assert code == 2, said.getvalue()
    assert "Traceback" not in said.getvalue()
    return said.getvalue()


def test_there_and_back(trained: tuple[Path, RunDirectory], tmp_path: Path) -> None:
    config, run = trained
    done = codemix("checkpoint", "export", run.path, "--to", "hf", "--out", tmp_path / "hf")
    assert done.returncode == 0, done.stderr
    assert "LlamaForCausalLM" in done.stdout
    assert "float32 (the weights, which are fp32)" in done.stdout
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    text = "def f(x):\n\treturn 'été'"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert len(tokenizer) == VOCABULARY
    assert (tokenizer.eos_token, tokenizer.eos_token_id) == ("<|endoftext|>", VOCABULARY - 1)

    # A configuration without a model: shape and tokenizer are the folder's.
    tree = yaml.safe_load(config.read_text())
    del tree["model"], tree["tokenizer"]
    bare = tmp_path / "bare.yaml"
    bare.write_text(yaml.safe_dump(tree))
    back = RunDirectory(tmp_path / "back")
    done = codemix("checkpoint", "import", tmp_path / "hf", "--config", bare, "--out", back.path)
    assert done.returncode == 0, done.stderr
    assert codemix("checkpoint", "verify", back.path).returncode == 0
    scored = codemix("evaluate", back.path, "--json")
    assert scored.returncode == 0, scored.stderr
    assert set(json.loads(scored.stdout)["sources"]) == {"code", "text"}
    child = ["layout.tensor=2", "--nproc", "2", "precision.kind=bf16"]
    origin = f"init_from={{run: {back.path}, load: weights}}"
    done = codemix("train", config, STEPS, origin, "--run-dir", tmp_path / "child", *child)
    assert done.returncode == 0, done.stderr

    said = refused("import", tmp_path / "hf", "--config", bare, "--out", back.path)
    assert "is not empty" in said
    said = refused(
        "import",
        tmp_path / "hf",
        "model.num_layers=3",
        "--config",
        config,
        "--out",
        tmp_path / "no",
    )
    assert "model.num_layers: 3, but 2 by" in said
    assert not (tmp_path / "no").exists()


def test_what_exists_is_replaced_when_asked(
    trained: tuple[Path, RunDirectory], tmp_path: Path
) -> None:
    _, run = trained
    out = tmp_path / "hf"
    export(run.path, out, "--dtype", "bfloat16", "--max-shard-bytes", "20kB")
    assert (out / "model.safetensors.index.json").exists()
    assert "exists" in refused("export", run.path, "--out", out)
    export(run.checkpoint(4), out, "--overwrite")
    assert not (out / "model.safetensors.index.json").exists()
    assert read_json(out / "config.json")["dtype"] == "float32"
    assert [path.name for path in tmp_path.iterdir()] == ["hf"]
    keep = tmp_path / "photos"
    keep.mkdir()
    assert "not an exported model" in refused("export", run.path, "--out", keep, "--overwrite")
    assert keep.exists()


def test_damaged_and_incomplete_checkpoints_are_refused(
    trained: tuple[Path, RunDirectory], tmp_path: Path
) -> None:
    _, run = trained
    broken = tmp_path / "run"
    shutil.copytree(run.path, broken)
    folder = RunDirectory(broken).checkpoint(4)
    shard = sorted(folder.glob("*.distcp"))[0]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    said = refused("export", broken, "--out", tmp_path / "hf")
    assert f"{shard}: its content is not what was written" in said
    (folder / "complete.json").unlink()
    assert "not a complete checkpoint" in refused("export", folder, "--out", tmp_path / "hf")
    assert not (tmp_path / "hf").exists()


KILLED = """
import os, signal, sys
from megatron_codemix.cli.main import main
from megatron_codemix.hugging_face.safetensors_files import ShardWriter

write, count = ShardWriter.write, [0]

def write_some(self, name, values):
    count[0] += 1
    if count[0] == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    write(self, name, values)

ShardWriter.write = write_some
sys.exit(main())
"""


def test_a_killed_export_leaves_nothing_that_counts(
    trained: tuple[Path, RunDirectory], tmp_path: Path
) -> None:
    _, run = trained
    out = tmp_path / "hf"
    done = python("-c", KILLED, "checkpoint", "export", run.path, "--out", out)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not out.exists()
    export(run.path, out)
    assert [path.name for path in tmp_path.iterdir()] == ["hf"]


def test_a_full_disk_is_one_error(
    trained: tuple[Path, RunDirectory], disk: Path, tmp_path: Path
) -> None:
    _, run = trained
    export(run.path, tmp_path / "hf")
    size = (tmp_path / "hf" / "model.safetensors").stat().st_size
    assert size < DISK_BYTES < size + 3 * PAGE
    said = refused("export", run.path, "--out", disk / "hf")
    assert [line for line in said.splitlines() if "the disk is full" in line]
    assert list(disk.iterdir()) == []
    (disk / "filler").write_bytes(bytes(DISK_BYTES // 2))
    assert "an export of" in refused("export", run.path, "--out", disk / "hf")


def test_damaged_models_are_refused(trained: tuple[Path, RunDirectory], tmp_path: Path) -> None:
    config, run = trained
    whole = tmp_path / "whole"
    export(run.path, whole, "--max-shard-bytes", "20kB")
    order = ["--config", config, "--out", tmp_path / "run"]
    shard = sorted(whole.glob("*.safetensors"))[1]
    for name, damage, said in (
        ("cut", lambda path: path.write_bytes(path.read_bytes()[:-8]), "damaged"),
        ("gone", lambda path: path.unlink(), "is missing"),
    ):
        shutil.copytree(whole, tmp_path / name)
        damage(tmp_path / name / shard.name)
        assert f"{shard.name}: {said}" in refused("import", tmp_path / name, *order)
    wide = read_json(whole / "config.json") | {"intermediate_size": 65}
    (whole / "config.json").write_text(json.dumps(wide))
    said = refused("import", whole, *order)
    assert "model.layers.1.mlp.down_proj.weight: is (32, 64), and (32, 65) by config.json" in said
    assert not (tmp_path / "run").exists()


MEASURED = """
import sys
from pathlib import Path
from megatron_codemix.hugging_face.export import export

def status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))

for folder, out in zip(sys.argv[1::2], sys.argv[2::2]):
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = status("VmRSS")
    export(
        Path(folder), Path(out),
        dtype=None, max_shard_bytes=10**9, overwrite=False, advance=lambda num_bytes: None,
    )
print(status("VmHWM") - before)
"""
"""Peak above what was there before, of the last of several exports: the first imports code."""


def test_memory_is_that_of_a_tensor(trained: tuple[Path, RunDirectory], tmp_path: Path) -> None:
    shape = {
        "num_hidden_layers": 24,
        "hidden_size": 256,
        "intermediate_size": 1024,
        "num_attention_heads": 4,
        "vocab_size": 2048,
        "num_key_value_heads": 4,
    }
    source = tmp_path / "source"
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**shape))
    model.save_pretrained(source)
    num_bytes = 4 * model.num_parameters()
    assert num_bytes > 100e6
    del model
    special = [f"<|{number}|>" for number in range(shape["vocab_size"] - VOCABULARY)]
    write_tokenizer(source / "tokenizer.json", special)
    config = write_run(tmp_path / "data")
    tree = yaml.safe_load(config.read_text())
    del tree["model"], tree["tokenizer"]
    config.write_text(yaml.safe_dump(tree))
    run = RunDirectory(tmp_path / "run")
    done = codemix("checkpoint", "import", source, "--config", config, "--out", run.path)
    assert done.returncode == 0, done.stderr
    small = trained[1].checkpoint(4)
    done = python("-c", MEASURED, small, tmp_path / "small", run.checkpoint(1), tmp_path / "out")
    assert done.returncode == 0, done.stderr
    # 2 to 10 MB were seen: a tensor of 2 MB, and buffers of the threads that hash files.
    assert int(done.stdout) < num_bytes / 4
    written, read = (
        (folder / "model.safetensors").stat().st_size for folder in (tmp_path / "out", source)
    )
    assert abs(written - read) < 10_000
