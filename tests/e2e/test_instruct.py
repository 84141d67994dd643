"""Tuning on conversations: what is learned, scored, traced, resumed and exported."""

import hashlib
import json
import signal
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from megatron_codemix.bench.chaos.compare import differences
from megatron_codemix.config.loader import load_run_config
from megatron_codemix.corpus.instructions.template import CHATML, CHATML_TOKENS
from megatron_codemix.data.resolve import resolve_data
from megatron_codemix.data.shards.layout import shard_file
from megatron_codemix.data.shards.token_shard import TokenShard
from megatron_codemix.evaluation.judge.own_runs import served
from megatron_codemix.files import read_json, read_jsonl
from megatron_codemix.runs import RunDirectory
from tests.helpers.commands import codemix, codemix_stopped
from tests.helpers.endpoint_server import endpoint_server
from tests.helpers.instructing import (
    INSTRUCTIONS,
    LENGTH,
    tokenizer_of,
    write_instruction_data,
    write_pretraining,
    write_tuning,
)
from tests.helpers.judge_server import prefer_longer

STEP = 8 * LENGTH
VALIDATE = f"validation={{every_tokens: {6 * STEP}, max_bytes_per_source: 1500}}"


def train(config: Path, run: Path, *overrides: str, nproc: int = 1) -> RunDirectory:
    done = codemix("train", config, *overrides, "--run-dir", run, "--nproc", str(nproc))
    assert done.returncode == 0, done.stderr
    return RunDirectory(run)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, `parent/` trained on documents, `child/` tuned from it, with held-out losses."""
    folder = write_instruction_data(tmp_path_factory.mktemp("data"))
    train(write_pretraining(folder), folder / "parent")
    train(write_tuning(folder, folder / "parent"), folder / "child", VALIDATE)
    return folder


def exported(run: Path, out: Path) -> Path:
    done = codemix("checkpoint", "export", run, "--out", out)
    assert done.returncode == 0, done.stderr
    return out


def answer_nats(
    folder: Path, model: transformers.PreTrainedModel, samples: range
) -> dict[str, tuple[float, int]]:
    """Source -> (nats, tokens) of the answers in these samples of the child, each conversation put
    through `transformers` alone, behind an end-of-document token."""
    dataset = resolve_data(load_run_config(folder / "instruct.yaml")).dataset()
    end = tokenizer_of(folder).end_of_document_id
    found: dict[str, tuple[float, int]] = {}
    for sample in samples:
        _, *spans = dataset.documents(sample)  # the first opens the row, and is no label
        for span in spans:
            shard = TokenShard.open(folder / f"{span.source}.train")
            labels = shard.document(span.document)[: span.last_token + 1].astype(np.int64)
            first = int(shard.offsets[span.document])
            assert shard.answers is not None
            learned = shard.answers.between(first, first + len(labels))
            tokens = torch.tensor([[end, *labels[:-1]]])
            with torch.no_grad():
                logits = model(tokens).logits[0].double()
            taken = -torch.log_softmax(logits, -1)[torch.arange(len(labels)), torch.tensor(labels)]
            nats, count = found.get(span.source, (0.0, 0))
            found[span.source] = (
                nats + float(taken[torch.from_numpy(learned)].sum()),
                count + int(learned.sum()),
            )
    return found


def test_the_loss_of_the_first_step_is_that_of_the_answers_alone(
    folder: Path, tmp_path: Path
) -> None:
    out = exported(folder / "parent", tmp_path / "parent")
    model = transformers.AutoModelForCausalLM.from_pretrained(out).eval()
    wanted = answer_nats(folder, model, range(8))
    first, *_, last = read_jsonl(folder / "child" / "metrics.jsonl")
    for name, (nats, count) in wanted.items():
        assert first[f"loss/source/{name}_nats"] == pytest.approx(nats / count, rel=1e-5)
    total = sum(nats for nats, _ in wanted.values()) / sum(count for _, count in wanted.values())
    assert first["loss/train_nats"] == pytest.approx(total, rel=1e-5)
    assert last["loss/train_nats"] < first["loss/train_nats"]


def test_the_ledger_counts_answers(folder: Path) -> None:
    dataset = resolve_data(load_run_config(folder / "instruct.yaml")).dataset()
    batch = dataset.batch(range(12 * 8))
    line = read_jsonl(folder / "child" / "ledger.jsonl")[-1]
    for number, name in enumerate(dataset.source_names):
        chosen = batch.source_id == number
        learned = int(batch.loss_mask[chosen].sum())
        assert line["sources"][name]["loss_tokens"] == learned > 0
        assert line["sources"][name]["consumed_samples"] == chosen.sum()


def test_held_out_conversations_are_scored_on_their_answers(folder: Path) -> None:
    """Before tuning as after it, so that the two can be compared; other documents in full."""
    validated = read_jsonl(folder / "child" / "validation.jsonl")
    scores = {}
    for run in ("parent", "child"):
        done = codemix("evaluate", folder / run, "--max-bytes-per-source", "1500", "--json")
        assert done.returncode == 0, done.stderr
        scores[run] = json.loads(done.stdout)["sources"]
    for name in ("code", "text", *INSTRUCTIONS):
        prefix = folder / f"{name}.validation"
        shard = TokenShard.open(prefix)
        found, validation = scores["child"][name], validated[-1]["sources"][name]
        for key in ("tokens", "bytes"):
            assert found[key] == validation[key] == scores["parent"][name][key]
        assert found["bits_per_byte"] == pytest.approx(validation["bits_per_byte"], rel=1e-5)
        taken = range(found["documents"])
        if shard.answers is None:
            assert found["tokens"] == sum(int(shard.lengths[n]) - 1 for n in taken)
            continue
        answers = shard.answers.count(shard.offsets, shard.lengths) - 1  # but for their end
        assert found["tokens"] == sum(int(answers[n]) for n in taken)
        assert found["bits_per_byte"] < scores["parent"][name]["bits_per_byte"]


@pytest.mark.parametrize(
    "layout",
    [["layout.tensor=2", "layout.pipeline=2"], ["layout.context=2", "layout.pipeline=2"]],
    ids=["tp2-pp2", "cp2-pp2"],
)
def test_every_layout_learns_the_same(folder: Path, tmp_path: Path, layout: list[str]) -> None:
    steps = f"train.train_tokens={3 * STEP}"
    one, other = (
        train(folder / "instruct.yaml", tmp_path / str(nproc), steps, *of, nproc=nproc)
        for nproc, of in ((1, []), (4, layout))
    )
    names = ["loss/train_nats", *(f"loss/source/{name}_nats" for name in INSTRUCTIONS)]
    for line, wanted in zip(read_jsonl(other.metrics), read_jsonl(one.metrics), strict=True):
        assert [line[name] for name in names] == pytest.approx(
            [wanted[name] for name in names], rel=1e-5
        )


def test_windows_and_the_dali_loader_learn_answers_too(folder: Path, tmp_path: Path) -> None:
    windows = [f"data.sources.{name}.packing=null" for name in INSTRUCTIONS]
    steps = f"train.train_tokens={3 * STEP}"
    run = train(folder / "instruct.yaml", tmp_path / "windows", steps, *windows)
    changed = load_run_config(folder / "instruct.yaml", windows)
    batch = resolve_data(changed).dataset().batch(range(3 * 8))
    line = read_jsonl(run.ledger)[-1]
    counted = sum(source["loss_tokens"] for source in line["sources"].values())
    assert counted == batch.loss_mask.sum() < 0.9 * batch.labels.size
    pytest.importorskip("nvidia.dali", reason="NVIDIA DALI (extra `dali`) is not installed")
    for name, changes in {"own": [], "dali": ["data.loader=dali"]}.items():
        train(folder / "instruct.yaml", tmp_path / name, steps, *changes)
    own, dali = (RunDirectory(tmp_path / name) for name in ("own", "dali"))
    assert own.ledger.read_bytes() == dali.ledger.read_bytes()


def test_steps_without_an_answer_are_steps(folder: Path, tmp_path: Path) -> None:
    """Windows of 16 tokens, one a step: some lie within a question."""
    changes = [f"data.sources.{name}.packing=null" for name in INSTRUCTIONS]
    changes += ["data.sequence_length=16", "train.global_batch_sequences=1", "data.restart=true"]
    changes += ["layout.microbatch_sequences=1", f"train.train_tokens={16 * 40}"]
    changes += ["schedule.warmup_tokens=16"]
    run = train(folder / "instruct.yaml", tmp_path / "run", *changes)
    batch = (
        resolve_data(load_run_config(folder / "instruct.yaml", changes)).dataset().batch(range(40))
    )
    is_empty = batch.loss_mask.sum(axis=1) == 0
    lines = read_jsonl(run.metrics)
    assert 0 < is_empty.sum() < 40 == len(lines)
    for line, has_none in zip(lines, is_empty, strict=True):
        assert (line["loss/train_nats"] == 0) == has_none
        assert (line["optimizer/grad_norm"] == 0) == has_none
    assert not run.skipped.exists()


def test_a_killed_run_goes_on_as_if_nothing_had_been(folder: Path, tmp_path: Path) -> None:
    save = f"checkpoint.save_every_tokens={4 * STEP}"
    whole = train(folder / "instruct.yaml", tmp_path / "whole", save)
    stopped = RunDirectory(tmp_path / "stopped")
    arguments = ["train", folder / "instruct.yaml", save, "--run-dir", stopped.path]
    codemix_stopped(arguments, metrics=stopped.metrics, after_lines=6, by=signal.SIGKILL)
    train(folder / "instruct.yaml", stopped.path, save)
    assert differences(whole, stopped, 12) == []
    assert stopped.chat_template.read_text() == CHATML.source


def test_the_trace_shows_what_was_learned(folder: Path) -> None:
    done = codemix("data", "trace", folder / "child", "--step", "2", "--text", "--json")
    assert done.returncode == 0, done.stderr
    dataset = resolve_data(load_run_config(folder / "instruct.yaml")).dataset()
    batch = dataset.batch(range(8, 16))
    tokenizer = tokenizer_of(folder)
    for row, sample in enumerate(json.loads(done.stdout)["samples"]):
        learned = [pair for span in sample["spans"] for pair in span["learned"]]
        assert sum(b - a + 1 for a, b in learned) == batch.loss_mask[row].sum()
        said = "".join(
            piece for span in sample["spans"] for piece, is_learned in span["pieces"] if is_learned
        )
        assert said == tokenizer.decode(batch.labels[row][batch.loss_mask[row] == 1])
    shown = codemix("data", "trace", folder / "child", "--step", "2", "--sample", "0", "--text")
    assert ", learned " in shown.stdout
    assert any(line.startswith("  + ") for line in shown.stdout.splitlines())
    of_parent = codemix("data", "trace", folder / "parent", "--step", "2", "--json")
    assert json.loads(of_parent.stdout)["samples"][0]["spans"][0]["learned"] is None


def test_the_export_talks_as_the_training_data_does(folder: Path, tmp_path: Path) -> None:
    out = exported(folder / "child", tmp_path / "child")
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    shard = TokenShard.open(folder / "text_instructions.train")
    lines = read_jsonl(shard_file(shard.prefix, ".documents.jsonl"))
    chats = [one["messages"] for one in read_jsonl(folder / "text_instructions.chats.jsonl")]
    for number, line in enumerate(lines):
        made = tokenizer.apply_chat_template(
            chats[int(line["id"])], tokenize=True, return_dict=True,
            return_assistant_tokens_mask=True,
        )  # fmt: skip
        stored = shard.document(number).tolist()
        assert [*made["input_ids"], tokenizer.eos_token_id] == stored
        first = int(shard.offsets[number])
        assert shard.answers is not None
        learned = shard.answers.between(first, first + len(stored)).astype(int).tolist()
        assert [*made["assistant_masks"], 1] == learned
    ends = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(CHATML_TOKENS[1])]
    assert read_json(out / "generation_config.json")["eos_token_id"] == ends
    # There and back: the template stays with the tokenizer.
    config = tmp_path / "bare.yaml"
    tree = load_run_config(folder / "instruct.yaml").model_dump_json()
    config.write_text(tree)
    done = codemix("checkpoint", "import", out, "--config", config, "--out", tmp_path / "back")
    assert done.returncode == 0, done.stderr
    assert RunDirectory(tmp_path / "back").chat_template.read_text() == CHATML.source
    again = exported(tmp_path / "back", tmp_path / "again")
    assert read_json(again / "tokenizer_config.json") == read_json(out / "tokenizer_config.json")
    mean = tmp_path / "mean"
    done = codemix("checkpoint", "average", folder / "child", folder / "child", "--out", mean)
    assert done.returncode == 0, done.stderr
    assert RunDirectory(mean).chat_template.read_text() == CHATML.source


def test_a_served_run_is_asked_as_its_training_data_asks(folder: Path, tmp_path: Path) -> None:
    out = exported(folder / "child", tmp_path / "child")
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)
    with served(folder / "child", tmp_path / "log", nproc=1) as place:
        body = {"model": place.model, "messages": chat, "max_tokens": 5, "temperature": 0}
        request = urllib.request.Request(
            f"{place.url}/chat/completions",
            json.dumps(body).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {place.key}"},
        )
        with urllib.request.urlopen(request, timeout=120) as response:
            found = json.load(response)
    assert found["usage"]["prompt_tokens"] == len(prompt["input_ids"])
    model = transformers.AutoModelForCausalLM.from_pretrained(out).eval()
    tokens = torch.tensor([[tokenizer.eos_token_id, *prompt["input_ids"]]])
    made = model.generate(tokens[:, 1:], max_new_tokens=5, do_sample=False)
    written = made[0, len(prompt["input_ids"]) :].tolist()
    ends = read_json(out / "generation_config.json")["eos_token_id"]
    kept = written[: min([written.index(end) for end in ends if end in written], default=5)]
    assert found["choices"][0]["message"]["content"] == tokenizer.decode(kept)


def test_a_judge_asks_a_tuned_run_by_its_template(folder: Path, tmp_path: Path) -> None:
    out = exported(folder / "child", tmp_path / "child")
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    answers = tmp_path / "b.jsonl"
    answers.write_text('{"instruction": "Add.", "answer": "y"}\n')
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"instruction": "Add.", "context": "2 and 2"}\n')
    with endpoint_server(prefer_longer) as server:
        done = codemix(
            *("judge", folder / "child", answers, "--prompts", prompts, "--out", tmp_path / "out"),
            *("--judge", server.url, "--model", "judge", "--max-new-tokens", "5", "--json"),
        )
    assert done.returncode == 0, done.stderr
    template = hashlib.sha256(CHATML.source.encode()).hexdigest()
    told = json.loads(done.stdout)["chat_templates"]
    assert (told["a"]["sha256"], told["b"]) == (template, None)
    [file] = (tmp_path / "out").glob("answers.*.jsonl")
    [answer] = map(json.loads, file.read_text().splitlines())
    assert answer["prompt"] == "Add.\n\n2 and 2"
    said = [{"role": "user", "content": answer["prompt"]}]
    prompt = tokenizer.apply_chat_template(said, add_generation_prompt=True, return_dict=True)
    model = transformers.AutoModelForCausalLM.from_pretrained(out).eval()
    made = model.generate(torch.tensor([prompt["input_ids"]]), max_new_tokens=5, do_sample=False)
    written = made[0, len(prompt["input_ids"]) :].tolist()
    ends = read_json(out / "generation_config.json")["eos_token_id"]
    kept = written[: min([written.index(end) for end in ends if end in written], default=5)]
    assert answer["completion"] == tokenizer.decode(kept)


def refused(*arguments: str | Path) -> str:
    done = codemix(*arguments)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_what_cannot_be_tuned_on_is_refused_before_it_starts(folder: Path, tmp_path: Path) -> None:
    config, run = folder / "instruct.yaml", ["--run-dir", tmp_path / "no"]
    said = refused(
        "train", config, "data.mixture.weights={text: 0.5, text_instructions: 0.5}", *run
    )
    assert "data.sources.text.train" in said
    assert "holds no conversations" in said
    other = write_instruction_data(tmp_path / "plain", chat_template="plain")
    shard = f"data.sources.code_instructions.train={other / 'code_instructions.train'}"
    said = refused("train", config, shard, *run)
    assert "rendered by different chat templates (code_instructions plain (" in said
    own = folder / "chat_template.jinja"
    own.write_text(CHATML.source.replace("<|im_start|>", "<|im_start|> "))
    try:
        said = refused("train", config, *run)
        assert "the tokenizer has its own, chat_template.jinja (" in said
        assert "text_instructions.train: rendered by the chat template chatml (" in said
    finally:
        own.unlink()
    assert not (tmp_path / "no").exists()
    said = refused("train", config, "data.document_mask=false", "init_from=null", *run)
    assert "data.document_mask: false, and train.stage is instruct" in said
    assert "init_from is missing" in said
