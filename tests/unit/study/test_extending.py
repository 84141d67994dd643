"""Study files that extend others: what is replaced, what is taken out, which origins live on."""

from pathlib import Path

import pytest

from megatron_codemix.errors import ConfigError
from megatron_codemix.study.loader import load_study
from megatron_codemix.study.spec import StudySpec
from megatron_codemix.study.tree import StudyTree, expand
from tests.helpers.study_files import STUDY, write_study

ORIGIN = """\
origin:
  phases.balanced: "paper 3.1"
  phases.cooldown.set.schedule: "paper 2.3"
  phases.cooldown.set.train.train_tokens: "paper 3.5"
  defaults.train.seed: "inferred: none is stated"
  variants.cooled: "paper 3.5"
"""


def write_child(folder: Path, text: str, base: str = STUDY) -> Path:
    """A study that extends `base`, from a folder below it."""
    write_study(folder, base)
    (folder / "below").mkdir(exist_ok=True)
    path = folder / "below" / "child.yaml"
    path.write_text(f"extends: ../study.yaml\n{text}", encoding="utf-8")
    return path


def read(folder: Path, text: str, base: str = STUDY) -> StudySpec:
    return load_study(write_child(folder, text, base))


def tree_of(folder: Path, text: str, base: str = STUDY) -> StudyTree:
    return expand(read(folder, text, base))


def test_a_child_keeps_what_it_does_not_name(tmp_path: Path) -> None:
    changed = "name: child\nworld_size: 4\ndefaults: {train: {seed: 7}}\n"
    tree, base = tree_of(tmp_path, changed), expand(load_study(write_study(tmp_path)))
    assert tree.spec.name == "child"
    assert list(tree.nodes) == list(base.nodes)
    for key, node in tree.nodes.items():
        other = base.nodes[key].config
        seeded = other.model_copy(update={"train": other.train.model_copy(update={"seed": 7})})
        assert node.config == seeded, "all but the seed is the base's"


def test_a_setting_is_replaced_whole_with_all_below_it(tmp_path: Path) -> None:
    base = STUDY.replace(
        "set: {data.mixture.weights: {text: 0.5, code: 0.5}}",
        "set: {schedule.peak_lr: 2e-3, data.mixture.weights: {text: 0.5, code: 0.5}}",
    )
    tree = tree_of(
        tmp_path,
        "phases:\n"
        "  balanced: {set: {data.mixture.weights: {code: 1}, "
        "schedule: {kind: constant, lr: 3e-3, warmup_tokens: 0}}}\n"
        "  cooldown: {set: {schedule.final_lr: 5e-6}}\n",
        base,
    )
    balanced = tree.nodes["single/balanced"].config
    assert dict(balanced.data.mixture.weights) == {"code": 1.0}
    assert balanced.schedule.model_dump(include={"kind", "lr"}) == {"kind": "constant", "lr": 3e-3}
    cooldown = tree.nodes["single/cooldown"].config
    assert (cooldown.schedule.start_lr, cooldown.schedule.final_lr) == (1e-4, 5e-6)
    assert cooldown.train.train_tokens == 200, "what else the phase sets stays"


def test_phases_variants_and_sources_are_taken_out(tmp_path: Path) -> None:
    tree = tree_of(
        tmp_path,
        "phases: {cooldown: ~}\nvariants: {cooled: ~}\ndefaults: {data: {sources: {markup: ~}}}\n",
    )
    assert [node.name for node in tree.nodes.values()] == ["text", "balanced", "balanced-then-text"]
    assert list(tree.spec.variants) == ["text-only", "mixed"]
    assert list(tree.nodes["single/text"].config.data.sources) == ["text", "code"]


def test_a_phase_may_begin_anew_and_others_be_added(tmp_path: Path) -> None:
    tree = tree_of(
        tmp_path,
        "phases:\n"
        "  balanced-then-text: {init_from: ~}\n"
        "  more: {init_from: {phase: cooldown, load: weights}}\n",
    )
    assert tree.nodes["single/balanced-then-text"].parent is None
    assert tree.nodes["single/more"].parent == "cooldown"


def test_axes_are_replaced_value_by_value(tmp_path: Path) -> None:
    base = STUDY.replace(
        "phases:\n",
        "matrix: {size: [small, wide]}\n"
        "axes: {size: {small: {}, wide: {model.ffn_hidden_size: 64}}}\nphases:\n",
    )
    other = "matrix: {size: [small, deep]}\naxes: {size: {wide: ~, deep: {model.num_layers: 4}}}\n"
    tree = tree_of(tmp_path, other, base)
    assert tree.cells == ["small", "deep"]
    assert list(tree.spec.axes["size"]) == ["small", "deep"]
    assert tree.nodes["deep/text"].config.model.num_layers == 4
    alone = tree_of(tmp_path, "matrix: {size: ~}\naxes: {size: ~}\n", base)
    assert alone.cells == ["single"]


def test_nothing_is_a_value_within_run_configurations(tmp_path: Path) -> None:
    base = STUDY.replace("weight_decay: 0.1", "weight_decay: 0.1, clip_grad_norm: 2.0")
    changed = "defaults: {optimizer: {clip_grad_norm: ~}}\n"
    tree = tree_of(tmp_path, changed, base)
    assert tree.nodes["single/text"].config.optimizer.clip_grad_norm is None


def test_taking_out_what_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, "phases: {cooldwon: ~}\nvariants: {cooled: ~}\n")
    [problem] = caught.value.problems
    assert "child.yaml:2: phases.cooldwon" in problem


def test_what_is_taken_out_is_missed_by_who_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        tree_of(tmp_path, "phases: {balanced-then-text: ~}\n")
    message = str(caught.value)
    assert "phases.cooldown.init_from.phase: no phase 'balanced-then-text'" in message
    assert "variants.mixed: no phase 'balanced-then-text'" in message


def test_origins_go_with_their_values(tmp_path: Path) -> None:
    spec = read(
        tmp_path,
        "phases: {cooldown: {set: {train.train_tokens: 100M}}}\nvariants: {cooled: ~}\n"
        "defaults: {train: {seed: 2}}\n"
        "origin: {phases.cooldown.set.train.train_tokens: 'inferred: shorter'}\n",
        STUDY + ORIGIN,
    )
    assert spec.origin == {
        "phases.balanced": "paper 3.1",
        "phases.cooldown.set.schedule": "paper 2.3",
        "phases.cooldown.set.train.train_tokens": "inferred: shorter",
    }


def test_files_of_the_defaults_lie_beside_who_names_them(tmp_path: Path) -> None:
    """The child's folder has none of that name; a child's own replaces the base's whole."""
    (tmp_path / "model.yaml").write_text("optimizer: {beta1: 0.8}\nmodel: {qk_norm: true}\n")
    base = STUDY.replace("defaults:\n", "defaults:\n  extends: model.yaml\n")
    config = tree_of(tmp_path, "name: child\n", base).nodes["single/text"].config
    assert (config.optimizer.beta1, config.model.qk_norm) == (0.8, True)
    (tmp_path / "below" / "other.yaml").write_text("optimizer: {beta1: 0.7}\n")
    other = tree_of(tmp_path, "defaults: {extends: other.yaml}\n", base)
    config = other.nodes["single/text"].config
    assert (config.optimizer.beta1, config.model.qk_norm) == (0.7, False)


def test_later_files_of_a_list_are_laid_on_earlier_ones(tmp_path: Path) -> None:
    write_study(tmp_path)
    (tmp_path / "size.yaml").write_text("token_scale: 2e-6\nphases: {cooldown: ~}\n")
    path = tmp_path / "sized.yaml"
    path.write_text("extends: [study.yaml, size.yaml]\nname: sized\nvariants: {cooled: ~}\n")
    tree = expand(load_study(path))
    assert tree.nodes["single/text"].config.train.train_tokens == 1280
    assert "single/cooldown" not in tree.nodes


def test_a_circle_of_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n")
    (tmp_path / "b.yaml").write_text("extends: a.yaml\n")
    with pytest.raises(ConfigError, match="a circle"):
        load_study(tmp_path / "a.yaml")
