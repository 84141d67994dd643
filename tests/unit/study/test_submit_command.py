"""`codemix study submit`, `cancel` and `logs` where there is no SLURM: plans and refusals."""

import json
from pathlib import Path

import pytest
import yaml

from megatron_codemix.cli.main import main
from megatron_codemix.errors import EXIT_DONE, EXIT_INPUT
from megatron_codemix.files import read_json, write_json
from megatron_codemix.launch.slurm.cluster import ClusterSpec
from megatron_codemix.study.job_records import read_records
from megatron_codemix.study.submit import submit_study
from tests.helpers.queue_in_memory import QueueInMemory
from tests.helpers.study_files import OTHER_HELD_OUT, small_tree, write_trained

CLUSTER = "partition: gpu\ngpus_per_node: 2\ncpus_per_task: 4\ntime_limit: 1h\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a study, its data and a cluster file, on a machine without SLURM."""
    small_tree(tmp_path)
    (tmp_path / "cluster.yaml").write_text(CLUSTER)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path


def arguments(place: Path, *more: str) -> list[str]:
    words = [str(place / "study.yaml"), "--cluster", str(place / "cluster.yaml")]
    return ["study", "submit", *words, *more, "--data", str(place / "data"), "--out",
            str(place / "out")]  # fmt: skip


def test_a_dry_run_shows_jobs_and_scripts_and_writes_nothing(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(place, "--dry-run", "--json")) == EXIT_DONE
    shown = json.loads(capsys.readouterr().out)
    jobs = {job["name"]: job for job in shown["would_submit"]}
    assert len(jobs) == 9
    assert jobs["small:cooldown:train"]["needs"] == ["small:balanced-then-text:train"]
    assert jobs["small:cooldown:train"]["text"].startswith("#!/bin/bash\n")
    assert shown["submitted"] == []
    assert main(arguments(place, "--dry-run")) == EXIT_DONE
    assert "9 would be submitted" in capsys.readouterr().out
    assert not (place / "out").exists()


def test_all_that_is_wrong_comes_in_one_block(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The cluster file, the data, a run directory, the machine."""
    tree = small_tree(place)
    run = write_trained(tree, place / "out", tree.nodes["single/text"])
    write_json(run.status, read_json(run.status) | {"identity": "f" * 64})
    (place / "data" / "code_train.manifest.json").unlink()
    (place / "cluster.yaml").write_text(CLUSTER.replace("partition: gpu\n", "partitions: gpu\n"))
    before = sorted(place.rglob("*"))
    assert main(arguments(place)) == EXIT_INPUT
    said = capsys.readouterr().err
    for words in ("partition: missing", "did you mean 'partition'", "code_train",
                  "sbatch, squeue, scontrol, scancel: not on this machine"):  # fmt: skip
        assert words in said
    assert all(line.startswith("error: ") for line in said.splitlines())
    assert sorted(place.rglob("*")) == before


def test_a_run_directory_of_another_identity_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = small_tree(place)
    run = write_trained(tree, place / "out", tree.nodes["single/text"])
    write_json(run.status, read_json(run.status) | {"identity": "f" * 64})
    assert main(arguments(place, "--dry-run")) == EXIT_INPUT
    assert "holds a run of another identity" in capsys.readouterr().err


def test_cancel_and_status_say_what_is_missing(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = str(place / "study.yaml")
    assert main(["study", "cancel", study, "--out", str(place / "out")]) == EXIT_INPUT
    assert "not on this machine" in capsys.readouterr().err
    data = ["--data", str(place / "data"), "--out", str(place / "out")]
    assert main(["study", "status", study, *data]) == EXIT_DONE
    assert "pending" in capsys.readouterr().out


def test_logs_are_read_without_the_data(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree, out = small_tree(place), place / "out"
    run = write_trained(tree, out, tree.nodes["single/text"])
    words = ["study", "logs", str(place / "study.yaml"), "text", "--out", str(out)]
    assert main(words) == EXIT_INPUT
    assert "has not begun yet in" in capsys.readouterr().err
    runs = {"single/text": str(run.path.relative_to(out))}
    write_json(out / "study.json", {"name": "small", "runs": runs})
    (run.path / "train.log").write_text("".join(f"line {n}\n" for n in range(100)))
    (place / "data" / "tokenizer.json").unlink()
    assert main([*words, "--lines", "3"]) == EXIT_DONE
    assert capsys.readouterr().out.splitlines() == ["line 97", "line 98", "line 99"]
    assert main([*words[:3], "txt", *words[4:]]) == EXIT_INPUT
    assert "did you mean 'text'" in capsys.readouterr().err


def test_each_cells_evaluation_of_a_training_of_both_has_its_own_log(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree, out = small_tree(place, OTHER_HELD_OUT), place / "out"
    submit_study(tree, out, ClusterSpec.model_validate(yaml.safe_load(CLUSTER)), QueueInMemory())
    for name, record in read_records(out).items():
        Path(record.log).write_text(f"of {name}\n")
    for cell, trained_by in (("little", "little"), ("much", "little")):
        words = ["study", "logs", str(place / "study.yaml"), f"{cell}/base", "--out", str(out)]
        assert main([*words, "--evaluation"]) == EXIT_DONE
        assert capsys.readouterr().out == f"of small:{cell}/base:evaluate\n"
        assert main(words) == EXIT_DONE
        assert capsys.readouterr().out == f"of small:{trained_by}/base:train\n"
