"""Where a command may write: a folder and a file are not each other."""

from pathlib import Path

import pytest

from megatron_codemix.corpus.output_place import require_file_place, require_folder_place
from megatron_codemix.errors import DataError


def test_places_that_will_do(tmp_path: Path):
    (tmp_path / "file").write_text("")
    require_folder_place(tmp_path, "the corpus")
    require_folder_place(tmp_path / "a" / "b", "the corpus")
    require_file_place(tmp_path / "file", "tokenizer.json")
    require_file_place(tmp_path / "a" / "b", "tokenizer.json")
    require_file_place(Path("tokenizer.json"), "tokenizer.json")


def test_a_file_where_a_folder_is_wanted(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="a file is there, and a folder is wanted for the corpus"):
        require_folder_place(tmp_path / "file", "the corpus")
    with pytest.raises(DataError, match="/file is a file, and a folder is wanted"):
        require_folder_place(tmp_path / "file" / "below", "the corpus")
    with pytest.raises(DataError, match="/file: a file is there, and a folder"):
        require_file_place(tmp_path / "file" / "below", "tokenizer.json")


def test_a_folder_where_a_file_is_wanted(tmp_path: Path):
    with pytest.raises(DataError, match=r"a folder is there.*tokenizer\.json"):
        require_file_place(tmp_path, "tokenizer.json")
