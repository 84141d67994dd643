"""A study whose store has been moved, deleted, or lies on a disk that is not mounted."""

from dataclasses import replace
from pathlib import Path

import pytest

from megatron_codemix.cli.main import main
from megatron_codemix.errors import EXIT_DONE, EXIT_INPUT
from megatron_codemix.files import append_jsonl, read_json, write_json
from megatron_codemix.launch.slurm.starts import Stretch
from megatron_codemix.run_status import Status
from megatron_codemix.study.changed_phase import earlier_run
from megatron_codemix.study.job_records import add_job_times
from megatron_codemix.study.record import StudyRecord, read_record, write_record
from megatron_codemix.study.runner import run_study
from megatron_codemix.study.store import require_store
from megatron_codemix.study.tree import StudyTree
from tests.helpers.study_commands import Scripts
from tests.helpers.study_files import small_tree, write_all

NATS = {"text": 1000.0, "code": 900.0, "markup": 800.0}
COMMANDS = (["status"], ["status", "--watch"], ["run", "--dry-run"], ["run"], ["report"])


@pytest.fixture
def study(tmp_path: Path) -> StudyTree:
    """Done, with its runs in `store`."""
    tree = replace(small_tree(tmp_path), store=tmp_path / "store")
    require_store(tmp_path / "store")
    write_all(tree, tmp_path / "out", dict.fromkeys(tree.spec.phases, NATS))
    write_record(tmp_path / "out", StudyRecord(name="small").with_runs(tree, tmp_path / "out"))
    return tree


def told(folder: Path, words: list[str], *more: str) -> int:
    """Exit code of a command on the study in `folder`."""
    data = [] if words[0] == "logs" else ["--data", str(folder / "data")]
    study = [str(folder / "study.yaml"), *(["text"] if words[0] == "logs" else [])]
    place = ["--out", str(folder / "out")]
    return main(["study", words[0], *study, *data, *place, *words[1:], *more])


@pytest.mark.parametrize("is_mount_point", [False, True], ids=["moved", "not mounted"])
@pytest.mark.parametrize("command", [*COMMANDS, ["logs"]], ids=" ".join)
@pytest.mark.usefixtures("study")
def test_every_command_names_it_and_trains_nothing(
    command: list[str], is_mount_point: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    store.rename(tmp_path / "elsewhere")
    if is_mount_point:
        store.mkdir()
    for more in ((), ("--store", str(store))):  # scripts name it at each call
        assert told(tmp_path, command, *more) == EXIT_INPUT
        said = capsys.readouterr().err
        assert f"{store}: the study in {tmp_path / 'out'} has its runs in this store" in said
        assert "give its new place with --store" in said
    assert list(store.iterdir() if is_mount_point else tmp_path.glob("store")) == []


@pytest.mark.usefixtures("study")
def test_a_submission_says_nothing_of_data_that_only_its_lost_runs_make_needed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    for path in (tmp_path / "data").glob("*_validation.*"):
        path.unlink()
    cluster = tmp_path / "cluster.yaml"
    cluster.write_text("partition: gpu\ngpus_per_node: 2\ncpus_per_task: 4\ntime_limit: 1h\n")
    assert told(tmp_path, ["submit"], "--dry-run", "--cluster", str(cluster)) == EXIT_INPUT
    [line] = capsys.readouterr().err.splitlines()
    assert "has its runs in this store" in line


@pytest.mark.parametrize("with_dot_files", [True, False])
def test_its_new_place_is_taken(
    with_dot_files: bool,
    study: StudyTree,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Also where it was copied without what begins with a dot."""
    new, out = tmp_path / "new", tmp_path / "out"
    (tmp_path / "store").rename(new)
    if not with_dot_files:
        (new / ".locks").rmdir()
    for command in (["status"], ["report"], ["run"]):
        assert told(tmp_path, command, "--store", str(new)) == EXIT_DONE
    assert "cooled" in capsys.readouterr().out
    record = read_record(out, "small")
    assert record.store == str(new)
    names = {run.name for run in new.iterdir() if run.name != ".locks"}
    assert {Path(run).parent for run in record.runs.values()} == {new}
    assert {Path(run).name for run in record.runs.values()} == names
    assert record.earlier == {}, "a place is no mixture"
    assert told(tmp_path, ["status"]) == EXIT_DONE, "it is remembered"
    assert study.store is not None
    assert not study.store.exists()


@pytest.mark.usefixtures("study")
def test_another_store_is_not_its_new_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    require_store(tmp_path / "other")
    for command in COMMANDS:
        assert told(tmp_path, command, "--store", str(tmp_path / "other")) == EXIT_INPUT
        assert "has none of the runs that the study" in capsys.readouterr().err


@pytest.mark.usefixtures("study")
def test_without_its_record_it_begins_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the message says."""
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    assert told(tmp_path, ["status"]) == EXIT_INPUT
    assert f"move {tmp_path / 'out' / 'study.json'} away" in capsys.readouterr().err
    (tmp_path / "out" / "study.json").unlink()
    assert told(tmp_path, ["status", "--json"], "--store", str(tmp_path / "store")) == EXIT_DONE
    assert capsys.readouterr().out.count('"pending"') == 4


def test_a_phase_whose_mixture_is_changed_is_found_in_the_new_place(
    study: StudyTree, tmp_path: Path
) -> None:
    """By its name, which a store's runs keep."""
    out, node = tmp_path / "out", study.nodes["single/text"]
    run = study.run_directory(out, node)
    assert node.identity is not None
    run.write_status(Status(identity=node.identity, state="running"))
    append_jsonl(run.metrics, {"step": 1})
    (tmp_path / "store").rename(tmp_path / "new")
    moved = replace(study, store=tmp_path / "new")
    other = moved.run_directory(out, node).path.rename(tmp_path / "new" / ("0" * 16))
    record = read_record(out, "small")
    noted = record.runs | {node.key: str(tmp_path / "store" / other.name)}
    write_record(out, replace(record, runs=noted))
    found = earlier_run(moved, out, node)
    assert found is not None
    assert found.run.path == other
    assert read_record(out, "small").with_runs(moved, out).earlier == {
        node.key: str(tmp_path / "store" / other.name)
    }


@pytest.mark.usefixtures("study")
def test_a_damaged_record_says_that_the_store_is_to_be_named_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "out" / "study.json"
    record.write_text("{")
    assert told(tmp_path, ["status"]) == EXIT_INPUT
    said = capsys.readouterr().err
    assert "move it away" in said
    assert "name that with --store again" in said
    record.unlink()
    assert told(tmp_path, ["run"], "--store", str(tmp_path / "store")) == EXIT_DONE
    assert read_json(record)["store"] == str(tmp_path / "store")


@pytest.mark.usefixtures("study")
def test_a_store_that_another_study_has_made_in_its_place_is_not_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """That one did not know that the disk is not mounted."""
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    require_store(tmp_path / "store")
    (tmp_path / "store" / "0123456789abcdef").mkdir()
    for command in COMMANDS:
        assert told(tmp_path, command) == EXIT_INPUT
        assert "has its runs in this store" in capsys.readouterr().err


def test_a_store_in_which_nothing_has_begun_is_not_gone(tmp_path: Path) -> None:
    """All phases were planned, and the first one failed before it made its directory."""
    tree, out = replace(small_tree(tmp_path), store=tmp_path / "store"), tmp_path / "out"
    require_store(tmp_path / "store")
    write_record(out, StudyRecord(name="small").with_runs(tree, out))
    assert told(tmp_path, ["run", "--dry-run"]) == EXIT_DONE
    assert read_record(out, "small").begun == []


def test_what_has_begun_is_noted_by_whoever_begins_it(tmp_path: Path) -> None:
    """A `study run`, and the end of a job in SLURM."""
    tree, out = replace(small_tree(tmp_path), store=tmp_path / "store"), tmp_path / "out"
    names = [str(node.identity)[:16] for node in tree.nodes.values()]
    run_study(tree, out, commands=Scripts(tree, {"balanced": "wrong input"}), jobs=1, show=False)
    assert read_record(out, "small").begun == sorted(names[:2])
    (tmp_path / "store" / names[2]).mkdir()
    stretch = Stretch(began_unix=1.0, ended_unix=2.0)
    add_job_times(out, "small", "single/balanced-then-text", [stretch], is_training=True)
    assert read_record(out, "small").begun == sorted(names[:3])


def test_a_record_of_an_earlier_version_goes_by_the_mark_of_a_store(
    study: StudyTree, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record, store = tmp_path / "out" / "study.json", study.store
    assert store is not None
    old = read_json(record)
    assert old.pop("begun") == sorted(path.name for path in store.glob("[0-9a-f]*"))
    write_json(record, old)
    assert told(tmp_path, ["status"]) == EXIT_DONE
    store.rename(tmp_path / "elsewhere")
    assert told(tmp_path, ["status"]) == EXIT_INPUT
    assert "has its runs in this store" in capsys.readouterr().err
    for wrong in ("all", [1]):
        write_json(record, old | {"begun": wrong})
        assert told(tmp_path, ["status"]) == EXIT_INPUT
        assert "not a readable study record" in capsys.readouterr().err
