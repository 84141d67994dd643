"""What keeps a study from starting on its data and the runs that are there, before anything is
started."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from megatron_codemix.config.loader import dump_yaml, load_run_config
from megatron_codemix.config.plan import num_steps
from megatron_codemix.errors import CodemixError, ConfigError, RunError
from megatron_codemix.files import write_text
from megatron_codemix.ledgers import ledger_damage, read_ledger
from megatron_codemix.lineage import start_step
from megatron_codemix.runs import RunDirectory
from megatron_codemix.study.changed_phase import other_run_problems
from megatron_codemix.study.damaged_ends import is_to_start, lost_end, to_be_done
from megatron_codemix.study.data_checks import data_of_the_rest
from megatron_codemix.study.node import PhaseNode
from megatron_codemix.study.state import phase_progress
from megatron_codemix.study.tree import StudyTree


def start_problems(tree: StudyTree, out: Path) -> list[str]:
    """Data that is missing or damaged, then what `run_problems` finds."""
    return [*data_of_the_rest(tree, out).problems, *run_problems(tree, out)]


def run_problems(tree: StudyTree, out: Path) -> list[str]:
    """What keeps a study from starting on the runs that are there, but for what a start mends
    itself (`mend_configs`). Phases whose data is not there are passed over."""
    return list(dict.fromkeys([*record_problems(tree, out), *checkpoint_problems(tree, out)]))


def record_problems(tree: StudyTree, out: Path) -> list[str]:
    """What `identity_problems` finds, and ledgers and results that cannot be read."""
    known = _known(tree)
    found = [
        *identity_problems(tree, out),
        *(problem for node in known for problem in _ledger_problems(tree.run_directory(out, node))),
        *(problem for node in known for problem in _progress_problems(tree, out, node)),
    ]
    return list(dict.fromkeys(found))


def identity_problems(tree: StudyTree, out: Path) -> list[str]:
    """Directories that hold other runs than those that they are named for."""
    found = [problem for node in _known(tree) for problem in other_run_problems(tree, out, node)]
    return list(dict.fromkeys(found))


def checkpoint_problems(tree: StudyTree, out: Path) -> list[str]:
    """Checkpoints that a phase is still to start from, or to be evaluated by, and that are gone for
    good."""
    found = [
        problem
        for node in _known(tree)
        for problem in (*_end_problems(tree, out, node), *_branch_problems(tree, out, node))
    ]
    return list(dict.fromkeys(found))


def _known(tree: StudyTree) -> list[PhaseNode]:
    return [node for node in tree.nodes.values() if node.identity is not None]


def config_problems(tree: StudyTree, out: Path) -> list[str]:
    """Finished runs without a readable configuration."""
    advice = "'codemix study run' or 'submit' writes the file again"
    return [f"{problem}; {advice}" for _, problem in _unreadable_configs(tree, out)]


def status_problems(tree: StudyTree, out: Path) -> list[str]:
    """Runs whose status was lost, so that they look as if they had not begun. A start makes it
    again."""
    found = {node.key: tree.run_directory(out, node).lost_status() for node in _known(tree)}
    return [
        f"{tree.nodes[key].label}: {problem}"
        for key, problem in found.items()
        if problem is not None and tree.trained_with(tree.nodes[key]) is None
    ]


def mend_configs(tree: StudyTree, out: Path) -> Iterator[str]:
    """Writes the configurations of finished runs again that are lost or cannot be read, and says
    which, or why not. The study knows them: what was trained is in the run's identity. What was
    validated is not, and a run in a store may be another study's: there it is left out."""
    for node, problem in _unreadable_configs(tree, out):
        config = tree.resolved_config(out, node)
        told = "written again as the study has it"
        if tree.store is not None and config.validation is not None:
            config = config.model_copy(update={"validation": None})
            told += ", without what was validated, which another study may have asked for"
        try:
            write_text(tree.run_directory(out, node).config, dump_yaml(config))
        except OSError as error:  # perhaps another user's run
            told = f"it cannot be written again: {error.strerror}"
        yield f"{node.label}: {problem}; {told}"


def _unreadable_configs(tree: StudyTree, out: Path) -> Iterator[tuple[PhaseNode, str]]:
    for node in tree.nodes.values():
        if node.identity is None or tree.trained_with(node) is not None:
            continue
        run = tree.run_directory(out, node)
        with contextlib.suppress(RunError):  # told by other_run_problems
            status = run.read_status()
            if status is None or (status.state, status.identity) != ("done", node.identity):
                continue
            if not run.config.is_file():
                yield node, f"{run.config}: is missing"
                continue
            try:
                load_run_config(run.config)
            except ConfigError as error:
                yield node, error.problems[0]


def _ledger_problems(run: RunDirectory) -> list[str]:
    """Now, and not by a phase that starts from the run, or by the report behind all trainings."""
    try:
        lines, status = read_ledger(run), run.read_status()
        if status is not None:
            ledger_damage(run, status, lines)  # what was cut is put back, or told of, later
    except RunError as error:
        return error.problems
    return []


def _progress_problems(tree: StudyTree, out: Path, node: PhaseNode) -> list[str]:
    """Now, and not when it is the phase's turn."""
    try:
        phase_progress(tree, out, node)
    except CodemixError as error:
        return error.problems
    return []


def _end_problems(tree: StudyTree, out: Path, node: PhaseNode) -> list[str]:
    if tree.trained_with(node) is not None:
        return []
    try:
        lost = lost_end(tree, out, phase_progress(tree, out, node))
    except CodemixError:  # told by other_run_problems, or by the one who reads what is damaged
        return []
    if lost is None:
        return []
    return [f"{node.label}: its last checkpoint is needed: {'; '.join(lost.splitlines())}"]


def _branch_problems(tree: StudyTree, out: Path, node: PhaseNode) -> list[str]:
    """What is kept for good is no part of an identity: another study may have kept less."""
    origin = node.config.init_from
    if node.parent is None or origin is None or origin.at_tokens is None:
        return []
    parent = tree.nodes[f"{node.cell}/{node.parent}"]
    run, step = tree.run_directory(out, parent), start_step(origin, parent.config)
    if step == num_steps(parent.config):  # kept, and made again where it is damaged
        return []
    try:
        if not is_to_start(tree, out, phase_progress(tree, out, node)):
            return []
        trained = to_be_done(tree, out, phase_progress(tree, out, parent))
    except CodemixError:  # as above
        return []
    saved = run.complete_steps()
    is_past = trained.state in ("trained", "done") or any(
        step < one < trained.num_steps for one in saved
    )
    if step in saved or not is_past:
        return []
    place, other = (" in the store", ", or use another store") if tree.store else ("", "")
    return [
        f"{node.label}: starts from step {step} of {parent.label}, and its run{place}, {run.path}, "
        "has not kept that checkpoint, or it is gone; restore it from a copy, or move the "
        f"directory away to train it again{other}"
    ]
