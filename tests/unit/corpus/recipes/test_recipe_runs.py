"""A recipe by any number of processes and tasks, after any kill, wherever the data lie."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import fsspec

from megatron_codemix.corpus.recipes.schema import load_recipe
from megatron_codemix.corpus.stages.parts import Share
from tests.helpers.kills import ROOT, contents, killed_again_and_again
from tests.helpers.recipe_data import RECIPES, documents_of, run, write


def test_languages_are_of_folders_or_of_a_field(tmp_path: Path, recipe: Path, stack: Path):
    result = run(load_recipe(recipe, {"stack": str(stack)}), tmp_path / "out")
    found = documents_of(tmp_path / "out")
    assert Counter(one.metadata["language"] for one in found["code"]) == {"python": 9, "C": 4}
    assert Counter(one.metadata["language"] for one in found["markup"]) == {"markdown": 5}
    assert result.record is not None
    assert result.record.stages[-1].dropped["markup"].counts == {"another language": 13}


def test_where_the_data_lie_changes_nothing(tmp_path: Path, recipe: Path, stack: Path):
    run(load_recipe(recipe, {"stack": str(stack)}), tmp_path / "out")
    before = contents(tmp_path / "out")
    shutil.copytree(stack, tmp_path / "elsewhere" / "copy")
    spec = load_recipe(recipe, {"stack": f"{tmp_path}/elsewhere/copy/"})
    assert run(spec, tmp_path / "out").num_made == 0
    assert contents(tmp_path / "out") == before
    run(spec, tmp_path / "anew")
    documents = documents_of(tmp_path / "anew")
    assert documents == documents_of(tmp_path / "out")
    store = fsspec.filesystem("memory")
    store.put(f"{stack}/", "/stack/", recursive=True)
    run(load_recipe(recipe, {"stack": "memory://stack"}), tmp_path / "remote")
    assert documents_of(tmp_path / "remote") == documents
    store.rm("/stack", recursive=True)


READ = """
from pathlib import Path
from megatron_codemix.corpus.recipes.inputs import recipe_inputs
from megatron_codemix.corpus.recipes.schema import load_recipe
from megatron_codemix.corpus.recipes.stage import RecipeStage
from megatron_codemix.corpus.stages.parts import parts_of
from megatron_codemix.corpus.stages.run import run_parts

def run(recipe, stack, out):
    spec = load_recipe(Path(recipe), {"stack": stack})
    run_parts(RecipeStage(spec), parts_of(recipe_inputs(spec), 1), Path(out))
"""


def test_tasks_workers_and_kills_give_the_bytes_of_one_run(
    tmp_path: Path, recipe: Path, stack: Path
):
    spec = load_recipe(recipe, {"stack": str(stack)})
    run(spec, tmp_path / "one")
    expected = contents(tmp_path / "one")
    run(spec, tmp_path / "workers", workers=2)
    assert contents(tmp_path / "workers") == expected
    for number in (2, 0, 1):
        run(spec, tmp_path / "tasks", share=Share(number, 3))
    assert contents(tmp_path / "tasks") == expected
    out = tmp_path / "killed"
    assert killed_again_and_again(READ, (recipe, stack, out), out, [5, 9, 20, 31, 12]) >= 3
    assert contents(out) == expected


def codemix_command(folder: Path) -> Path:
    """A `codemix` for scripts, which look for it in PATH."""
    folder.mkdir()
    path = folder / "codemix"
    path.write_text(
        f'#!/bin/bash\nPYTHONPATH={ROOT} exec {sys.executable} -m megatron_codemix "$@"\n'
    )
    path.chmod(0o755)
    return folder


def test_the_script_of_an_array_deals_out_the_parts(tmp_path: Path):
    for source in ("code", "markup", "text"):
        entries = [{"id": f"{n}", "text": f"text {n}"} for n in range(3)]
        write(tmp_path / "runs/corpus" / f"{source}.jsonl.zst", entries)
    environment = {
        **os.environ,
        "PATH": f"{codemix_command(tmp_path / 'bin')}:{os.environ['PATH']}",
        "RECIPE": str(RECIPES / "local.yaml"),
        "OUT": str(tmp_path / "out"),
        "SLURM_CPUS_PER_TASK": "2",
        "SLURM_ARRAY_TASK_COUNT": "2",
    }
    said = []
    for task in ("2", "1"):
        done = subprocess.run(
            ["bash", str(RECIPES / "array.sbatch")],
            env=environment | {"SLURM_ARRAY_TASK_ID": task},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert "1 parts made" in said[0]
    assert "2 of 3 are for other tasks" in said[0]
    assert documents_of(tmp_path / "out").keys() == {"code", "markup", "text"}
