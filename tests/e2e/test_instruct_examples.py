"""Examples of tuning: what the mixtures of instructions consume, and the second paper's chain."""

import json
from pathlib import Path

import pytest

from megatron_codemix.corpus.instructions.build import InstructionFiles, build_instructions
from megatron_codemix.data.mixture.caps import plan_mixture
from megatron_codemix.data.mixture.mixture import Mixture
from megatron_codemix.files import read_json, read_jsonl, rewrite_jsonl
from megatron_codemix.runs import RunDirectory
from tests.helpers.commands import codemix
from tests.helpers.evaluation_data import real_data
from tests.helpers.instructing import (
    INSTRUCTIONS,
    LENGTH,
    NUM_ENTRIES,
    write_instruction_data,
    write_pretraining,
)
from tests.helpers.mixtures import phase

EXAMPLES = Path(__file__).parents[2] / "examples"
TABLE_5 = {
    "uniform": [(5, 3), (5, 3), (5, 3), (5, 3)],
    "increase": [(7, 3), (7, 3), (6, 4), (5, 5)],
    "decrease": [(5, 5), (6, 4), (7, 3), (7, 3)],
}
"""Text : code in the four stages (arXiv 2309.16298)."""
SMALL = [
    *("model.num_layers=2", "model.hidden_size=32", "model.ffn_hidden_size=64"),
    f"model.vocabulary_size={NUM_ENTRIES}",
]
BATCH, NUM_STEPS = 4, 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the examples look for data, and `runs/pretrained`, from which they start."""
    folder = tmp_path_factory.mktemp("examples")
    data = write_instruction_data(folder / "runs" / "quickstart" / "data")
    model = {"num_query_groups": None, "num_attention_heads": 4}
    config = write_pretraining(data, num_steps=2, model=model)
    done = codemix("train", config, "--run-dir", folder / "runs" / "pretrained")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("strategy", TABLE_5)
def test_a_mixture_of_instructions_consumes_what_the_table_says(
    folder: Path, strategy: str
) -> None:
    run = RunDirectory(folder / "runs" / strategy)
    done = codemix(
        "train",
        EXAMPLES / "mixtures" / f"instruct_{strategy}.yaml",
        *SMALL,
        *("layout.tensor=1", "layout.pipeline=1", "layout.microbatch_sequences=4"),
        f"data.sequence_length={LENGTH}",
        f"train.global_batch_sequences={BATCH}",
        f"train.train_tokens={NUM_STEPS * BATCH * LENGTH}",
        f"schedule.warmup_tokens={BATCH * LENGTH}",
        f"checkpoint.save_every_tokens={NUM_STEPS // 4 * BATCH * LENGTH}",
        *("--run-dir", run.path),
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    lines = read_jsonl(run.ledger)
    assert [line["step"] for line in lines] == [5, 10, 15, 20], "a line at the end of each stage"
    wanted = 0.0
    for line, (text, code) in zip(lines, TABLE_5[strategy], strict=True):
        wanted += NUM_STEPS / 4 * BATCH * code / (text + code)
        assert line["sources"]["code_instructions"]["consumed_samples"] == pytest.approx(
            wanted, abs=0.5
        )
    consumed = {name: lines[-1]["sources"][name]["consumed_samples"] for name in INSTRUCTIONS}
    assert consumed["code_instructions"] == pytest.approx(3 / 8 * NUM_STEPS * BATCH, abs=1)
    assert sum(consumed.values()) == NUM_STEPS * BATCH
    shown = codemix("data", "ledger", run.path)
    assert shown.returncode == 0, shown.stdout + shown.stderr


@pytest.mark.parametrize("strategy", TABLE_5)
def test_all_strategies_read_three_eighths_of_code_at_equal_stages(strategy: str) -> None:
    """Whatever the length, within one sample."""
    mixture = {"kind": "stages", "strategy": strategy, "varying": {"a": 1}, "others": {"b": 1}}
    for quarter in [*range(1, 60), 100, 333, 2500]:
        plan = Mixture(plan_mixture(phase(4 * quarter, mixture)))
        code = int(plan.counts(4 * quarter)[plan.source_names.index("a")])
        assert abs(code - 3 / 8 * 4 * quarter) < 1


def test_the_second_papers_chain_runs_at_a_tiny_size(folder: Path, tmp_path: Path) -> None:
    study = EXAMPLES / "studies" / "tiny" / "training_stage.yaml"
    data, out = folder / "runs" / "quickstart" / "data", tmp_path / "study"
    changes = [
        *SMALL,
        *("world_size=1", "train.global_batch_sequences=4", "layout.microbatch_sequences=4"),
        *("evaluation.heldout.world_size=1", "evaluation.heldout.max_bytes_per_source=1500"),
        "validation={every_tokens: 42B, max_bytes_per_source: 1500}",
    ]
    asked = ["study", "run", study, "--data", data, "--out", out, "--scale", "0.1"]
    done = codemix(*asked, *(part for change in changes for part in ("--set", change)))
    assert done.returncode == 0, done.stderr
    report = read_json(out / "report.json")
    variants = {one["name"]: one for one in report["variants"]}
    assert list(variants) == ["NN", "NC", "CN", "CC"]
    for name, variant in variants.items():
        assert len(variant["phases"]) == 2
        assert set(variant["heldout"]) == {"text", "code", *INSTRUCTIONS}
        tuned = next(out.glob(f"single/{TUNED[name]}-*"))
        lines = [json.loads(line) for line in (tuned / "ledger.jsonl").read_text().splitlines()]
        sources = lines[-1]["sources"]
        samples = sum(one["consumed_samples"] for one in sources.values())
        code = sources.get("code_instructions", {"consumed_samples": 0})["consumed_samples"]
        assert code == pytest.approx(3 / 8 * samples if name[1] == "C" else 0, abs=1)
        for source in ("text_instructions", *["code_instructions"] * (name[1] == "C")):
            assert 0 < sources[source]["loss_tokens"] < sources[source]["consumed_tokens"]
        [first, *_, last] = read_jsonl(tuned / "metrics.jsonl")
        assert last["loss/train_nats"] < first["loss/train_nats"]
        assert (tuned / "chat_template.jinja").exists()
    # Tuned alike, the two that began otherwise differ.
    answers = {
        name: one["heldout"]["code_instructions"]["bits_per_byte"] for name, one in variants.items()
    }
    assert len(set(answers.values())) == 4


TUNED = {
    "NN": "text-then-text",
    "NC": "text-then-code",
    "CN": "code-then-text",
    "CC": "code-then-code",
}
"""Variant -> its last phase."""


def test_real_questions_and_programs_become_sources(tmp_path: Path) -> None:
    """MBPP in the paper's form, and open questions as Alpaca has them."""
    data = real_data()
    programs = [
        {"instruction": f"{one['text']}\nCode:", "output": one["code"]}
        for one in read_jsonl(data / "mbpp" / "mbpp.jsonl")
    ]
    questions = [
        {"instruction": one["question"], "input": "", "output": one["answer"][0]}
        for one in read_jsonl(data / "nq_open" / "NQ-open.dev.jsonl")[:1000]
    ]
    rewrite_jsonl(tmp_path / "code.jsonl", programs)
    (tmp_path / "text.json").write_text(json.dumps(questions))
    for name, source, count in (
        ("code.jsonl", "code_instructions", len(programs)),
        ("text.json", "text_instructions", len(questions)),
    ):
        asked = InstructionFiles(patterns=[str(tmp_path / name)], source=source)
        built = build_instructions(tmp_path / "corpus", asked)
        assert built.file.num_documents == count
    write_tokenizer = ["data", "tokenizer", tmp_path / "corpus", "--vocabulary-size", "600"]
    done = codemix(*write_tokenizer, "--chatml", "--out", tmp_path / "tokenizer.json")
    assert done.returncode == 0, done.stderr
    done = codemix(
        *("data", "prepare", tmp_path / "corpus", "--tokenizer", tmp_path / "tokenizer.json"),
        *("--out", tmp_path / "data", "--json"),
    )
    assert done.returncode == 0, done.stderr
    done = codemix("data", "verify", tmp_path / "data")
    assert done.returncode == 0, done.stderr
    shown = codemix("data", "inspect", tmp_path / "data" / "code_instructions.train",
                    "--sequence-length", "128")  # fmt: skip
    assert "conversations by the chat template chatml" in shown.stdout
    assert "conversations cut at the end of a sample" in shown.stdout
