"""Run directories as a table: what each column is, and which runs are left out."""

from dataclasses import replace
from pathlib import Path

import pytest

from megatron_codemix.errors import DataError, RunError
from megatron_codemix.files import append_jsonl, write_json
from megatron_codemix.runs import RunDirectory
from megatron_codemix.scaling.readers.detect import read_runs
from megatron_codemix.scaling.readers.study import read
from megatron_codemix.study.record import StudyRecord, write_record
from megatron_codemix.study.tree import StudyTree
from tests.helpers.study_files import STUDY, TOKENS_PER_STEP, small_tree, write_trained

LADDER = (
    STUDY[: STUDY.index("phases:")]
    .replace("token_scale: 1e-6\n", "")
    .replace("train_tokens: 640M", f"train_tokens: {100 * TOKENS_PER_STEP}")
    .replace("warmup_tokens: 64M", "warmup_tokens: 64")
    + f"""\
matrix: {{code: [none, half]}}
axes:
  code:
    none: {{data.mixture.weights: {{text: 1}}}}
    half: {{data.mixture.weights: {{text: 0.5, code: 0.5}}}}
phases:
  stable:
    set:
      schedule: {{kind: constant, lr: 1e-3, warmup_tokens: 64}}
      checkpoint.keep_every_tokens: {50 * TOKENS_PER_STEP}
  short:
    init_from: {{phase: stable, load: weights+optimizer, at_tokens: {50 * TOKENS_PER_STEP}}}
    set:
      train.train_tokens: {20 * TOKENS_PER_STEP}
      schedule: {{kind: linear, final_lr: 0}}
  long:
    init_from: {{phase: stable, load: weights+optimizer}}
    set:
      train.train_tokens: {30 * TOKENS_PER_STEP}
      schedule: {{kind: linear, final_lr: 0}}
variants: {{short: short, long: long}}
compare: {{baseline: long}}
evaluation:
  heldout: {{kind: validation}}
"""
).replace(
    "precision: {kind: fp32}",
    "precision: {kind: fp32}\n  validation: {every_tokens: 64000, max_bytes_per_source: 1KiB}",
)
TOTAL = {"short": 70, "long": 130}
"""Steps of the chains."""


def write_run(tree: StudyTree, out: Path, cell: str, name: str) -> RunDirectory:
    """A finished run with the losses of its last step; text was read one and a half times."""
    node = tree.nodes[f"{cell}/{name}"]
    run = write_trained(tree, out, node)
    steps = tree.plan(node).num_steps
    total = TOTAL.get(name, 100) * TOKENS_PER_STEP
    share = 0.0 if cell == "none" else 0.5
    # An odd number of samples: the halves are a sample apart.
    drawn = {"text": total - int(share * total) // 16 * 16, "code": int(share * total) // 16 * 16}
    line = {
        "step": steps,
        "samples": steps * TOKENS_PER_STEP // 16,
        "tokens": steps * TOKENS_PER_STEP,
        "sources": {
            source: {
                **dict.fromkeys(("planned_samples", "planned_tokens"), 0.0),
                **dict.fromkeys(("consumed_samples", "consumed_tokens"), 0),
                **dict.fromkeys(("skipped_samples", "cursor"), 0),
                "chain_tokens": tokens,
                "epochs": 1.5 if source == "text" else 0.5,
            }
            for source, tokens in drawn.items()
        },
        "max_error_samples": 0.0,
    }
    run.ledger.unlink()
    append_jsonl(run.ledger, {**line, "step": steps - 1})
    append_jsonl(run.ledger, line)
    losses = {
        "text": {"nats": 300.0, "tokens": 100, "bytes": 288, "bits_per_byte": 1.5},
        "code": {"nats": 100.0, "tokens": 50, "bytes": 192, "bits_per_byte": 0.75},
    }
    append_jsonl(run.validation, {"step": steps, "sources": losses})
    return run


@pytest.fixture
def tree(tmp_path: Path) -> StudyTree:
    return small_tree(tmp_path, LADDER)


def write_all(tree: StudyTree, out: Path) -> None:
    for node in tree.nodes.values():
        write_run(tree, out, node.cell, node.name)


def test_a_row_has_the_chain_s_tokens_and_the_last_losses(tree: StudyTree, tmp_path: Path) -> None:
    write_all(tree, tmp_path / "out")
    table = read(tmp_path / "out")
    rows = table.frame.set_index("name")
    assert list(rows.index) == ["half/long", "half/short", "none/long", "none/short"]
    long = rows.loc["none/long"]
    assert long["tokens"] == 130 * TOKENS_PER_STEP
    assert long["unique_tokens"] == pytest.approx(130 * TOKENS_PER_STEP / 1.5)
    # By hand: a table of 64 x 16, two layers (4 x 16^2 attention, 3 x 16 x 32 MLP, two norms of
    # 16), the last norm.
    body = 2 * (4 * 256 + 3 * 512 + 32) + 16
    assert long["parameters_without_embedding"] == body
    assert long["parameters_total"] == body + 64 * 16
    assert long["seed"] == 1
    assert long["loss_nats.text"] == 3.0
    assert long["loss_nats.code"] == 2.0
    assert long["bits_per_byte.code"] == 0.75
    assert list(rows["training"]) == ["half/stable"] * 2 + ["none/stable"] * 2


def test_runs_of_one_mixture_have_the_same_shares(tree: StudyTree, tmp_path: Path) -> None:
    """Whole samples put each a little beside its mixture."""
    write_all(tree, tmp_path / "out")
    shares = read(tmp_path / "out").frame[["share.text", "share.code"]].to_numpy().tolist()
    assert shares == [[0.5, 0.5], [0.5, 0.5], [1.0, 0.0], [1.0, 0.0]]


def test_a_mixture_that_was_not_kept_is_told_as_it_was(tree: StudyTree, tmp_path: Path) -> None:
    """As of a chain whose parent had another mixture."""
    write_all(tree, tmp_path / "out")
    run = tree.run_directory(tmp_path / "out", tree.nodes["none/long"])
    lines = run.ledger.read_text().replace('"chain_tokens": 0', '"chain_tokens": 4160')
    run.ledger.write_text(lines)
    row = read(tmp_path / "out").frame.set_index("name").loc["none/long"]
    assert row["share.code"] == pytest.approx(4160 / (8320 + 4160))
    assert row["share.text"] == pytest.approx(8320 / (8320 + 4160))


def test_what_is_left_out_is_listed_with_its_reason(tree: StudyTree, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_all(tree, out)
    running = tree.run_directory(out, tree.nodes["half/short"])
    status = running.read_status()
    assert status is not None
    write_json(running.status, {**vars(status), "state": "running", "step": 1})
    tree.run_directory(out, tree.nodes["half/long"]).validation.unlink()
    tree.run_directory(out, tree.nodes["none/stable"]).validation.unlink()
    table = read_runs(out)
    assert table.names == ["none/long", "none/short"]
    reasons = {gone.name: gone.reason for gone in table.excluded}
    assert reasons.keys() == {"half/short", "half/long", "half/stable", "none/stable"}
    assert reasons["half/short"] == "it is running at step 1 of 20"
    assert "no held-out losses of its last step, 30" in reasons["half/long"]
    assert "never came down" in reasons["half/stable"]


def test_losses_of_evaluations_do_as_well(tree: StudyTree, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_all(tree, out)
    run = tree.run_directory(out, tree.nodes["none/long"])
    run.validation.unlink()
    losses = {"text": {"nats": 90.0, "tokens": 45, "bytes": 104, "bits_per_byte": 1.25}}
    write_json(run.evaluation / "heldout.summary.json", {"step": 30, "sources": losses})
    row = read(out).frame.set_index("name").loc["none/long"]
    assert row["loss_nats.text"] == 2.0
    assert row["bits_per_byte.text"] == 1.25


def test_a_study_that_was_moved_is_read_all_the_same(tree: StudyTree, tmp_path: Path) -> None:
    write_all(tree, tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "elsewhere")
    table = read(tmp_path / "elsewhere")
    assert len(table) == 4
    assert list(table.frame["training"]) == ["half/stable"] * 2 + ["none/stable"] * 2


def test_damage_and_nothing_to_read_are_named(tree: StudyTree, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_run(tree, out, "none", "stable").validation.unlink()
    with pytest.raises(DataError, match=r"no run to fit to .none/stable: it has no held-out"):
        read(out)
    run = write_run(tree, out, "none", "long")
    run.validation.write_text('{"step": 30\n')
    with pytest.raises(RunError, match=r"validation\.jsonl:1: damaged"):
        read(out)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no runs here"):
        read_runs(tmp_path / "empty")
    with pytest.raises(DataError, match="no such file"):
        read_runs(tmp_path / "nowhere")


def test_runs_of_a_store_are_found_through_the_study(tmp_path: Path) -> None:
    """With the names that the study gives them."""
    tree = small_tree(tmp_path, LADDER)
    stored, out = replace(tree, store=tmp_path / "my-store"), tmp_path / "out"
    for cell, name in [(cell, name) for cell in tree.cells for name in ("stable", "short", "long")]:
        write_run(stored, out, cell, name)
        write_run(tree, tmp_path / "own", cell, name)
    write_record(out, StudyRecord(name="small").with_runs(stored, out))
    columns = ["name", "tokens", "loss_nats.text", "training"]
    found, own = (read(folder).frame[columns] for folder in (out, tmp_path / "own"))
    assert sorted(found.values.tolist()) == sorted(own.values.tolist())


@pytest.mark.parametrize("is_stored", [False, True])
def test_a_run_that_lost_its_configuration_is_named(is_stored: bool, tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path, LADDER), tmp_path / "out"
    if is_stored:
        tree = replace(tree, store=tmp_path / "my-store")
    runs = [write_run(tree, out, node.cell, node.name) for node in tree.nodes.values()]
    write_record(out, StudyRecord(name="small").with_runs(tree, out))
    runs[0].config.unlink()
    with pytest.raises(RunError, match=r"config\.yaml: is missing, and this run had it"):
        read(out)


def test_what_a_study_of_a_store_has_evaluated_comes_before_another_s_validation(
    tmp_path: Path,
) -> None:
    tree = replace(small_tree(tmp_path, LADDER), store=tmp_path / "store")
    out = tmp_path / "out"
    run = write_run(tree, out, "none", "long")
    write_record(out, StudyRecord(name="small").with_runs(tree, out))
    assert read(out).frame["loss_nats.text"].tolist() == [3.0], "the validation, where it is all"
    losses = {"text": {"nats": 90.0, "tokens": 45, "bytes": 104, "bits_per_byte": 1.25}}
    summary = run.evaluation / "heldout.summary.json"
    assert summary.parent.name.startswith("asked-")
    write_json(summary, {"step": 29, "sources": losses})
    assert read(out).frame["loss_nats.text"].tolist() == [3.0], "of an earlier step"
    write_json(summary, {"step": 30, "sources": losses})
    assert read(out).frame["loss_nats.text"].tolist() == [2.0]
