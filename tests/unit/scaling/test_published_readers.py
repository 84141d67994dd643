"""Damaged folders of published runs: one error that names the file."""

import json
import shutil
from pathlib import Path

import pytest

from megatron_codemix.errors import DataError
from megatron_codemix.scaling.readers import doremi, olmo_ladder, overtraining, regmix
from megatron_codemix.scaling.readers.detect import read_runs
from tests.helpers.scaling_runs import published_runs

OLMO_COLUMNS = "step,throughput/total_tokens,eval/c4_en-validation/CrossEntropyLoss"


def refusal(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_runs(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def olmo_folder(folder: Path) -> Path:
    """The 1xC and 2xC runs of two sizes; two lines in each log."""
    for size in ("190M", "370M"):
        for times in (1, 2):
            tokens = 20 * times * olmo_ladder.SIZES[size]
            lines = [OLMO_COLUMNS, f"1,{tokens / 2},4.0", f"2,{tokens},3.{times}"]
            (folder / f"{size}-{times}xC.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_logs_of_the_ladder_that_are_not_there_are_listed(tmp_path: Path) -> None:
    table = read_runs(olmo_folder(tmp_path))
    assert len(table) == 4
    assert len(table.excluded) == 12
    assert (table.excluded[0].name, table.excluded[0].reason) == (
        "190M-5xC",
        "there is no log of it",
    )


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (OLMO_COLUMNS[:30], "not a log of the OLMo ladder|the log is cut off"),
        (OLMO_COLUMNS, "the log is cut off; fetch the file again"),
        (f"{OLMO_COLUMNS}\n1,3e9,4.0", "ends at 3e[+]09 tokens; the log is cut off"),
        (f"{OLMO_COLUMNS}\n1,3e9,4.0\n2,7e", "line 3 has 2 cells, and the header has 3"),
        ("", "the file is empty"),
    ],
)
def test_a_log_that_is_cut_off_is_named(tmp_path: Path, lines: str, words: str) -> None:
    file = olmo_folder(tmp_path) / "370M-1xC.csv"
    file.write_text(lines)
    with pytest.raises(DataError, match=f"^{file}: ({words})"):
        read_runs(tmp_path)


@pytest.mark.parametrize("content", [b"", b'{"train_domain_wei', b"\xff\xfe{", b"[" * 100_000])
def test_a_damaged_file_of_doremi_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "weights.json"
    file.write_bytes(content)
    with pytest.raises(DataError, match=f"^{file}: not a JSON file"):
        doremi.read_domain_weights(file)


def test_a_model_or_its_scores_cut_off_is_named(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "evals").mkdir()
    model = tmp_path / "models" / "c4_original-d=96.json"
    asked = {"model": "m.json", "params": 10**7, "params_no_embed": 10**6, "tokens": 10**8}
    record = {"name": "m", "dataset_name": "c4", "hyperparameters": asked, "results": []}
    text = json.dumps(record)
    model.write_text(text[:40])
    assert refusal(tmp_path).startswith(f"{model}: damaged (")
    model.write_text(text)
    scores = tmp_path / "evals" / f"evaluation_{model.stem}_heavy.json"
    scores.write_text('{"eval_metrics": {"icl"')
    assert refusal(tmp_path).startswith(f"{scores}: damaged (")
    scores.write_text('{"eval_metrics": {"icl": {"boolq": 0.5}}}')
    assert refusal(tmp_path).startswith(f"{scores}: not the scores of a model")


@pytest.mark.parametrize(
    ("mixture", "loss", "words"),
    [
        ("index,train_the_pile_github\n1,1.0\n2", None, "line 3 has 1 cells, and the header has 2"),
        ("index,train_the_pile_github\n1,x\n", None, "line 2: train_the_pile_github: not a num"),
        ("", None, "the file is empty"),
        ("number,train_the_pile_github\n1,1.0\n", None, "there is no column index"),
        ("index,train_the_pile_github\n1,1\n1,1\n", None, "the column index must give each run"),
        ("index,github\n1,1.0\n", None, "column 'github' is not named as RegMix names it"),
        (None, "index,metric/the_pile_github_val_loss\n1,2.0\n", "are not about the same runs"),
        (None, "index,metric/the_pile_github_val_loss\n1,2.0\n2,", None),
    ],
)
def test_a_damaged_file_of_regmix_is_named(
    tmp_path: Path, mixture: str | None, loss: str | None, words: str | None
) -> None:
    good = "index,train_the_pile_github\n1,1.0\n2,1.0\n"
    good_loss = "index,metric/the_pile_github_val_loss\n1,2.0\n2,2.5\n"
    (tmp_path / "train_mixture_1m.csv").write_text(good if mixture is None else mixture)
    (tmp_path / "train_pile_loss_1m.csv").write_text(good_loss if loss is None else loss)
    if words is None:  # a cell that is empty is a run without that loss
        [gone] = read_runs(tmp_path).usable_for("loss_nats.github").excluded
        assert gone.name == "train_1m_2"
        return
    assert words in refusal(tmp_path)
    (tmp_path / "train_pile_loss_1m.csv").unlink()
    with pytest.raises(DataError):
        regmix.read(tmp_path)


def test_a_published_file_cut_at_a_thousand_bytes_is_named(tmp_path: Path) -> None:
    for reader, name, cut in (
        (olmo_ladder, "olmo_ladder", "1B-10xC.csv"),
        (overtraining, "overtraining", "models/c4_original-d=1024_l=24_h=8-0.5.json"),
        (regmix, "regmix", "train_pile_loss_1m.csv"),
    ):
        folder = tmp_path / name
        shutil.copytree(published_runs(name), folder, copy_function=shutil.copyfile)
        file = folder / cut
        file.parent.chmod(0o755)
        content = file.read_bytes()[:1000]
        file.unlink()
        file.write_bytes(content)
        with pytest.raises(DataError, match=file.name):
            reader.read(folder)
