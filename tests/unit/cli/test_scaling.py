"""`codemix scaling`: what it writes, and what it refuses in one readable block."""

import json
import shlex
from pathlib import Path

import pytest

from megatron_codemix.cli.main import main
from megatron_codemix.errors import EXIT_DONE, EXIT_INPUT
from megatron_codemix.files import write_json
from megatron_codemix.scaling.fits import FitRequest, fit_runs
from tests.helpers.ladder_runs import ladder_table
from tests.unit.scaling.test_simulated_mixture import made_up


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "runs.csv"
    ladder_table().frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def fits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each law: of all mixtures together, and of each by itself."""
    folder = tmp_path_factory.mktemp("fits")
    for law in ("mixture-and-scale", "chinchilla"):
        found = fit_runs(ladder_table(), FitRequest(law=law, bootstraps=20))
        write_json(folder / law / "fit.json", found.as_dict())
    return folder


def scaling(*arguments: str | Path) -> int:
    return main(["scaling", *map(str, arguments)])


def test_runs_that_the_rule_leaves_out_are_told_and_can_be_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = ladder_table(seeds=2).where_equal("share.code", 0.25).frame
    losses = ["loss_nats.code", "loss_nats.text"]
    frame.loc[frame["parameters_total"] > frame["parameters_total"].min(), losses] *= 2
    frame.to_csv(tmp_path / "runs.csv", index=False)
    asked = ("fit", tmp_path / "runs.csv", "--law", "chinchilla", "--bootstraps", "5")
    assert scaling(*asked) == EXIT_INPUT
    error = capsys.readouterr().err
    assert "32 runs left out (code25/2e+07-1e+09-0: diverged: its loss_nats.code of" in error
    assert "--keep-diverged keeps those" in error
    assert scaling(*asked, "--keep-diverged", "--json") == EXIT_DONE
    record = json.loads(capsys.readouterr().out)
    assert [fit["runs"] for fit in record["fits"]] == [40, 40]
    assert record["excluded"] == []


def test_a_fit_is_written_drawn_and_asked(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "fit"
    assert scaling("fit", runs, "--bootstraps", "20", "--out", out, "--json") == EXIT_DONE
    record = json.loads(capsys.readouterr().out)
    assert [fit["target_column"] for fit in record["fits"]] == ["loss_nats.code", "loss_nats.text"]
    names = ("loss_against_compute", "isoflop", "held_out", "best_share")
    drawn = {f"{name}.{suffix}" for name in names for suffix in ("png", "svg")}
    assert {path.name for path in out.iterdir()} == {"fit.json", *drawn}
    assert (out / "isoflop.png").read_bytes().startswith(b"\x89PNG")
    assert record["best_share_against_compute"][0]["source"] == "code"
    asked = ("--parameters", "1B", "--tokens", "20B", "--share", "code=0.25", "--json")
    assert scaling("predict", out, *asked) == EXIT_DONE
    [code, text] = json.loads(capsys.readouterr().out)["predictions"]
    assert code["low"] < code["value"] < code["high"]
    assert any("times the largest" in warning for warning in text["warnings"])
    model = ("--model", "examples/models/1b.yaml", "--tokens", "20B")
    assert scaling("predict", out, *model, "--share", "text=1") == EXIT_DONE
    assert "loss_nats.text: " in capsys.readouterr().out
    mixture = ("--parameters", "1B", "--tokens", "20B", "--at-most", "code=0.2", "--json")
    assert scaling("best-mixture", out, *mixture) == EXIT_DONE
    best = json.loads(capsys.readouterr().out)
    assert best["best"]["shares"]["code"] == pytest.approx(0.2)
    assert best["share_intervals"]["code"] == pytest.approx([0.2, 0.2])
    assert any("times the largest" in warning for warning in best["warnings"])
    assert scaling("best-mixture", out, *mixture[:4], "--weight", "code=1") == EXIT_DONE
    told = capsys.readouterr().out
    for words in ("code 100.0% (", "weight 1\n", "weight 0\n", "warning: share_code of 1 goes"):
        assert words in told


def test_figures_are_the_same_bytes_again(runs: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        arguments = ("--bootstraps", "5", "--target", "code", "--out", tmp_path / name)
        assert scaling("fit", runs, *arguments) == EXIT_DONE
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_a_fit_replaces_an_earlier_fit_and_nothing_else(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "fit"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    quick = ("fit", runs, "--bootstraps", "2", "--out", out)
    assert scaling(*quick) == EXIT_DONE
    assert (out / "best_share.png").exists()
    assert scaling(*quick, "--target", "text") == EXIT_DONE  # one source: no best share
    drawn = {path.name for path in out.iterdir()} - {"notes.txt", "fit.json"}
    assert drawn == set(json.loads((out / "fit.json").read_text())["figures"])
    assert "best_share.png" not in drawn
    for name in ("best_share.png", "fit.json"):
        (out / name).write_text('{"mine": 1}')
        before = {path: path.read_bytes() for path in out.iterdir()}
        capsys.readouterr()
        for more in ([], ["--dry-run"]):
            assert scaling(*quick, *more) == EXIT_INPUT
            err = capsys.readouterr().err
            assert f"error: --out: {out / name}: of no fit" in err
            assert all(line.startswith("error: ") for line in err.splitlines())
        assert {path: path.read_bytes() for path in out.iterdir()} == before
    assert scaling("fit", runs, "--out", out / "notes.txt") == EXIT_INPUT
    assert "notes.txt: is a file" in capsys.readouterr().err


def test_a_regression_on_mixtures_gives_the_best_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mixtures.csv"
    made_up().assign(set="small").to_csv(path, index=False)
    asked = ("regmix", path, "--target", "text", "--regression", "ridge", "--where", "set=small")
    assert scaling(*asked, "--json") == EXIT_DONE
    found = json.loads(capsys.readouterr().out)
    assert found["runs"] == len(made_up())
    assert found["shares"]["text"] > 0.95
    assert scaling(*asked) == EXIT_DONE
    printed = capsys.readouterr().out
    assert "left out are ranked with a Spearman correlation of 0.9" in printed
    assert scaling(*asked, "--prior", "text=much") == EXIT_INPUT
    assert "--prior text=much: expected a number" in capsys.readouterr().err


def test_people_read_what_programs_do(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert scaling("fit", runs, "--bootstraps", "20") == EXIT_DONE
    out = capsys.readouterr().out
    for words in ("90% interval", "largest size left out (12 of the runs)", "next run for"):
        assert out.count(words) >= 2
    assert "best share of code for losses weighted code 0.5, text 0.5" in out


def test_decisions_and_laws_are_told(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--parameters", "1B", "--tokens", "20B", "--bootstraps", "20", "--target", "text")
    assert scaling("decide", runs, *arguments) == EXIT_DONE
    out = capsys.readouterr().out
    assert "share.code 0, share.text 1 wins" in out
    accuracies = [line for line in out.splitlines() if "decisions at" in line]
    assert len({line.partition(": ")[2] for line in accuracies}) == len(accuracies) == 1
    assert "19 scales from 10M parameters, 1B tokens to 160M, 4B: 100.0% of 3" in accuracies[0]
    assert scaling("laws", "--json") == EXIT_DONE
    known = {law["name"]: law for law in json.loads(capsys.readouterr().out)}
    assert {"chinchilla", "mixture-and-scale", "overtraining"} <= set(known)
    assert all(law["source"] and law["parameters"] for law in known.values())


def test_weights_become_a_mixture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "doremi.json"
    path.write_text(json.dumps({"train_domain_weights": {"Github": 0.2, "Pile-CC": 0.8}}))
    arguments = ("--source", "code", "--source", "pile_cc", "--map", "Github=code", "--json")
    assert scaling("weights", path, *arguments) == EXIT_DONE
    mixture = json.loads(capsys.readouterr().out)["data"]["mixture"]
    assert mixture["weights"] == {"code": 0.2, "pile_cc": 0.8}


def test_a_ladder_is_a_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ladder.yaml"
    assert scaling("ladder", "--tiny", "--out", path, "--dry-run") == EXIT_DONE
    assert not path.exists()
    capsys.readouterr()
    assert scaling("ladder", "--tiny", "--out", path, "--json") == EXIT_DONE
    record = json.loads(capsys.readouterr().out)
    assert record["points"] == 60
    assert len(record["sizes"]) == 5
    assert main(["study", "check", str(path)]) == EXIT_DONE
    assert "75 phases" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fit", "{tmp}/nowhere.csv"], "there is no such file"),
        (["fit", "{tmp}"], "no runs here"),
        (["fit", "{runs}", "--law", "chinchila"], "did you mean 'chinchilla'"),
        (["fit", "{runs}", "--parameters", "all"], "total or without_embedding"),
        (["fit", "{runs}", "--where", "share.code"], "expected COLUMN=VALUE"),
        (["fit", "{runs}", "--at-tokens", "1B"], "go together"),
        (["fit", "{runs}", "--share", "code=0.5"], "--share is of a target"),
        (
            ["fit", "{runs}", "--at-tokens", "1B", "--at-parameters", "1B"]
            + 2 * ["--share", "code=0.5"],
            "is given too",
        ),
        (["fit", "{runs}", "--target", "markup"], "no column loss_nats.markup"),
        (["predict", "{tmp}/fit.json", "--tokens", "1B"], "no such file"),
        (["predict", "{tmp}", "--tokens", "many"], "no such file"),
        (["decide", "{runs}", "--parameters", "1B"], "give --tokens"),
        (["decide", "{runs}", "--noise-nats", "nan"], "--noise-nats nan: must be a finite number"),
        (["decide", "{runs}", "--noise-nats", "inf"], "--noise-nats inf: must be a finite number"),
        (["decide", "{runs}", "--noise-nats", "-1"], "0 or above"),
        (["ladder", "--tokens", "0"], "must be above 0"),
        (["ladder", "--shares", "a,b"], "expected numbers"),
        (["ladder", "--compute", "1e-9"], "allow more"),
        (["ladder", "nowhere.yaml"], "nowhere.yaml"),
        (["ladder", "examples/models/7b.yaml", "--tiny"], "give one of the two"),
        (["ladder", "--multiples", "1,1"], "--multiples 1, 1: must be above 0, each once"),
        (["ladder", "--budgets", "5B,5B"], "--budgets 5e+09, 5e+09: must be above 0, each once"),
        (["ladder", "--tiny", "--out", "{tmp}"], "{tmp}: is a folder"),
        (["ladder", "--tiny", "--out", "/proc/new.yaml"], "/proc/new.yaml: No such file"),
        (["weights", "{tmp}/x.json", "--source", "code"], "there is no such file"),
    ],
)
def test_wrong_input_is_one_readable_block(
    arguments: list[str],
    words: str,
    runs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    filled = [text.format(tmp=tmp_path, runs=runs) for text in arguments]
    assert scaling(*filled) == EXIT_INPUT
    err = capsys.readouterr().err
    assert words.format(tmp=tmp_path) in err
    assert all(line.startswith("error: ") for line in err.splitlines())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["predict", "--share", "code=0.25", "--share", "code=0.5"],
            "--share code=0.5: --share code=0.25 is given too",
        ),
        (["predict", "--input", "unique_tokens=1", "--input", "unique_tokens=2"], "is given too"),
        (["predict", "--share", "code=nan"], "a share is a number from 0 to 1"),
        (["predict", "--share", "code=half"], "a share is a number from 0 to 1"),
        (["predict", "--share", "code=-0.5"], "a share is a number from 0 to 1"),
        (["predict", "--input", "unique_tokens=inf"], "expected a finite number"),
        (["best-mixture", "--weight", "code=1", "--weight", "code=3"], "is given too"),
        (["best-mixture", "--weight", "code=inf"], "expected a finite number"),
        (["best-mixture", "--weight", "code=-1"], "not negative"),
        (["best-mixture", "--weight", "code=0"], "no evaluation has a weight above 0"),
        (["best-mixture", "--at-most", "code=2"], "a share is a number from 0 to 1"),
    ],
)
def test_options_that_say_nothing_sensible_are_refused(
    arguments: list[str], words: str, fits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command, *options = arguments
    target = ("--parameters", "1B", "--tokens", "20B")
    assert scaling(command, fits / "mixture-and-scale", *target, *options) == EXIT_INPUT
    err = capsys.readouterr().err
    assert words in err
    assert all(line.startswith("error: ") for line in err.splitlines())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--tiny", "--sizes", "3"], "no effect: the tiny ladder has its own"),
        (["--tiny", "--tokens", "5B"], "no effect: the tiny ladder has its own"),
        (["--multiples", "1,2", "--budgets", "5B"], "no effect: --budgets says"),
        (["--rate-factor", "2", "--learning-rate", "0.01"], "no effect: --learning-rate is"),
        (["--tiny", "--dry-run"], "no effect: it goes with --out"),
    ],
)
def test_options_of_a_ladder_without_effect_are_refused(
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert scaling("ladder", *arguments) == EXIT_INPUT
    assert words in capsys.readouterr().err


def test_a_ladder_replaces_no_other_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "keep.yaml"
    path.write_text("mine: 1\n")
    for more in ([], ["--dry-run"]):
        assert scaling("ladder", "--tiny", "--out", path, *more) == EXIT_INPUT
        assert f"{path}: exists, and would be lost" in capsys.readouterr().err
        assert path.read_text() == "mine: 1\n"
    path.unlink()
    for _ in range(2):
        assert scaling("ladder", "--tiny", "--out", path) == EXIT_DONE
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_budgets_far_below_the_optimum_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    large = ("ladder", "examples/models/7b.yaml", "--tokens", "1.4T")
    assert scaling(*large, "--budgets", "1B,2B", "--json") == EXIT_DONE
    record = json.loads(capsys.readouterr().out)
    [warning] = record["warnings"]
    largest = record["sizes"][-1]
    ratio = largest["budgets"][0]["tokens"] / largest["parameters_total"]
    assert ratio < 1
    assert warning.startswith("10 of 10 runs of each mixture have fewer than 5 tokens a parameter")
    assert f"{largest['name']} on 1B" in warning
    assert scaling(*large, "--json") == EXIT_DONE
    assert json.loads(capsys.readouterr().out)["warnings"] == []


def test_each_problem_of_a_fit_is_a_line(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = runs.read_text(encoding="utf-8").splitlines(keepends=True)
    few = tmp_path / "few.csv"
    few.write_text("".join(rows[:3]))
    assert scaling("fit", few, "--own", "code", "--law", "mixture-and-scale") == EXIT_INPUT
    assert scaling("fit", runs, "--target", "a", "--target", "b") == EXIT_INPUT
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 3
    assert all(line.startswith("error: ") for line in lines)


def test_the_runs_left_out_are_told_as_means(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one_mixture = ("--target", "text", "--where", "share.code=0.25", "--bootstraps", "2")
    assert scaling("fit", runs, "--target", "text", "--bootstraps", "2") == EXIT_DONE
    assert "largest left out (3 runs at " in (told := capsys.readouterr().out)
    assert ": mean measured " in told
    assert "; largest error of a run " in told
    assert scaling("fit", runs, "--law", "chinchilla", *one_mixture) == EXIT_DONE
    assert "FLOPs): measured " in (told := capsys.readouterr().out)
    assert "; error " in told


@pytest.mark.parametrize("is_tiny", [True, False])
def test_the_examples_are_what_their_first_lines_make(is_tiny: bool, tmp_path: Path) -> None:
    name = "tiny_ladder" if is_tiny else "ladder_2_8b"
    text = (Path("examples/scaling_law") / f"{name}.yaml").read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if "codemix scaling ladder" in line)
    command = shlex.split(line.removeprefix("#"))
    again = tmp_path / "again.yaml"
    arguments = [str(again) if word.endswith(f"{name}.yaml") else word for word in command[1:]]
    assert main(arguments) == EXIT_DONE

    def content(words: str) -> str:
        return words.partition("\n# Each size")[2]

    assert content(again.read_text(encoding="utf-8")) == content(text)
