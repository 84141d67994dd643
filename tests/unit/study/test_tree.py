"""Expansion, identities and what they depend on."""

import math
from decimal import Decimal
from pathlib import Path

import pytest

from megatron_codemix.config.schema import LinearSchedule
from megatron_codemix.errors import ConfigError, DataError, RunError
from megatron_codemix.study.loader import load_study
from megatron_codemix.study.outlook import outlook, repetition_warnings, rounding_warnings
from megatron_codemix.study.tree import StudyTree, expand, identify
from tests.helpers.study_files import (
    STUDY,
    small_tree,
    with_changed_shard,
    write_data,
    write_study,
    write_tokenizer,
)


def identities(tree: StudyTree) -> dict[str, str | None]:
    return {node.name: node.identity for node in tree.nodes.values()}


def changed(before: StudyTree, after: StudyTree) -> set[str]:
    old, new = identities(before), identities(after)
    assert old.keys() == new.keys()
    return {name for name in old if old[name] != new[name]}


def test_expansion_over_a_matrix(tmp_path: Path) -> None:
    matrix = (
        "matrix: {size: [small, wide], train.seed: [1, 2]}\n"
        "axes: {size: {small: {}, wide: {model.ffn_hidden_size: 64}}}\nphases:\n"
    )
    tree = expand(load_study(write_study(tmp_path, STUDY.replace("phases:\n", matrix))))
    assert tree.cells == ["small.seed1", "small.seed2", "wide.seed1", "wide.seed2"]
    assert len(tree.nodes) == 4 * 4
    config = tree.nodes["wide.seed2/cooldown"].config
    assert (config.model.ffn_hidden_size, config.train.seed) == (64, 2)
    assert tree.nodes["small.seed1/cooldown"].config.model.ffn_hidden_size == 32
    chain = [node.key for node in tree.variant("wide.seed2", "cooled")]
    assert chain == [
        "wide.seed2/balanced",
        "wide.seed2/balanced-then-text",
        "wide.seed2/cooldown",
    ]


def test_a_phase_replaces_what_it_sets_and_keeps_the_rest(tmp_path: Path) -> None:
    nodes = small_tree(tmp_path).nodes
    cooldown = nodes["single/cooldown"].config
    assert cooldown.schedule == LinearSchedule(start_lr=1e-4, final_lr=1e-6)
    assert dict(nodes["single/balanced-then-text"].config.data.mixture.weights) == {
        "text": 0.75,
        "code": 0.25,
    }
    assert dict(cooldown.data.mixture.weights) == {"text": 1.0}
    assert cooldown.train.train_tokens == 200


def test_parents_come_before_children(tmp_path: Path) -> None:
    names = [node.name for node in small_tree(tmp_path).nodes.values()]
    assert names.index("balanced") < names.index("balanced-then-text") < names.index("cooldown")


def test_run_directories_and_the_parents_place(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    node = tree.nodes["single/cooldown"]
    assert node.identity is not None
    run = tree.run_directory(tmp_path / "out", node)
    assert run.path == tmp_path / "out/single" / f"cooldown-{node.identity[:8]}"
    parent = tree.run_directory(tmp_path / "out", tree.nodes["single/balanced-then-text"])
    init_from = tree.resolved_config(tmp_path / "out", node).init_from
    assert init_from is not None
    assert (init_from.run, init_from.load) == (parent.path, "weights+optimizer")


def test_identities_are_all_different_and_repeatable(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    assert len(set(identities(tree).values())) == 4
    assert identities(small_tree(tmp_path)) == identities(tree)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("layout: {tensor: 2,", "layout: {tensor: 1, pipeline: 2,", set()),
        ("{world_size: 1, max", "{world_size: 2, max", set()),
        (
            "{text: 0.5, code: 0.5}",
            "{text: 0.25, code: 0.75}",
            {"balanced", "balanced-then-text", "cooldown"},
        ),
        ("{phase: balanced, load: weights}", "{phase: balanced, load: weights+optimizer}",
         {"balanced-then-text", "cooldown"}),
        ("final_lr: 1e-6", "final_lr: 1e-7", {"cooldown"}),
        ("seed: 1", "seed: 2", {"text", "balanced", "balanced-then-text", "cooldown"}),
    ],
)  # fmt: skip
def test_a_change_gives_new_identities_to_exactly_its_subtree(
    old: str, new: str, expected: set[str], tmp_path: Path
) -> None:
    before = small_tree(tmp_path)
    assert changed(before, small_tree(tmp_path, STUDY.replace(old, new, 1))) == expected


def test_changed_data_changes_the_phases_that_read_it(tmp_path: Path) -> None:
    before = small_tree(tmp_path)
    with_changed_shard(tmp_path / "data", "code")
    spec = load_study(write_study(tmp_path), data_root=tmp_path / "data")
    after = identify(expand(spec))
    assert changed(before, after) == {"balanced", "balanced-then-text", "cooldown"}


def test_moving_the_data_changes_nothing(tmp_path: Path) -> None:
    before = small_tree(tmp_path)
    elsewhere = write_data(tmp_path / "elsewhere")
    after = identify(expand(load_study(write_study(tmp_path), data_root=elsewhere)))
    assert changed(before, after) == set()


def test_missing_data_is_named_and_leaves_identities_open(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    (data / "code_train.manifest.json").unlink()
    tree = identify(expand(load_study(write_study(tmp_path), data_root=data)))
    assert tree.inventory.missing == [f"token shard {data / 'code_train.manifest.json'}"]
    known = identities(tree)
    assert known["text"] is not None
    assert known["balanced"] is known["balanced-then-text"] is known["cooldown"] is None
    with pytest.raises(RunError, match="code_train"):
        tree.run_directory(tmp_path, tree.nodes["single/balanced"])


def test_a_shard_of_another_tokenizer_is_refused(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    write_tokenizer(data / "tokenizer.json", 65)
    with pytest.raises(ConfigError, match="made with tokenizer"):
        identify(expand(load_study(write_study(tmp_path), data_root=data)))


def test_outlook_adds_epochs_along_the_chain(tmp_path: Path) -> None:
    phases = {phase.phase: phase for phase in outlook(small_tree(tmp_path))}
    # 640 tokens are 10 steps of 4 samples; (4001 - 1) // 16 = 250 samples are an epoch.
    assert phases["text"].epochs == {"text": pytest.approx(40 / 250)}
    assert phases["balanced-then-text"].epochs == pytest.approx(
        {"code": (20 + 10) / 250, "text": (20 + 30) / 250}
    )
    # 200 tokens are 3.125 steps: 3 whole ones, 12 samples of text.
    cooldown = phases["cooldown"]
    assert (cooldown.requested_tokens, cooldown.train_tokens, cooldown.num_steps) == (200, 192, 3)
    assert cooldown.epochs["text"] == pytest.approx(62 / 250)
    assert (cooldown.parent_final_lr, cooldown.first_lr, cooldown.final_lr) == pytest.approx(
        (1e-4, 1e-4, 1e-6)
    )
    assert (phases["text"].first_lr, phases["text"].peak_lr) == (0.0, 1e-3)
    assert cooldown.layout == "TP2 x PP1 x DP1"


def test_repetition_beyond_four_epochs_is_noted(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", num_tokens=145)  # 9 samples an epoch
    tree = identify(expand(load_study(write_study(tmp_path), data_root=data)))
    notes = repetition_warnings(outlook(tree))
    # text 40/9, balanced-then-text 50/9, cooldown 62/9; code at most 30/9
    assert [note.split(" is read")[0] for note in notes] == [
        "text: text",
        "balanced-then-text: text",
        "cooldown: text",
    ]


def test_vocabulary_and_sequences_that_do_not_fit_are_found_together(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", num_tokens=16)  # a sample of 16 needs 17
    text = STUDY.replace("vocabulary_size: 64", "vocabulary_size: 60")
    with pytest.raises(ConfigError) as caught:
        identify(expand(load_study(write_study(tmp_path, text), data_root=data)))
    vocabulary, *lengths = caught.value.problems
    assert "60, but" in vocabulary
    assert "has 64 entries; set model.vocabulary_size to 64" in vocabulary
    assert [
        f"source {name!r}" in text for name, text in zip(("text", "code"), lengths, strict=True)
    ] == [
        True,
        True,
    ]
    assert all("16 is too long" in text and "needs 17" in text for text in lengths)
    write_data(data, num_tokens=17)
    identify(expand(load_study(write_study(tmp_path), data_root=data)))


def test_a_tokenizer_without_a_vocabulary_is_refused(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    (data / "tokenizer.json").write_text('{"model": "small"}')
    with pytest.raises(DataError, match="vocabulary is not readable"):
        identify(expand(load_study(write_study(tmp_path), data_root=data)))


def test_budgets_lost_in_rounding_are_warned_of_strongly() -> None:
    assert rounding_warnings({"a": (100, 100)}) == []
    [mild] = rounding_warnings({"a": (100, 109), "b": (100, 92)})
    assert mild.endswith("by at most 9 tokens, 9% (phase a)")
    [strong] = rounding_warnings({"a": (100, 109), "b": (100, 256)})
    assert "too small for whole steps, so this is not the comparison asked for" in strong
    assert "phase b trains on 256 tokens in place of 100 (+156%)" in strong


BRANCH = STUDY.replace(
    "init_from: {phase: balanced-then-text, load: weights+optimizer}",
    "init_from: {phase: balanced-then-text, load: weights+optimizer, at_tokens: 256M}",
)
KEPT = BRANCH.replace("train: {train_tokens", "checkpoint: {keep_every_tokens: 128M}\n  "
                      "train: {train_tokens")  # fmt: skip


def test_a_branch_counts_its_parent_up_to_where_it_starts(tmp_path: Path) -> None:
    tree = small_tree(tmp_path, KEPT)
    cooldown = {phase.phase: phase for phase in outlook(tree)}["cooldown"]
    # 4 of the parent's 10 steps: 16 samples, a quarter of code; before them half of 40.
    assert cooldown.epochs == pytest.approx({"code": (20 + 4) / 250, "text": (20 + 12 + 12) / 250})
    parent = tree.nodes["single/balanced-then-text"].config.schedule
    done = (256 - 64) / (640 - 64)
    expected = parent.min_lr + (parent.peak_lr - parent.min_lr) * (1 + math.cos(math.pi * done)) / 2
    assert cooldown.parent_final_lr == pytest.approx(expected)
    whole = {phase.phase: phase for phase in outlook(small_tree(tmp_path))}["cooldown"]
    assert whole.identity != cooldown.identity


def test_a_branch_from_a_checkpoint_that_is_not_kept_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"does not keep a checkpoint there \(step 4\)"):
        expand(load_study(write_study(tmp_path, BRANCH)))
    far = BRANCH.replace("at_tokens: 256M", "at_tokens: 900M")
    with pytest.raises(ConfigError, match="behind the end of the parent"):
        expand(load_study(write_study(tmp_path, far)))


def test_a_branch_that_rounding_to_steps_misses_blames_the_rounding(tmp_path: Path) -> None:
    """Of 64 tokens: 256M at 3.2e-6 are 12.8, 128M are 6.4."""
    path = write_study(tmp_path, KEPT)
    with pytest.raises(ConfigError) as caught:
        expand(load_study(path, scale=Decimal("3.2")))
    [problem] = caught.value.problems
    assert problem == (
        f"{path}:29: phase cooldown: init_from.at_tokens: 256M is a multiple of the parent's "
        "checkpoint.keep_every_tokens 128M, but at a token scale of 0.0000032 they are 819 and 410 "
        "tokens, and rounded to whole steps of 64 tokens this is step 13, and a checkpoint is kept "
        "every 6 steps; take a token scale of 3e-06, at which they are whole steps, or set the "
        "parent's checkpoint.keep_every_tokens to 256M too"
    )
    assert expand(load_study(path, scale=Decimal(3))).nodes, "the scale that is advised"
    kept_there = KEPT.replace("keep_every_tokens: 128M", "keep_every_tokens: 256M")
    assert expand(load_study(write_study(tmp_path, kept_there), scale=Decimal("3.2"))).nodes


def test_rounding_is_blamed_without_a_scale_too(tmp_path: Path) -> None:
    text = KEPT.replace("token_scale: 1e-6\n", "")
    for number in ("64M", "128M", "200M", "256M", "640M"):
        text = text.replace(number, str(int(int(number[:-1]) * 3.2)))
    with pytest.raises(ConfigError) as caught:
        expand(load_study(write_study(tmp_path, text)))
    [problem] = caught.value.problems
    assert "init_from.at_tokens: 819 is a multiple" not in problem, "409 x 2 is 818"
    with pytest.raises(ConfigError, match=r"but rounded to whole steps of 64 .* multiples of 64,"):
        expand(load_study(write_study(tmp_path, text.replace("at_tokens: 819", "at_tokens: 818"))))


def test_tuning_wants_conversations(tmp_path: Path) -> None:
    asked = "set: {data.mixture.weights: {text: 0.75, code: 0.25}}"
    tuned = (
        "set: {train.stage: instruct, data.document_mask: true,"
        " data.mixture.weights: {text: 0.75, code: 0.25}}"
    )
    assert asked in STUDY
    with pytest.raises(ConfigError) as caught:
        small_tree(tmp_path, STUDY.replace(asked, tuned))
    assert len(caught.value.problems) == 2
    assert "data.sources.code.train" in caught.value.problems[0]
    assert "holds no conversations" in caught.value.problems[0]
