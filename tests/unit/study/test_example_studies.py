"""The study files of the package against the numbers of the papers that they follow, written here
as the papers have them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from megatron_codemix.cli.main import main
from megatron_codemix.config.tree import read_yaml
from megatron_codemix.errors import EXIT_DONE
from megatron_codemix.study.extending import is_covered, leaf_paths
from megatron_codemix.study.loader import load_study
from megatron_codemix.study.outlook import repetition_warnings, rounding_warnings
from megatron_codemix.study.tree import expand
from megatron_codemix.study.twins import structural_identities
from tests.helpers.example_studies import (
    FLAT,
    FRAGMENTS,
    SIZED,
    STUDIES,
    billions,
    outlooks,
    planned,
)
from tests.helpers.model_files import load_model

STEP_TOKENS = 512 * 8192
"""Of the first paper: a batch of 512, sequences of 8192."""
STEPS = {40: 9537, 50: 11_921, 132: 31_471, 200: 47_684, 350: 83_447, 400: 95_367}
"""Billions of tokens -> whole steps of these."""
FULL_RECIPES = {
    "text-only": [(400, 0)],
    "text-only + cooldown": [(400, 0), (32, 8)],
    "balanced-only": [(200, 200)],
    "balanced-only + cooldown": [(200, 200), (32, 8)],
    "balanced": [(100, 100)],
    "balanced->text": [(100, 100), (180, 20)],
    "balanced->text + cooldown": [(100, 100), (180, 20), (32, 8)],
    "code": [(0, 200)],
    "code->text": [(0, 200), (180, 20)],
    "code->text + cooldown": [(0, 200), (180, 20), (32, 8)],
}
"""Table 2 of arXiv 2408.10914: variant -> billions of tokens (text, code) of each phase."""
TABLE_5 = {
    "uniform": [(5, 3), (5, 3), (5, 3), (5, 3)],
    "increase": [(7, 3), (7, 3), (6, 4), (5, 5)],
    "decrease": [(5, 5), (6, 4), (7, 3), (7, 3)],
}
"""Of arXiv 2309.16298: text : code in the four stages."""


def chain_billions(name: str, variant: str, cell: str = "single") -> list[tuple[float, float]]:
    """(text, all else) of each phase of a variant, in billions of tokens."""
    found = []
    for node in planned(name).variant(cell, variant):
        tokens = billions(outlooks(name)[node.key])
        text = tokens.pop("text", 0.0)
        found.append((text, sum(tokens.values())))
    return found


def test_no_file_is_forgotten() -> None:
    assert set(FLAT) == {
        *("initialization", "proportion", "proportion_tenths", "quality", "cooldown", "scale"),
        *("recommended", "training_stage", "dynamic_mixing", "scale_10b", "synthetic_share"),
        *("cooldown_schedule", "synthetic_methods", "persistence", "competitive_additive"),
        "ladder",
    }
    papers = ("initialization", "proportion", "quality", "cooldown", "scale", "recommended",
              "training_stage", "dynamic_mixing")  # fmt: skip
    for size in ("tiny", "20m", "150m"):
        assert {f"{size}/{name}" for name in papers} <= set(SIZED)


def test_all_files_check(capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(path) for path in STUDIES.values()]
    assert main(["study", "check", *files, "--json"]) == EXIT_DONE
    record = json.loads(capsys.readouterr().out)
    assert (record["ok"], record["problems"]) == (True, [])
    assert [one["file"] for one in record["studies"]] == files
    assert len({one["study"] for one in record["studies"]}) == len(files), "names are folders"
    assert record["trainings"] < record["phases"], "studies share what comes before"
    assert [warning for one in record["studies"] for warning in one["warnings"]] == []


@pytest.mark.parametrize("name", STUDIES)
def test_every_file_plans_without_data(name: str) -> None:
    phases = outlooks(name)
    assert len(phases) == len(planned(name).nodes)
    budgets = {key: (phase.requested_tokens, phase.train_tokens) for key, phase in phases.items()}
    assert not any("too small for whole steps" in text for text in rounding_warnings(budgets))
    for phase in phases.values():
        assert sum(phase.source_tokens.values()) == pytest.approx(phase.train_tokens, abs=3)
        assert phase.final_lr <= phase.peak_lr


@pytest.mark.parametrize("name", [*STUDIES, *FRAGMENTS])
def test_every_value_says_where_it_is_from(name: str) -> None:
    """By an origin in the file that sets it, which is not hidden by a finer one of another file."""
    path = {**STUDIES, **FRAGMENTS}[name]
    problems: list[str] = []
    own = read_yaml(path, problems)
    assert problems == []
    origin = own.pop("origin", {})
    set_here = {leaf for leaf in leaf_paths(own) if _value(own, leaf) is not None}
    set_here -= {"name", "extends", "defaults.extends"}
    covered = {leaf for leaf in set_here for path in origin if is_covered(leaf, path)}
    assert sorted(set_here - covered) == []
    for text in origin.values():
        assert text.startswith("paper") or len(text) > len("inferred: because"), text


@pytest.mark.parametrize("name", STUDIES)
def test_every_value_of_a_whole_study_has_an_origin(name: str) -> None:
    spec = planned(name).spec
    dump = spec.model_dump(exclude={"name", "origin", "data_root"}, exclude_defaults=True)
    dump["defaults"].pop("extends", None)
    dump["phases"] = {
        phase: {key: value for key, value in body.items() if value not in (None, {})}
        for phase, body in dump["phases"].items()
    }
    leaves = {leaf for leaf in leaf_paths(dump) if not leaf.endswith(".phase")}
    unknown = [leaf for leaf in leaves if not any(is_covered(leaf, path) for path in spec.origin)]
    assert unknown == []


def _value(tree: Mapping[str, Any], leaf: str) -> object:
    """The value at a path of `leaf_paths`, whose keys may hold dots."""
    if leaf in tree:
        return tree[leaf]
    for key, value in tree.items():
        if leaf.startswith(f"{key}.") and isinstance(value, Mapping):
            return _value(value, leaf.removeprefix(f"{key}."))
    raise KeyError(leaf)


def test_the_first_papers_step_and_warmup() -> None:
    config = planned("initialization").nodes["single/text-only"].config
    assert config.train.global_batch_sequences * config.data.sequence_length == STEP_TOKENS
    assert config.schedule.kind == "cosine"
    assert config.schedule.warmup_tokens == 1325 * STEP_TOKENS
    assert config.optimizer.kind == "adamw"
    assert config.model == load_model("470m")


PAPER_A = ("initialization", "proportion", "proportion_tenths", "quality", "cooldown", "scale",
           "recommended", "scale_10b", "synthetic_share", "synthetic_methods", "persistence",
           "cooldown_schedule")  # fmt: skip


@pytest.mark.parametrize("name", PAPER_A)
def test_budgets_become_the_nearest_whole_steps(name: str) -> None:
    for phase in outlooks(name).values():
        asked = phase.requested_tokens // 10**9
        assert asked * 10**9 == phase.requested_tokens
        assert phase.num_steps == STEPS[asked]
        assert phase.train_tokens == STEPS[asked] * STEP_TOKENS
        assert abs(phase.train_tokens - phase.requested_tokens) <= STEP_TOKENS / 2


@pytest.mark.parametrize("variant", FULL_RECIPES)
def test_the_recipes_have_the_tokens_of_table_2(variant: str) -> None:
    found = chain_billions("recommended", variant)
    assert len(found) == len(FULL_RECIPES[variant])
    for row, wanted in zip(found, FULL_RECIPES[variant], strict=True):
        assert row == pytest.approx(wanted, abs=STEP_TOKENS / 1e9)


def test_no_recipe_is_left_out() -> None:
    assert set(planned("recommended").spec.variants) == set(FULL_RECIPES)
    four = {"text-only", "balanced-only", "balanced->text", "code->text"}
    assert set(planned("initialization").spec.variants) == four
    assert set(planned("scale").spec.variants) == four
    assert planned("scale").cells == ["470m", "2.8b"]


def test_code_comes_with_a_fifth_of_markup_before_text() -> None:
    assert outlooks("initialization")["single/code"].mixture == {"code": 0.8, "markup": 0.2}


def test_the_proportions_are_those_of_section_3_3() -> None:
    shares = [
        outlooks("proportion")[node.key].mixture.get("code", 0.0)
        for node in planned("proportion").nodes.values()
    ]
    assert shares == [0, 0.25, 0.5, 0.75, 0.9, 1]
    tenths = [phase.mixture.get("code", 0.0) for phase in outlooks("proportion_tenths").values()]
    assert tenths == pytest.approx([number / 10 for number in range(11)])
    assert all(phase.parent is None for phase in outlooks("proportion").values())


def test_kinds_of_code_have_the_shares_of_section_3_4() -> None:
    replaced = {
        "code-and-markup": {"code": 160, "markup": 40},
        "code-and-adjacent": {"code": 170, "adjacent": 30},
        "code-and-synthetic": {"code": 180, "synthetic": 20},
        "synthetic": {"synthetic": 200},
    }
    for phase, wanted in replaced.items():
        found = billions(outlooks("quality")[f"single/{phase}"])
        assert found == pytest.approx(wanted, abs=STEP_TOKENS / 1e9)


def test_epochs_are_those_of_what_the_paper_has() -> None:
    """Of 503B tokens of text, 139B of code, 21.4B of code-adjacent text, 3.2B of synthetic code."""
    quality = outlooks("quality")
    assert quality["single/code-and-synthetic"].epochs["synthetic"] == pytest.approx(6.25, rel=1e-4)
    assert quality["single/code-and-adjacent"].epochs["adjacent"] == pytest.approx(1.402, rel=1e-3)
    assert quality["single/code"].epochs["code"] == pytest.approx(200 / 139, rel=1e-4)
    begun = outlooks("initialization")["single/code"].epochs
    assert begun == pytest.approx({"code": 160 / 139, "markup": 40 / 180}, rel=1e-4)
    text = outlooks("initialization")["single/text-only"].epochs["text"]
    assert text == pytest.approx(400 / 503, rel=1e-4)


def test_synthetic_code_that_repeats_is_warned_of_with_the_number() -> None:
    notes = repetition_warnings(list(outlooks("quality").values()))
    assert [note.split(" by the end")[0] for note in notes] == [
        "code-and-synthetic: synthetic is read 6.25 times",
        "synthetic: synthetic is read 62.50 times",
    ]


def test_cooldowns_fall_from_where_the_cosine_ends() -> None:
    for name in ("cooldown-without-code", "cooldown-with-code"):
        phase = outlooks("cooldown")[f"single/{name}"]
        assert phase.parent_final_lr == phase.first_lr == pytest.approx(1e-4)
        assert phase.final_lr == pytest.approx(1e-6)
        assert phase.requested_tokens == 40 * 10**9
    assert outlooks("cooldown")["single/cooldown-with-code"].mixture == {"code": 0.2, "text": 0.8}
    assert outlooks("cooldown")["single/cooldown-without-code"].mixture == {"text": 1.0}


def test_shapes_of_a_cooldown_begin_and_end_alike() -> None:
    nodes = planned("cooldown_schedule").nodes
    shapes = {name for name in planned("cooldown_schedule").spec.phases if "-" in name}
    shapes -= {"balanced-then-text"}
    assert len(shapes) == 12
    for name in shapes:
        phase = outlooks("cooldown_schedule")[f"single/{name}"]
        assert phase.parent == "balanced-then-text"
        assert phase.parent_final_lr == phase.first_lr == pytest.approx(1e-3)
        assert phase.final_lr == pytest.approx(1e-6)
        assert phase.mixture.get("code", 0.0) == int(name.split("-")[1]) / 100
    kinds = {name: node.config.schedule.kind for name, node in nodes.items()}
    assert {kinds[f"single/{name}"] for name in shapes} == {"linear", "wsd", "cosine", "step"}


MEASURED = {
    "tiny/quality": {
        "code": "8f2e4a9a",
        "code-and-markup": "e5a298ab",
        "code-and-synthetic": "39ef085a",
        "balanced": "7763dc76",
        "balanced-synthetic": "baceb36e",
        "balanced-then-text": "edc732f2",
        "balanced-synthetic-then-text": "df0f41ec",
    },
    "tiny/training_stage": {
        "text": "91e0e97e",
        "text-and-code": "4cf8b1f0",
        "text-then-text": "7739528b",
        "text-then-code": "ca4a8c52",
        "code-then-text": "9a757eac",
        "code-then-code": "e7452ffe",
    },
}
"""Phases of the files that the table of docs/synthetic_code.md was measured with, and of the second
paper's chain, as they were before these studies extended others; with /d in place of the data."""


@pytest.mark.parametrize("name", MEASURED)
def test_what_was_measured_is_what_the_files_train(name: str) -> None:
    tree = expand(load_study(STUDIES[name], data_root=Path("/d")))
    found = structural_identities(tree.nodes)
    assert {phase: found[f"single/{phase}"][:8] for phase in MEASURED[name]} == MEASURED[name]


@pytest.mark.parametrize(
    ("name", "cell", "model"),
    [
        ("scale", "470m", "470m"),
        ("scale", "2.8b", "2_8b"),
        ("synthetic_share", "2.8b", "2_8b"),
        ("20m/scale", "20m", "20m"),
        ("20m/scale", "60m", "60m"),
        ("150m/scale", "150m", "150m"),
        ("150m/scale", "300m", "300m"),
    ],
)
def test_sizes_are_those_of_the_model_files(name: str, cell: str, model: str) -> None:
    nodes = planned(name).nodes.values()
    found = [node.config.model for node in nodes if node.cell == cell]
    assert all(one == load_model(model) for one in found)
    assert found


def test_ten_billion_parameters_have_the_shapes_of_llama_2() -> None:
    for cell, name in (("7b", "7b"), ("13b", "13b")):
        model = planned("scale_10b").nodes[f"{cell}/text-only"].config.model
        llama = load_model(name)
        for field in ("num_layers", "hidden_size", "ffn_hidden_size", "num_attention_heads"):
            assert getattr(model, field) == getattr(llama, field)
        assert model.vocabulary_size == 256_000


def test_the_second_papers_settings() -> None:
    stage = outlooks("training_stage")
    for name in ("text", "text-and-code"):
        phase = stage[f"single/{name}"]
        assert phase.requested_tokens == 42 * 10**9
        assert (phase.peak_lr, phase.final_lr) == pytest.approx((1e-4, 1e-6))
    for name in ("text-then-text", "text-then-code", "code-then-text", "code-then-code"):
        phase = stage[f"single/{name}"]
        assert (phase.peak_lr, phase.final_lr) == pytest.approx((2e-5, 1e-6), rel=1e-2)
        code = phase.mixture.get("code_instructions", 0.0)
        assert code == pytest.approx(0.375 if name.endswith("code") else 0.0, abs=1e-6)
    for node in planned("training_stage").nodes.values():
        config = node.config
        step = config.train.global_batch_sequences * config.data.sequence_length
        assert config.schedule.warmup_tokens == 500 * step
        model = config.model
        assert (model.num_layers, model.hidden_size, model.ffn_hidden_size) == (32, 2560, 10_240)
        assert (model.num_attention_heads, config.data.sequence_length) == (32, 1024)
        assert (config.optimizer.beta1, config.optimizer.beta2) == (0.9, 0.95)
        assert config.data.document_mask
    assert set(planned("training_stage").spec.variants) == {"NN", "NC", "CN", "CC"}


@pytest.mark.parametrize("strategy", TABLE_5)
def test_dynamic_mixing_has_the_ratios_of_table_5(strategy: str) -> None:
    node = planned("dynamic_mixing").nodes[f"single/{strategy}"]
    assert node.mixture is not None
    phase = outlooks("dynamic_mixing")[node.key]
    assert phase.mixture["code_instructions"] == pytest.approx(3 / 8, abs=1e-6)
    shares = [f"code_instructions {code / (text + code):.1%}" for text, code in TABLE_5[strategy]]
    pieces = phase.schedule.split(": ", 1)[1].split(", then ")
    assert len(pieces) == 4
    for piece, share in zip(pieces, shares, strict=True):
        assert piece.startswith(share)


@pytest.mark.parametrize("percent", [10, 20, 30, 40, 50])
def test_competition_keeps_the_tokens_and_addition_keeps_the_text(percent: int) -> None:
    """N_code = m N; and N = N_text / (1 - m) (arXiv 2409.04556)."""
    share = percent / 100
    for seed in range(1, 6):
        found = outlooks("competitive_additive")
        competitive = billions(found[f"seed{seed}/competitive-{percent}"])
        additive = billions(found[f"seed{seed}/additive-{percent}"])
        wanted = {"text": 132 * (1 - share), "code": 132 * share}
        assert competitive == pytest.approx(wanted, abs=STEP_TOKENS / 1e9)
        wanted = {"text": 132, "code": 132 * share / (1 - share)}
        assert additive == pytest.approx(wanted, abs=STEP_TOKENS / 1e9)


def test_text_after_code_is_twice_as_long_as_the_code() -> None:
    for begun in ("text", "balanced", "code"):
        first, short, long = chain_billions("persistence", f"{begun}, 400B text")
        assert sum(first) == pytest.approx(200, abs=STEP_TOKENS / 1e9)
        assert short[0] + long[0] == pytest.approx(400, abs=2 * STEP_TOKENS / 1e9)
        assert short[1] == long[1] == 0
        phase = outlooks("persistence")[f"single/{begun}-400"]
        assert phase.parent_final_lr == phase.first_lr == phase.final_lr == pytest.approx(1e-4)


def test_a_plan_of_both_sizes_has_gpu_hours_beside_the_papers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """4,736 and 13,824 chip-hours for 200B tokens (section 2.3); six phases have 8 times that."""
    study = ["study", "plan", str(STUDIES["scale"]), "--data", str(tmp_path), "--json"]
    assert main(study) == EXIT_DONE
    record = json.loads(capsys.readouterr().out)
    assert len(record["phases"]) == 12
    for phase, cost in zip(record["phases"], record["cost"]["phases"], strict=True):
        assert phase["num_steps"] == STEPS[phase["requested_tokens"] // 10**9]
        assert phase["gpu_hours"] == cost["cost"]["gpu_hours"] > 0
        assert cost["memory"]["fits"], "on 80 GB"
    hours = 8 * (4736 + 13_824)
    assert record["cost"]["paper_chip_hours"] == pytest.approx(hours, rel=1e-4)


@pytest.mark.parametrize("name", [name for name in STUDIES if not name.startswith("tiny/")])
def test_every_phase_fits_the_gpu_that_its_study_names(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", "plan", str(STUDIES[name]), "--data", str(tmp_path), "--json"]) == 0
    cost = json.loads(capsys.readouterr().out)["cost"]
    too_large = [one["phase"] for one in cost["phases"] if not one["memory"]["fits"]]
    assert too_large == []
