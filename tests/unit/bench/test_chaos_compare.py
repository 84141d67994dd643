"""That the comparison of two studies finds what differs, and sets aside what it says."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.distributed.checkpoint.state_dict_saver import save

from megatron_codemix.bench.chaos.compare import read_tensors
from megatron_codemix.bench.chaos.study.compare import compare_studies, lost_and_repeated
from megatron_codemix.files import read_json, read_jsonl, rewrite_jsonl, write_json
from megatron_codemix.runs import RunDirectory
from tests.helpers.commands import codemix
from tests.helpers.tiny import SEQUENCE, write_run


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a study leaves it, of one phase of 20 steps."""
    folder = tmp_path_factory.mktemp("studies")
    config = write_run(folder / "data")
    run = RunDirectory(folder / "alone" / "single" / "one-0123abcd")
    save_every = f"checkpoint.save_every_tokens={5 * 8 * SEQUENCE}"
    done = codemix("train", config, save_every, "--run-dir", run.path)
    assert done.returncode == 0, done.stderr
    report = {"variants": [{"name": "one", "heldout": 2.5}], "wall_seconds": 9.5}
    write_json(folder / "alone" / "report.json", report)
    for name in ("report.html", "report/phases.csv", "report/tasks.csv"):
        (folder / "alone" / name).parent.mkdir(exist_ok=True)
        (folder / "alone" / name).write_text("9.5 s\n")
    write_json(folder / "alone" / "study.json", {"name": "small", "starts": 1, "wall_seconds": 3.0})
    return folder / "alone"


def more_time_and_starts(study: Path, run: RunDirectory) -> None:
    """What two studies never share."""
    status = read_json(run.status)
    changes = {"attempts": 2, "failures": 1, "train_seconds": 99.0, "last_error": "killed"}
    write_json(run.status, status | changes)
    shutil.copytree(run.attempt(1), run.attempt(2))
    provenance = run.attempt(2) / "provenance.json"
    write_json(provenance, read_json(provenance) | {"host": "elsewhere"})
    lines = [line | {"time/step_seconds": 7.0} for line in read_jsonl(run.metrics)]
    rewrite_jsonl(run.metrics, lines)
    (run.path / ".status.json.host.77.tmp").write_text("{")
    (run.path / "train.log").write_text("killed\n")
    shutil.copytree(run.checkpoint(20), run.checkpoint(17))
    write_json(study / "report.json", read_json(study / "report.json") | {"wall_seconds": 1.0})
    write_json(study / "study.json", {"name": "small", "starts": 7, "wall_seconds": 4.0})
    for name in ("report.html", "report/phases.csv"):
        (study / name).write_text("9 s\n")


def another_loss(study: Path, run: RunDirectory) -> None:
    lines = read_jsonl(run.metrics)
    lines[6]["loss/train_nats"] += 2e-15
    rewrite_jsonl(run.metrics, lines)


def a_repeated_step(study: Path, run: RunDirectory) -> None:
    lines = read_jsonl(run.metrics)
    rewrite_jsonl(run.metrics, [*lines[:7], *lines[6:]])


def a_lost_step(study: Path, run: RunDirectory) -> None:
    lines = read_jsonl(run.metrics)
    rewrite_jsonl(run.metrics, [*lines[:6], *lines[7:]])


def another_sample(study: Path, run: RunDirectory) -> None:
    lines = read_jsonl(run.ledger)
    lines[-1]["sources"]["code"]["consumed_samples"] += 1
    rewrite_jsonl(run.ledger, lines)


def another_weight(study: Path, run: RunDirectory) -> None:
    tensors = read_tensors(run.checkpoint(20))
    name = min(name for name, tensor in tensors.items() if tensor.is_floating_point())
    tensors[name].view(-1)[0] = torch.nextafter(tensors[name].view(-1)[0], torch.tensor(9.0))
    save(tensors, checkpoint_id=run.checkpoint(20), no_dist=True)


def another_report(study: Path, run: RunDirectory) -> None:
    report = read_json(study / "report.json")
    report["variants"][0]["heldout"] = 2.5000000000000004
    write_json(study / "report.json", report)


def another_name(study: Path, run: RunDirectory) -> None:
    write_json(study / "study.json", read_json(study / "study.json") | {"name": "large"})


def a_file_too_many(study: Path, run: RunDirectory) -> None:
    (run.evaluation).mkdir()
    (run.evaluation / "heldout.answers.jsonl").write_text("")


def another_plan(study: Path, run: RunDirectory) -> None:
    path = run.attempt(1) / "plan.json"
    write_json(path, read_json(path) | {"num_steps": 21})


def no_end(study: Path, run: RunDirectory) -> None:
    (run.checkpoint(20) / "complete.json").unlink()


def another_table(study: Path, run: RunDirectory) -> None:
    (study / "report" / "tasks.csv").write_text("9 s\n")


def no_page(study: Path, run: RunDirectory) -> None:
    (study / "report.html").unlink()


def another_count_of_steps(study: Path, run: RunDirectory) -> None:
    """In the groups of the optimizer, which are no tensors."""
    path = run.checkpoint(20) / "common.pt"
    common = torch.load(path, weights_only=False)
    common["optimizer"]["optimizer"]["param_groups"][0]["step"] += 1
    torch.save(common, path)


def half_a_checkpoint(study: Path, run: RunDirectory) -> None:
    run.checkpoint(19).mkdir()
    (run.checkpoint(19) / "__0_0.distcp").write_bytes(b"x")


def nothing(study: Path, run: RunDirectory) -> None:
    shutil.rmtree(study / "single")


@pytest.mark.filterwarnings("ignore::UserWarning")  # of saving in one process
@pytest.mark.parametrize(
    ("change", "found"),
    [
        (more_time_and_starts, []),
        (another_loss, ["metrics.jsonl: [6].loss/train_nats: "]),
        (a_repeated_step, ["metrics.jsonl: [7].", "one-0123abcd: 0 samples lost, 8 repeated"]),
        (a_lost_step, ["metrics.jsonl: [6].", "one-0123abcd: 8 samples lost, 0 repeated"]),
        (
            another_sample,
            ["ledger.jsonl: content: ", "0 samples lost, 1 repeated", "code: consumed_samples is "],
        ),
        (another_weight, ["one-0123abcd: tensor "]),
        (another_report, ["report.json: variants[0].heldout: 2.5 and 2.5000000000000004"]),
        (another_name, ["study.json: name: "]),
        (a_file_too_many, ["heldout.answers.jsonl: only the disturbed study has it"]),
        (another_plan, ["attempts/last/plan.json: content: "]),
        (another_table, ["report/tasks.csv: content: "]),
        (no_page, ["report.html: only the undisturbed study has it"]),
        (another_count_of_steps, ["one-0123abcd: common['optimizer']"]),
        (half_a_checkpoint, ["one-0123abcd: iter_0000019 is left without its marker"]),
        (nothing, ["no checkpoint after step 20"]),
        (no_end, ["complete.json: only the undisturbed study", "no checkpoint after step 20"]),
    ],
)
def test_the_smallest_difference_of_studies_is_named(
    change: Callable[[Path, RunDirectory], None], found: list[str], study: Path, tmp_path: Path
) -> None:
    disturbed = tmp_path / "disturbed"
    shutil.copytree(study, disturbed)
    change(disturbed, RunDirectory(disturbed / "single" / "one-0123abcd"))
    compared = compare_studies(study, disturbed)
    for words in found:
        assert any(words in difference for difference in compared.differences), compared.differences
    assert bool(compared.differences) == bool(found), compared.differences
    assert compared.num_tensors > 10 or change in (no_end, nothing)
    assert compared.num_incomplete == (change in (half_a_checkpoint, no_end))
    assert compared.num_temporary == (change is more_time_and_starts)
    if change is more_time_and_starts:
        assert compared.apart["*/status.json"] == 4
        assert compared.apart["*/metrics.jsonl"] == 20
        assert compared.apart["study.json"] == 2
        assert json.dumps(compared.apart)


def test_two_studies_that_have_trained_nothing_are_not_alike(tmp_path: Path) -> None:
    for name in ("alone", "disturbed"):
        write_json(tmp_path / name / "report.json", {"variants": []})
    found = compare_studies(tmp_path / "alone", tmp_path / "disturbed").differences
    assert found == [f"{tmp_path / 'alone'}: nothing was trained, so that nothing is alike"]


def test_a_step_that_metrics_and_ledger_have_lost_counts_once(study: Path, tmp_path: Path) -> None:
    alone = RunDirectory(study / "single" / "one-0123abcd")
    disturbed = RunDirectory(tmp_path / "one-0123abcd")
    shutil.copytree(alone.path, disturbed.path)
    lines = read_jsonl(disturbed.ledger)
    lines[-1]["sources"]["code"]["consumed_samples"] -= 3
    lines[-1]["sources"]["text"]["consumed_samples"] -= 5
    rewrite_jsonl(disturbed.ledger, lines)
    rewrite_jsonl(disturbed.metrics, read_jsonl(disturbed.metrics)[:-1])
    assert lost_and_repeated(alone, disturbed) == (8, 0)
    rewrite_jsonl(disturbed.ledger, [])
    assert lost_and_repeated(alone, disturbed) == (20 * 8, 0), "a ledger without a line"
