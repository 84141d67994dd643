"""Shards that are missing or damaged: told before the first phase trains, by every command that
starts something."""

from pathlib import Path

import pytest

from megatron_codemix.cli.main import main
from megatron_codemix.errors import EXIT_DONE, EXIT_INPUT, ConfigError
from megatron_codemix.evaluation.safety.memorisation import MemorisationTask
from megatron_codemix.evaluation.safety.prepare import SAFETY
from megatron_codemix.study.data_checks import data_of_all, data_of_the_rest
from megatron_codemix.study.loader import load_study
from megatron_codemix.study.runner import run_study
from megatron_codemix.study.tree import expand
from tests.helpers.study_commands import Scripts
from tests.helpers.study_files import (
    SOURCES,
    STUDY,
    small_tree,
    write_all,
    write_data,
    write_evaluated,
    write_study,
    write_trained,
)
from tests.helpers.task_results import write_task_results
from tests.unit.study.test_damaged_ends import shorten, trained

CLUSTER = "partition: gpu\ngpus_per_node: 2\ncpus_per_task: 4\ntime_limit: 1h\n"


def cut(path: Path, num_bytes: int) -> None:
    with open(path, "r+b") as handle:
        handle.truncate(num_bytes)


def remove(prefix: Path) -> None:
    for path in prefix.parent.glob(f"{prefix.name}.*"):
        path.unlink()


def damage(data: Path) -> list[str]:
    """A shard without files, one cut, one without a line, a training shard cut; words of each."""
    remove(data / "markup_validation")
    cut(data / "text_validation.bin", 100)
    documents = data / "code_validation.documents.jsonl"
    documents.write_text("".join(documents.read_text().splitlines(keepends=True)[:-1]))
    cut(data / "code_train.idx", 20)
    return [
        f"missing: held-out shard {data}/markup_validation.manifest.json; prepare it",
        f"data.sources.text.validation: {data}/text_validation.bin: 100 bytes, 402 expected",
        f"data.sources.code.validation: {documents}: 9 lines, the shard has 10 documents",
        f"data.sources.code.train: {data}/code_train.idx: 20 bytes",
    ]


@pytest.mark.parametrize(
    "command", [["run"], ["run", "--dry-run"], ["submit", "--dry-run", "--cluster", "CLUSTER"]]
)
def test_all_shards_are_looked_at_before_anything_starts(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small_tree(tmp_path)
    words = damage(tmp_path / "data")
    (tmp_path / "cluster.yaml").write_text(CLUSTER)
    command = [str(tmp_path / "cluster.yaml") if word == "CLUSTER" else word for word in command]
    places = ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    assert main(["study", *command, str(tmp_path / "study.yaml"), *places]) == EXIT_INPUT
    said = capsys.readouterr()
    assert all(word in said.err for word in words)
    assert len(said.err.splitlines()) == len(words), "each once"
    assert ("pending" in said.out) == (command == ["run", "--dry-run"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_damaged_manifest_comes_with_the_command_that_writes_it_anew(
    split: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_data(tmp_path / "data")
    prefix = data / f"text_{split}"
    Path(f"{prefix}.manifest.json").write_text("[]")
    assert main(["study", "plan", str(write_study(tmp_path)), "--data", str(data)]) == EXIT_INPUT
    wanted = f"{prefix} --tokenizer {data}/tokenizer.json --source text --split {split}"
    assert f"  codemix data manifest {wanted}\n" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".bin", ".idx", ".blocks"])
def test_a_lost_file_of_a_shard_is_missing(suffix: str, tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    lost = tmp_path / "data" / f"text_validation{suffix}"
    lost.unlink()
    [problem] = data_of_all(tree).damaged
    assert problem.endswith(f"{lost}: is missing; copy it again, or prepare the shard again")


def test_a_plan_names_what_is_missing_and_refuses_what_is_damaged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_data(tmp_path / "data")
    words = ["study", "plan", str(write_study(tmp_path)), "--data", str(data)]
    remove(data / "markup_validation")
    assert main(words) == EXIT_DONE
    missing = f"missing: held-out shard {data}/markup_validation.manifest.json"
    assert missing in capsys.readouterr().out
    told = damage(data)[1:]
    assert main(words) == EXIT_INPUT
    said = capsys.readouterr()
    assert missing in said.out
    assert all(word in said.err for word in told)


def test_check_needs_no_data(tmp_path: Path) -> None:
    assert main(["study", "check", str(write_study(tmp_path)), "--data", "nowhere"]) == EXIT_DONE


def test_what_is_trained_needs_its_held_out_shards_and_what_is_done_needs_none(
    tmp_path: Path,
) -> None:
    tree, out, data = small_tree(tmp_path), tmp_path / "out", tmp_path / "data"
    for source in SOURCES:
        remove(data / f"{source}_validation")
        cut(data / f"{source}_train.bin", 0)
    missing, damaged = data_of_all(tree)
    assert (len(missing), len(damaged)) == (3, 2), "markup is in no mixture"
    for node in tree.nodes.values():
        write_trained(tree, out, node)
    missing, damaged = data_of_the_rest(tree, out)
    assert (len(missing), len(damaged)) == (3, 0)
    scripts = Scripts(tree)
    with pytest.raises(ConfigError, match="held-out shard"):
        run_study(tree, out, commands=scripts, show=False)
    nats = dict.fromkeys(SOURCES, 700.0)
    write_all(tree, out, dict.fromkeys(tree.spec.phases, nats))
    assert data_of_the_rest(tree, out).problems == []
    assert run_study(tree, out, commands=scripts, show=False).exit_code == EXIT_DONE
    assert scripts.started == []


def test_what_is_done_needs_its_shards_where_its_end_is_made_again(tmp_path: Path) -> None:
    """For a child that reads none of them."""
    text = STUDY.replace("{text: 0.75, code: 0.25}", "{text: 1}")
    tree, out, bin_file = small_tree(tmp_path, text), tmp_path / "out", "code_train.bin"
    run = trained(tree, out, "text", "balanced")["balanced"]
    cut(tmp_path / "data" / bin_file, 100)
    assert data_of_the_rest(tree, out).problems == []
    shorten(run)
    [problem] = data_of_the_rest(tree, out).problems
    assert bin_file in problem


@pytest.mark.parametrize("task", [SAFETY, MemorisationTask.name])
def test_a_task_that_shows_training_documents_needs_those_of_the_whole_chain(
    task: str, tmp_path: Path
) -> None:
    text = STUDY.replace("{text: 0.75, code: 0.25}", "{text: 1}")
    text = text.replace("max_bytes_per_source: 1KiB}", "max_bytes_per_source: 1KiB}\n  TASKS")
    data, out = tmp_path / "data", tmp_path / "out"
    found = []
    for names in ("safety_secrets", task):
        tree = small_tree(tmp_path, text.replace("TASKS", f"tasks: {{names: [{names}]}}"))
        cut(data / "code_train.bin", 100)
        for node in tree.nodes.values():
            run = write_trained(tree, out, node)
            if node.name in ("text", "balanced"):
                write_evaluated(tree, run, {"text": 1.0})
                write_task_results(tree, out, node, {})
        found.append(data_of_the_rest(tree, out).problems)
    assert found[0] == []
    [problem] = found[1]
    assert "data.sources.code.train: " in problem


def test_a_training_shard_is_not_held_out(tmp_path: Path) -> None:
    tree = small_tree(tmp_path, STUDY.replace("{data}/text_validation", "{data}/text_train"))
    [problem] = data_of_all(tree).problems
    assert "data.sources.text.validation: " in problem
    assert "is a train shard" in problem


def test_a_place_that_no_file_can_have_is_told(tmp_path: Path) -> None:
    tree = small_tree(tmp_path, STUDY.replace("{data}/text_validation", "x" * 300))
    [problem] = data_of_all(tree).problems
    assert problem.startswith(f"data.sources.text.validation: {tmp_path}/xxx")
    assert problem.endswith("cannot be read (File name too long)")


def test_a_study_without_any_held_out_shard_is_refused(tmp_path: Path) -> None:
    text = STUDY
    for source in SOURCES:
        text = text.replace(f', validation: "{{data}}/{source}_validation"', "")
    with pytest.raises(ConfigError, match="no source has a held-out shard to score"):
        expand(load_study(write_study(tmp_path, text)))
