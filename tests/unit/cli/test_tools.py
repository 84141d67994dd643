"""The scripts in tools/ end as `codemix` does: one line and its exit codes."""

from pathlib import Path

import pytest

from megatron_codemix.data.tokenizer_training import train_tokenizer
from tests.helpers.commands import python
from tests.helpers.corpora import write_corpus

TOOLS = Path(__file__).parents[3] / "tools"


@pytest.fixture(scope="module")
def flags(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("tokenizer")
    corpus = write_corpus(folder / "corpus")
    tokenizer = train_tokenizer(corpus, 300, folder / "tokenizer.json").path
    return [
        *("--input", str(corpus), "--tokenizer-type", "HuggingFaceTokenizer", "--append-eod"),
        *("--tokenizer-model", str(tokenizer), "--workers", "1"),
    ]


def test_a_path_that_cannot_be_written_is_one_line(tmp_path: Path, flags: list[str]):
    (tmp_path / "file").touch()
    prefix = tmp_path / "file" / "x"
    merge = python(TOOLS / "merge_shards.py", "--input", tmp_path, "--output-prefix", prefix)
    assert merge.stderr == f"error: {tmp_path}: holds no .bin and .idx\n"
    shards = tmp_path / "shards"
    made = python(TOOLS / "preprocess_data.py", *flags, "--output-prefix", shards / "a")
    assert made.returncode == 0, made.stderr
    for command in (
        [TOOLS / "preprocess_data.py", *flags, "--output-prefix", prefix],
        [TOOLS / "merge_shards.py", "--input", shards, "--output-prefix", prefix],
    ):
        refused = python(*command)
        assert refused.returncode == 2, refused.stderr
        last = refused.stderr.splitlines()[-1]
        assert last.startswith(f"error: {tmp_path / 'file'}")
        assert "; give a" in last
        assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("name", ["preprocess_data", "merge_shards"])
def test_wrong_flags_are_2(name: str):
    refused = python(TOOLS / f"{name}.py", "--nonsense")
    assert refused.returncode == 2
    assert refused.stderr.startswith("usage:")


def test_ctrl_c_is_130_also_during_the_imports(tmp_path: Path, flags: list[str]):
    """Sent once the tool's own module of endings is there, so numpy is being imported."""
    signals = (
        "import importlib.abc, os, runpy, signal, sys\n"
        # A shell that starts this in the background leaves SIGINT ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class Interrupts(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'numpy':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupts())\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    tool = TOOLS / "preprocess_data.py"
    ended = python("-c", signals, tool, *flags, "--output-prefix", tmp_path / "a")
    assert ended.returncode == 130, ended.stderr
    assert ended.stderr == "interrupted; what was saved is kept: give the same command again\n"
