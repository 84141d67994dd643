"""Reading a study file: scaling, paths, and what is refused with which words."""

from decimal import Decimal
from pathlib import Path

import pytest

from megatron_codemix.cli.main import main
from megatron_codemix.errors import EXIT_INPUT, ConfigError
from megatron_codemix.study.evaluation import asked_folder
from megatron_codemix.study.extending import leaf_paths
from megatron_codemix.study.loader import load_study
from megatron_codemix.study.token_scale import scale_tokens, token_fields
from megatron_codemix.study.tree import expand
from tests.helpers.study_files import CELLS, STUDY, write_study

QUICKSTART = Path(__file__).parents[3] / "examples/quickstart/study.yaml"


def test_token_fields_are_those_of_the_schema() -> None:
    expected = {
        "train.train_tokens",
        "train.ramp_up.over_tokens",
        "schedule.warmup_tokens",
        "schedule.chain_tokens",
        "schedule.decay_tokens",
        "schedule.steps.from_tokens",
        "init_from.at_tokens",
        "checkpoint.save_every_tokens",
        "checkpoint.keep_every_tokens",
        "validation.every_tokens",
        "data.mixture.steps.from_tokens",
        "data.changes.at_tokens",
        "data.changes.mixture.steps.from_tokens",
    }
    assert set(token_fields()) == expected


def test_scaling_rounds_to_whole_tokens_and_never_to_none() -> None:
    tree = {"train": {"train_tokens": "200B"}, "schedule": {"warmup_tokens": "1"}}
    scaled = scale_tokens(tree, Decimal("2e-6"))
    assert scaled == {"train": {"train_tokens": "400000"}, "schedule": {"warmup_tokens": "1"}}
    assert scale_tokens({"schedule": {"warmup_tokens": "0"}}, Decimal("0.5")) == {
        "schedule": {"warmup_tokens": "0"}
    }
    assert scale_tokens({"train": {"train_tokens": "5"}}, Decimal("0.5"))["train"] == {
        "train_tokens": "3"
    }


def test_scaling_reaches_the_steps_and_changes_of_a_mixture() -> None:
    steps = [{"from_tokens": "0"}, {"from_tokens": "100B"}]
    data = {"mixture": {"kind": "step", "steps": steps}, "changes": [{"at_tokens": "5B"}]}
    scaled = scale_tokens({"data": data}, Decimal("1e-6"))["data"]
    assert scaled["mixture"]["steps"] == [{"from_tokens": "0"}, {"from_tokens": "100000"}]
    assert scaled["changes"] == [{"at_tokens": "5000"}]


def test_what_is_no_number_of_tokens_is_refused_as_it_is_written(tmp_path: Path) -> None:
    text = STUDY.replace("train.train_tokens: 200M", "train.train_tokens: -200M")
    with pytest.raises(ConfigError) as caught:
        expand(load_study(write_study(tmp_path, text), scale=Decimal("0.5")))
    [problem] = caught.value.problems
    assert problem.endswith("train.train_tokens: must be greater than 0, got '-200M'")


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [("name: small", "name: my study", "1: name"), ("  text: {}", "  a/b: {}", "21: phases.a/b")],
)
def test_a_name_that_is_no_part_of_a_path_is_refused_in_words(
    old: str, new: str, where: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_study(write_study(tmp_path, STUDY.replace(old, new)))
    [problem] = [text for text in caught.value.problems if "becomes part of a path" in text]
    assert problem.startswith(f"{tmp_path}/study.yaml:{where}: a name becomes part of a path: ")


def test_a_scale_that_makes_too_many_tokens_is_named(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    assert expand(load_study(path, scale=Decimal("1e12"))).nodes  # 6.4e14 tokens
    with pytest.raises(ConfigError) as caught:
        expand(load_study(path, scale=Decimal("1e12"), overrides=["token_scale=1e-2"]))
    assert caught.value.problems[-1] == (
        f"{path}:30: phase cooldown: train.train_tokens: 200M at a token scale of 1e+10 is more "
        "than 1e+18 tokens; lower the scale"
    )


@pytest.mark.parametrize("scale", ["0", "-1", "nan", "inf", "1e30", "1e999999", "0,1", ""])
def test_a_scale_that_is_none_is_refused_in_one_sentence(
    scale: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", "check", str(write_study(tmp_path)), "--scale", scale]) == EXIT_INPUT
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: --scale {scale}: expected a number above 0 and at most 1e+12")


def test_the_command_line_multiplies_the_token_scale(tmp_path: Path) -> None:
    tree = expand(load_study(write_study(tmp_path), scale=Decimal("0.5")))
    config = tree.nodes["single/text"].config
    assert config.train.train_tokens == 320
    assert config.schedule.warmup_tokens == 32
    assert tree.nodes["single/cooldown"].config.train.train_tokens == 100


def test_paths_are_absolute_and_data_stands_for_its_root(tmp_path: Path) -> None:
    text = STUDY.replace('path: "{data}/tokenizer.json"', "path: ../tokenizer.json")
    spec = load_study(write_study(tmp_path, text), data_root=tmp_path / "d")
    config = expand(spec).nodes["single/text"].config
    assert config.data.sources["code"].train == tmp_path / "d/code_train"
    assert config.tokenizer.path == tmp_path.parent / "tokenizer.json"


def test_paths_that_phases_and_axes_set_are_absolute_too(tmp_path: Path) -> None:
    text = CELLS.replace(
        "much: {", 'much: {data.sources.markup.validation: "{data}/other", '
    ).replace(
        "set: {data.mixture.weights: {text: 1}}",
        "set: {data.mixture.weights: {text: 1}, tokenizer: {path: own.json},"
        " data.sources.code: {train: c}}",
    )
    nodes = expand(load_study(write_study(tmp_path, text), data_root=tmp_path / "d")).nodes
    assert nodes["much/mixed"].config.data.sources["markup"].validation == tmp_path / "d/other"
    assert nodes["little/mixed"].config.data.sources["markup"].validation == (
        tmp_path / "d/markup_validation"
    )
    base = nodes["little/base"].config
    assert base.tokenizer.path == tmp_path / "own.json"
    assert base.data.sources["code"].train == tmp_path / "c"


def test_one_place_has_one_name_however_it_is_given(tmp_path: Path) -> None:
    """A name is what evaluations are told apart by. Links stay names, except where a `..` leaves
    them: there the text alone would mean another place."""
    for folder in ("studies", "elsewhere/deep"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere" / "deep")
    tasks = "\n  tasks: {names: [boolq], data_dir: ../bench}\n"
    path = write_study(tmp_path / "studies", STUDY.rstrip("\n") + tasks)
    specs = [
        load_study(path, data_root=tmp_path / root)
        for root in ("data", "studies/../data", "link/../../data")
    ]
    assert len({spec.data_root for spec in specs}) == 1
    folders = {
        asked_folder(spec.evaluation, expand(spec).nodes["single/text"].config) for spec in specs
    }
    assert len(folders) == 1
    assert specs[0].evaluation.tasks is not None
    assert specs[0].evaluation.tasks.data_dir == tmp_path / "bench"
    assert load_study(path, data_root=tmp_path / "link").data_root == tmp_path / "link"


def test_what_is_no_path_stays_as_it_is(tmp_path: Path) -> None:
    text = STUDY.replace(
        'code: {train: "{data}/code_train"', 'code: {packing: best_fit, train: "a"'
    )
    spec = load_study(write_study(tmp_path, text), data_root=tmp_path / "d")
    source = expand(spec).nodes["single/text"].config.data.sources["code"]
    assert (source.packing, source.train) == ("best_fit", tmp_path / "a")


def test_defaults_extend_a_file_relative_to_the_study(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models/base.yaml").write_text(
        "optimizer: {kind: adamw, weight_decay: 0.5, beta1: 0.8}\n"
        "origin: {optimizer.beta1: 'paper 2.3'}\n"
    )
    (tmp_path / "study").mkdir()
    text = STUDY.replace("defaults:\n", "defaults:\n  extends: ../models/base.yaml\n")
    spec = load_study(write_study(tmp_path / "study", text))
    optimizer = expand(spec).nodes["single/text"].config.optimizer
    assert (optimizer.beta1, optimizer.weight_decay) == (0.8, 0.1)
    assert spec.origin == {"defaults.optimizer.beta1": "paper 2.3"}


BAD_STUDIES = {
    "unknown key": ("variants:", "varaints:", ["study.yaml:", "varaints", "'variants'"]),
    "unknown parent": ("{phase: balanced,", "{phase: balancd,", ["no phase 'balancd'", "balanced"]),
    "cycle": ("  balanced:\n", "  balanced:\n    init_from: {phase: cooldown, load: weights}\n",
              ["a cycle of init_from", "cooldown"]),
    "unknown variant phase": ("mixed: balanced-then-text", "mixed: balanced-thentext",
                              ["variants.mixed", "'balanced-then-text'"]),
    "missing baseline": ("baseline: text-only", "baseline: txt-only",
                         ["compare.baseline", "'text-only'"]),
    "twins": ("  text: {}\n", "  text: {}\n  again: {}\n",
              ["phases.again", "exactly what phase 'text' trains"]),
    "no load": ("{phase: balanced, load: weights}", "{phase: balanced}",
                ["init_from.load", "missing"]),
    "unknown field in set": ("train.train_tokens: 200M", "train.train_token: 200M",
                             ["phase cooldown", "train.train_token", "'train_tokens'"]),
    "weights that do not sum": ("{text: 0.75, code: 0.25}", "{text: 0.75, code: 0.5}",
                                ["study.yaml:26: phase balanced-then-text: ", "sum to 1.25"]),
    "unknown source": ("{text: 0.5, code: 0.5}", "{text: 0.5, cod: 0.5}",
                       ["study.yaml:23: phase balanced: data.mixture.weights.cod", "code"]),
    "shapes that differ along an edge": (
        "set: {data.mixture.weights: {text: 0.75, code: 0.25}}",
        "set: {model.hidden_size: 32, data.mixture.weights: {text: 0.75, code: 0.25}}",
        ["study.yaml:26: phase balanced-then-text: model.hidden_size: 32, but parent 'balanced' "
         "has 16",
         "study.yaml:5: phase cooldown: model.hidden_size: 16, but parent 'balanced-then-text' "
         "has 32"]),
    "samples that differ along an edge": (
        "set: {data.mixture.weights: {text: 0.75, code: 0.25}}",
        "set: {data.sequence_length: 32, data.mixture.weights: {text: 0.75, code: 0.25}}",
        ["study.yaml:26: phase balanced-then-text: data.sequence_length: source 'code' is read in "
         "windows of 32 tokens, and phase 'balanced' reads it in windows of 16 tokens",
         "study.yaml:9: phase cooldown: data.sequence_length: source 'text' is read in windows of "
         "16 tokens, and phase 'balanced-then-text' reads it in windows of 32 tokens",
         "set data.restart=true"]),
    "cells that train the same": (
        "phases:\n",
        "matrix: {size: [small, tiny, wide]}\n"
        "axes: {size: {small: {}, tiny: {}, wide: {model.ffn_hidden_size: 64}}}\nphases:\n",
        ["study.yaml:20: matrix: cell 'tiny' is exactly cell 'small';"]),
    "another optimizer's state": (
        "schedule: {kind: linear, start_lr: 1e-4, final_lr: 1e-6}",
        "schedule: {kind: linear, start_lr: 1e-4, final_lr: 1e-6}\n"
        "      layout: {tensor: 1, distributed_optimizer: false, microbatch_sequences: 2}\n"
        "      optimizer: {kind: muon, weight_decay: 0.1}",
        ["study.yaml:33: phase cooldown: optimizer.kind: muon, but the state of parent "
         "'balanced-then-text' is adamw's; set init_from.load=weights"]),
    "layout does not divide": ("world_size: 2", "world_size: 3",
                               ["study.yaml:18: every phase: layout: "]),
    "warmup is a word": ("warmup_tokens: 64M", "warmup_tokens: soon",
                         ["study.yaml:16: phases text, balanced, balanced-then-text: ", "soon"]),
    "init_from in defaults": ("  precision:", "  init_from: {run: x, load: weights}\n  precision:",
                              ["init_from belongs beside"]),
    "matrix axis of nowhere": ("phases:\n", "matrix: {size: [small]}\nphases:\n",
                               ["matrix.size", "train.seed"]),
    "axis value without settings": (
        "phases:\n",
        "matrix: {size: [sml]}\naxes: {size: {small: {model.num_layers: 4}}}\nphases:\n",
        ["no value 'sml'", "'small'"]),
    "bad origin": ("phases:\n", "origin: {world_size: guessed}\nphases:\n",
                   ["origin: world_size", "expected 'paper SECTION'"]),
    "origin of nothing": ("phases:\n", "origin: {word_size: inferred}\nphases:\n",
                          ["sets no such field", "'world_size'"]),
    "name with a slash": ("name: small", "name: a/b", ["name", "'a/b'"]),
    "bytes that are none": ("1KiB", "1Kib/s", ["max_bytes_per_source", "1Kib/s"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_STUDIES)
def test_bad_studies_are_refused_with_place_and_remedy(case: str, tmp_path: Path) -> None:
    old, new, words = BAD_STUDIES[case]
    assert old in STUDY
    with pytest.raises(ConfigError) as caught:
        expand(load_study(write_study(tmp_path, STUDY.replace(old, new, 1))))
    message = str(caught.value)
    for word in words:
        assert word in message
    assert "Traceback" not in message


def test_all_problems_are_reported_together(tmp_path: Path) -> None:
    text = STUDY.replace("baseline: text-only", "baseline: nothing")
    text = text.replace("cooled: cooldown", "cooled: coldown")
    text = text.replace("{phase: balanced,", "{phase: nobody,")
    with pytest.raises(ConfigError) as caught:
        expand(load_study(write_study(tmp_path, text)))
    assert len(caught.value.problems) == 3


def test_a_run_configuration_is_not_a_study() -> None:
    with pytest.raises(ConfigError, match="is a run configuration, and a study is wanted"):
        load_study(QUICKSTART.parent / "train.yaml")


def test_every_value_of_the_quickstart_says_where_it_is_from() -> None:
    spec = load_study(QUICKSTART)
    dump = {
        "token_scale": None,
        "world_size": None,
        "defaults": spec.defaults,
        "phases": {name: {"set": phase.set} for name, phase in spec.phases.items()},
        "evaluation": None,
    }
    unknown = [
        leaf
        for leaf in leaf_paths(dump)
        if not any(leaf == path or leaf.startswith(f"{path}.") for path in spec.origin)
        and not leaf.startswith("defaults.model.")  # the model's file is checked on its own
        and not leaf.endswith(".set")
    ]
    assert unknown == []


def test_the_quickstart_has_the_budgets_of_the_paper() -> None:
    tree = expand(load_study(QUICKSTART))
    tokens = {node.name: node.config.train.train_tokens for node in tree.nodes.values()}
    assert tokens == {
        "text-only": 800_000,
        "balanced-only": 800_000,
        "balanced-init": 400_000,
        "code-init": 400_000,
        "balanced-then-text": 400_000,
        "code-then-text": 400_000,
        "balanced-cooldown": 80_000,
    }
    chains = {name: [n.name for n in tree.variant("single", name)] for name in tree.spec.variants}
    assert chains == {
        "text-only": ["text-only"],
        "balanced-only": ["balanced-only"],
        "balanced->text": ["balanced-init", "balanced-then-text"],
        "code->text": ["code-init", "code-then-text"],
        "balanced->text + cooldown": ["balanced-init", "balanced-then-text", "balanced-cooldown"],
    }
    mixtures = {n.name: dict(n.config.data.mixture.weights) for n in tree.nodes.values()}
    assert mixtures["code-init"] == {"code": 0.8, "markup": 0.2}
    assert mixtures["code-then-text"] == {"text": 0.9, "code": 0.1}
    assert mixtures["balanced-cooldown"] == {"text": 0.8, "code": 0.2}


def test_wrong_names_do_not_hide_wrong_values(tmp_path: Path) -> None:
    text = STUDY.replace("{phase: balanced,", "{phase: nobody,").replace(
        "peak_lr: 1e-3", "peak_lr: fast"
    )
    text = text.replace("seed: 1", "seed: one").replace("kind: fp32", "kind: fp12")
    with pytest.raises(ConfigError) as caught:
        expand(load_study(write_study(tmp_path, text)))
    message = str(caught.value)
    place = "study.yaml:25: phases.balanced-then-text.init_from.phase"
    for words in (f"{place}: no phase 'nobody'", "'fast'", "'one'", "'fp12'"):
        assert words in message


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("mixed: balanced-then-text", "mixed: nobody", "variants.mixed: no phase"),
        ("baseline: text-only", "baseline: nobody", "compare.baseline: no variant"),
        ("phases:\n", "matrix: {size: [small]}\nphases:\n", "matrix.size: neither"),
        ("  text: {}\n", "  text: {}\n  again: {}\n", "phases.again: trains exactly"),
    ],
)
def test_wrong_names_are_placed_in_the_file(old: str, new: str, place: str, tmp_path: Path) -> None:
    text = STUDY.replace(old, new, 1)
    word = new.strip().splitlines()[-1 if "again" in new else 0].strip()
    line = 1 + next(n for n, content in enumerate(text.splitlines()) if word in content)
    with pytest.raises(ConfigError) as caught:
        expand(load_study(write_study(tmp_path, text)))
    assert f"study.yaml:{line}: {place}" in str(caught.value)


def test_a_phase_that_begins_anew_may_cut_its_sources_anew(tmp_path: Path) -> None:
    """Its children go on with its samples, whatever its parents had."""
    old = "set: {data.mixture.weights: {text: 0.75, code: 0.25}}"
    new = "{data.restart: true, data.sequence_length: 32, train.global_batch_sequences: 2}"
    text = STUDY.replace(old, f"set: {new}").replace(
        "train.train_tokens: 200M",
        "train.train_tokens: 200M\n      data.sequence_length: 32\n"
        "      train.global_batch_sequences: 2",
    )
    tree = expand(load_study(write_study(tmp_path, text)))
    assert tree.nodes["single/cooldown"].config.data.sequence_length == 32


def test_phases_that_only_the_scale_makes_equal_blame_the_scale() -> None:
    with pytest.raises(ConfigError) as caught:
        expand(load_study(QUICKSTART, scale=Decimal("1e-9")))
    assert caught.value.problems
    for problem in caught.value.problems:
        assert "the scale is too small" in problem
        assert "remove it" not in problem
