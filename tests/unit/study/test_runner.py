"""The local run: what is started in which order, retries, refusals. Children are small scripts that
write run directories as training and evaluation would."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from megatron_codemix.config.loader import load_run_config
from megatron_codemix.errors import (
    EXIT_BUG,
    EXIT_DONE,
    EXIT_INPUT,
    EXIT_RETRY,
    ConfigError,
    RunError,
)
from megatron_codemix.files import append_jsonl, read_json, write_json
from megatron_codemix.locks import exclusive
from megatron_codemix.run_status import Status
from megatron_codemix.runs import RunDirectory
from megatron_codemix.study.evaluation import read_heldout
from megatron_codemix.study.loader import load_study
from megatron_codemix.study.phase_runner import DONE, MAX_FAILURES, STOPPED, Outcome, both
from megatron_codemix.study.progress import (
    StudyDisplay,
    last_records,
    left_words,
    remaining_seconds,
)
from megatron_codemix.study.record import StudyRecord, read_record
from megatron_codemix.study.runner import run_study
from megatron_codemix.study.state import phase_progress, study_progress
from megatron_codemix.study.tree import expand, identify
from tests.helpers.study_commands import Scripts
from tests.helpers.study_files import STUDY, SUMS, small_tree, write_study, write_trained


def test_a_study_runs_in_order_and_then_has_nothing_left(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    scripts = Scripts(tree)
    assert run_study(tree, tmp_path / "out", commands=scripts, show=False).exit_code == EXIT_DONE
    assert scripts.started == [
        step
        for name in ("text", "balanced", "balanced-then-text", "cooldown")
        for step in (f"train {name} on 2", f"evaluate {name} on 1 to 1024")
    ]
    assert {phase.state for phase in study_progress(tree, tmp_path / "out")} == {"done"}
    again = Scripts(tree)
    assert run_study(tree, tmp_path / "out", commands=again, show=False).exit_code == EXIT_DONE
    assert again.started == []
    assert read_record(tmp_path / "out", "small").starts == 2


def test_each_run_directory_holds_its_complete_configuration(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    out = tmp_path / "out"
    run_study(tree, out, commands=Scripts(tree), show=False)
    node = tree.nodes["single/cooldown"]
    assert load_run_config(tree.run_directory(out, node).config) == tree.resolved_config(out, node)


@pytest.mark.parametrize(
    ("deed", "code", "words"),
    [("wrong input", EXIT_INPUT, "error: no such source"), ("bug", EXIT_BUG, "KeyError: 3")],
)
def test_what_cannot_get_better_stops_the_study(
    deed: str, code: int, words: str, tmp_path: Path
) -> None:
    tree = small_tree(tmp_path)
    scripts = Scripts(tree, {"balanced": deed})
    outcome = run_study(tree, tmp_path / "out", commands=scripts, show=False)
    assert outcome.exit_code == code
    assert outcome.message.startswith("balanced: training ended with exit code")
    assert outcome.message.endswith(words)
    assert scripts.started[-1] == "train balanced on 2"


@pytest.mark.parametrize(("deed", "starts"), [("preempted twice", 3), ("killed once", 2)])
def test_a_child_that_may_succeed_later_is_started_again(
    deed: str, starts: int, tmp_path: Path
) -> None:
    tree = small_tree(tmp_path)
    scripts = Scripts(tree, {"text": deed})
    assert run_study(tree, tmp_path / "out", commands=scripts, show=False).exit_code == EXIT_DONE
    assert scripts.started.count("train text on 2") == starts


def test_failures_without_a_step_forward_are_capped(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    scripts = Scripts(tree, {"text": "never forward"})
    outcome = run_study(tree, tmp_path / "out", commands=scripts, show=False)
    assert outcome.exit_code == EXIT_RETRY
    assert scripts.started == ["train text on 2"] * MAX_FAILURES
    assert f"{MAX_FAILURES} times in a row" in outcome.message


def test_another_request_evaluates_again_but_does_not_train(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    run_study(tree, tmp_path / "out", commands=Scripts(tree), show=False)
    spec = load_study(
        write_study(tmp_path, STUDY.replace("1KiB", "2KiB")), data_root=tmp_path / "data"
    )
    other = identify(expand(spec))
    scripts = Scripts(other)
    run_study(other, tmp_path / "out", commands=scripts, show=False)
    assert [step.split()[0] for step in scripts.started] == ["evaluate"] * 4


def test_a_changed_phase_trains_again_beside_the_old_one(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    out = tmp_path / "out"
    run_study(tree, out, commands=Scripts(tree), show=False)
    other = small_tree(tmp_path, STUDY.replace("final_lr: 1e-6", "final_lr: 1e-7"))
    scripts = Scripts(other)
    run_study(other, out, commands=scripts, show=False)
    assert scripts.started == ["train cooldown on 2", "evaluate cooldown on 1 to 1024"]
    assert len(list((out / "single").glob("cooldown-*"))) == 2


def test_two_runs_of_one_study_exclude_each_other(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    with (
        exclusive(tmp_path / "out/.study.lock", "a study"),
        pytest.raises(RunError, match=r"already running here .*; 'codemix study status STUDY "),
    ):
        run_study(tree, tmp_path / "out", commands=Scripts(tree), show=False)


def test_missing_data_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    tree = identify(expand(load_study(write_study(tmp_path), data_root=tmp_path / "nowhere")))
    with pytest.raises(ConfigError, match=r"nowhere/tokenizer\.json"):
        run_study(tree, tmp_path / "out", commands=Scripts(tree), show=False)
    assert not (tmp_path / "out").exists()


def test_another_studys_folder_is_refused(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    run_study(tree, tmp_path / "out", commands=Scripts(tree), show=False)
    other = small_tree(tmp_path, STUDY.replace("name: small", "name: other"))
    with pytest.raises(RunError, match="holds the study 'small'"):
        run_study(other, tmp_path / "out", commands=Scripts(other), show=False)


def test_remaining_time_counts_tokens_and_overheads(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    out = tmp_path / "out"
    phases = [phase_progress(tree, out, node) for node in tree.nodes.values()]
    # 10 + 10 + 10 + 3 steps of 64 tokens at 32 tokens/s; the first phase is at step 4
    left = remaining_seconds(phases, {"single/text": 4}, speed=32.0, overhead=5.0)
    assert left == (33 - 4) * 64 / 32 + 4 * 5
    steps = {"single/text": 4, "single/balanced": 2}
    left = remaining_seconds(phases, steps, speed=64.0, overhead=5.0, jobs=2)
    assert left == (33 - 6) * 64 / 64 + 4 * 5 / 2
    assert remaining_seconds(phases, {}, speed=None, overhead=5.0) is None


def test_the_tail_of_metrics_leaves_out_cut_lines(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert last_records(path) == []
    record = {"throughput/tokens_per_second": 1000.0, "filler": "x" * 800}
    lines = [json.dumps({"step": step} | record) + "\n" for step in range(200)]
    lines += ["[]\n", '{"step": 1}\n', "not JSON\n"]
    path.write_text("".join(lines) + '{"step": 200, "fil')
    records = last_records(path)
    assert records[-1]["step"] == 199
    assert 50 < len(records) < 100
    assert [one["step"] for one in records] == list(range(200 - len(records), 200))


def test_an_evaluation_by_hand_does_not_pass_for_the_studys(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    out = tmp_path / "out"
    run_study(tree, out, commands=Scripts(tree), show=False)
    for name, changes in (
        ("text", {"max_bytes_per_source": 3000}),
        ("balanced", {"layout": {"tensor": 1, "pipeline": 1, "data": 2}}),
        ("cooldown", {"step": 1}),
    ):
        run = tree.run_directory(out, tree.nodes[f"single/{name}"])
        path = run.evaluation / "heldout.summary.json"
        write_json(path, read_json(path) | changes)
    states = {phase.node.name: phase.state for phase in study_progress(tree, out)}
    assert states.pop("balanced-then-text") == "done"
    assert set(states.values()) == {"trained"}
    scripts = Scripts(tree)
    run_study(tree, out, commands=scripts, show=False)
    assert [step.split()[1] for step in scripts.started] == ["text", "balanced", "cooldown"]
    assert {phase.state for phase in study_progress(tree, out)} == {"done"}


def test_no_time_is_told_before_it_can_be_known(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    out = tmp_path / "out"
    node = tree.nodes["single/text"]
    run = tree.run_directory(out, node)
    texts = []
    for step in (0, 2, 5):
        status = Status(identity="0", state="running", step=0, num_steps=10)
        run.write_status(status)
        run.metrics.write_text(
            "".join(
                json.dumps({"step": i + 1, "throughput/tokens_per_second": 64.0}) + "\n"
                for i in range(step)
            )
        )
        console = Console(file=io.StringIO(), width=200)
        StudyDisplay(console=console).update(tree, out, StudyRecord(name="small"), [node])
        texts.append(console.file.getvalue())  # type: ignore[attr-defined]  # StringIO
    assert "0 of 4 phases, estimating the time left" in texts[0]
    assert "estimating" in texts[1]
    # (33 - 5) steps of 64 tokens at 64 tokens/s; no phase is done, so the rest is not known.
    assert "0 of 4 phases, about 28s of training left" in texts[2]
    assert left_words(90.0, 2.0) == "about 1m30s left"


VALIDATED = STUDY.replace(
    "heldout: {world_size: 1, max_bytes_per_source: 1KiB}", "heldout: {kind: validation}"
).replace(
    "precision: {kind: fp32}",
    "precision: {kind: fp32}\n  validation: {every_tokens: 64M, max_bytes_per_source: 1KiB}",
)


def test_phases_that_need_not_wait_run_side_by_side(tmp_path: Path) -> None:
    """Each of the two roots ends only once the other runs."""
    tree = small_tree(tmp_path)
    scripts = Scripts(tree, {"text": "wait for balanced.runs", "balanced": "wait for text.runs"})
    outcome = run_study(tree, tmp_path / "out", jobs=2, commands=scripts, show=False)
    assert outcome.exit_code == EXIT_DONE
    assert {phase.state for phase in study_progress(tree, tmp_path / "out")} == {"done"}
    starts = {name: number for number, name in enumerate(scripts.started)}
    for parent, child in (("balanced", "balanced-then-text"), ("balanced-then-text", "cooldown")):
        assert starts[f"evaluate {parent} on 1 to 1024"] < starts[f"train {child} on 2"]
    walls = read_record(tmp_path / "out", "small").phases
    assert set(walls) == set(tree.nodes)


def test_a_failure_lets_the_phases_beside_it_save(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    out = tmp_path / "out"
    scripts = Scripts(tree, {"text": "until stopped", "balanced": "fail beside another"})
    outcome = run_study(tree, out, jobs=2, commands=scripts, show=False)
    assert outcome.exit_code == EXIT_INPUT
    assert outcome.message.startswith("balanced: training ended with exit code 2")
    states = {phase.node.name: (phase.state, phase.step) for phase in study_progress(tree, out)}
    assert states["text"] == ("pending", 1)
    assert len(scripts.started) == 2


class _DamagedMeanwhile(Scripts):
    """Leaves a summary that is none in the run of a phase as its training begins."""

    def train(self, run: RunDirectory, world_size: int) -> list[str]:
        if run.path.name.startswith("balanced-"):
            run.evaluation.mkdir(parents=True)
            (run.evaluation / "heldout.summary.json").write_text("{")
        return super().train(run, world_size)


def test_damage_that_a_phase_finds_lets_the_phases_beside_it_save(tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path), tmp_path / "out"
    deeds = {"text": "until stopped", "balanced": "wait for waits.runs"}
    outcome = run_study(tree, out, commands=_DamagedMeanwhile(tree, deeds), jobs=2)
    assert outcome.exit_code == EXIT_INPUT
    assert outcome.message.startswith("balanced: ")
    assert "heldout.summary.json: damaged" in outcome.message
    text = tree.run_directory(out, tree.nodes["single/text"]).require_status()
    assert (text.state, text.step) == ("pending", 1)


def test_damage_of_all_phases_is_told_before_anything_starts(tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path), tmp_path / "out"
    for name in ("text", "balanced"):
        run = write_trained(tree, out, tree.nodes[f"single/{name}"])
        run.evaluation.mkdir()
        (run.evaluation / "heldout.summary.json").write_text("{}")
    scripts = Scripts(tree)
    with pytest.raises(ConfigError) as told:
        run_study(tree, out, commands=scripts, show=False)
    assert [problem.partition(": ")[0] for problem in told.value.problems] == [
        str(tree.run_directory(out, node).evaluation / "heldout.summary.json")
        for node in (tree.nodes["single/text"], tree.nodes["single/balanced"])
    ]
    assert scripts.started == []


def test_phases_that_fail_side_by_side_are_all_named(tmp_path: Path) -> None:
    """The second one after it was asked to stop because of the first."""
    tree = small_tree(tmp_path)
    scripts = Scripts(tree, {"text": "fail when stopped", "balanced": "fail beside another"})
    outcome = run_study(tree, tmp_path / "out", jobs=2, commands=scripts, show=False)
    assert outcome.exit_code == EXIT_INPUT
    first, second = outcome.message.split("\n\n")
    assert first.startswith("balanced: training ended with exit code 2")
    assert first.endswith("error: no such source")
    assert second.startswith("text: training ended with exit code 1")
    assert second.endswith("error: no such shard")


RETRY = Outcome(exit_code=EXIT_RETRY, message="retry")
INPUT = Outcome(exit_code=EXIT_INPUT, message="input")


@pytest.mark.parametrize(
    ("one", "other", "code", "message"),
    [
        (DONE, STOPPED, EXIT_RETRY, STOPPED.message),
        (STOPPED, STOPPED, EXIT_RETRY, STOPPED.message),
        (STOPPED, INPUT, EXIT_INPUT, "input"),
        (INPUT, STOPPED, EXIT_INPUT, "input"),
        (RETRY, STOPPED, EXIT_RETRY, "retry"),
        (RETRY, INPUT, EXIT_INPUT, "retry\n\ninput"),
        (INPUT, RETRY, EXIT_INPUT, "input\n\nretry"),
    ],
)
def test_a_stop_is_no_news_beside_a_failure(
    one: Outcome, other: Outcome, code: int, message: str
) -> None:
    assert both(one, other) == Outcome(exit_code=code, message=message)


def test_a_place_has_the_gpus_of_the_evaluation_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four processes evaluate what two have trained."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3,4,5,6,7")
    text = STUDY.replace("heldout: {world_size: 1", "heldout: {world_size: 4").replace(
        "  precision: {kind: fp32}", "  precision: {kind: fp32}\n  backend: {device: cuda}"
    )
    tree = small_tree(tmp_path, text)
    with pytest.raises(ConfigError, match=r"4 processes need 16 GPUs.*use --jobs 2"):
        run_study(tree, tmp_path / "out", jobs=4, commands=Scripts(tree), show=False)


def test_losses_of_validations_need_no_evaluation(tmp_path: Path) -> None:
    tree = small_tree(tmp_path, VALIDATED)
    out = tmp_path / "out"
    node = tree.nodes["single/text"]
    run = write_trained(tree, out, node)
    line = {"step": tree.plan(node).num_steps, "sources": {"text": SUMS}}
    append_jsonl(run.validation, line)
    assert phase_progress(tree, out, node).state == "done"
    assert read_heldout(tree.spec.evaluation, run, status_of(run)) == line


def test_a_finished_run_without_its_last_validation_is_named(tmp_path: Path) -> None:
    tree = small_tree(tmp_path, VALIDATED)
    run = write_trained(tree, tmp_path / "out", tree.nodes["single/text"])
    with pytest.raises(ConfigError, match="without a validation after its last step, 10"):
        run_study(tree, tmp_path / "out", commands=Scripts(tree), show=False)
    assert run.path.exists()


def test_validations_must_be_asked_for_in_every_phase(tmp_path: Path) -> None:
    text = VALIDATED.replace("  validation: {every_tokens: 64M, max_bytes_per_source: 1KiB}\n", "")
    text = text.replace("{kind: validation}", "{kind: validation}\n  tasks: {names: [boolq]}")
    with pytest.raises(ConfigError) as caught:
        expand(load_study(write_study(tmp_path, text)))
    assert [problem.split(": ")[:3] for problem in caught.value.problems] == [
        [f"{tmp_path}/study.yaml:38", "every phase", "evaluation.heldout.kind"],
        [f"{tmp_path}/study.yaml:39", "every phase", "evaluation.tasks"],
    ]


def status_of(run: RunDirectory) -> Status:
    status = run.read_status()
    assert status is not None
    return status
