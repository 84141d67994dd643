"""Parts of a corpus: each file in one, and what tells one part from another."""

import itertools
import os
from pathlib import Path

import pytest

from megatron_codemix.corpus.readers import InputFile
from megatron_codemix.corpus.stages.parts import Part, Share, dealt, parts_of


def write_files(folder: Path, sizes: list[int]) -> tuple[InputFile, ...]:
    folder.mkdir(exist_ok=True)
    files = []
    for number, size in enumerate(sizes):
        path = folder / f"{number}.jsonl"
        path.write_bytes(os.urandom(size))
        files.append(InputFile(path, f"{folder.name}/{path.name}"))
    return tuple(files)


@pytest.mark.parametrize("part_bytes", [1, 99, 250, 10**6])
def test_every_file_is_in_one_part(tmp_path: Path, part_bytes: int):
    sources = {
        "text": write_files(tmp_path / "text", [100, 100, 300, 0, 0, 50, 50, 50, 1000, 10]),
        "code": write_files(tmp_path / "code", [5]),
    }
    parts = parts_of(sources, part_bytes)
    assert [part.source for part in parts] == sorted(part.source for part in parts)
    for source, files in sources.items():
        own = [part for part in parts if part.source == source]
        assert [part.number for part in own] == list(range(len(own)))
        assert tuple(file for part in own for file in part.files) == files
        assert all(part.num_bytes <= part_bytes or len(part.files) == 1 for part in own)
        # As few as an order of files allows: no part could take the first file of the next.
        for part, following in itertools.pairwise(own):
            assert part.num_bytes + following.files[0].num_bytes() > part_bytes


def test_shares_have_each_part_once(tmp_path: Path):
    parts = parts_of({"text": write_files(tmp_path / "text", [10] * 11)}, 10)
    for count in (1, 2, 5, 20):
        shares = [dealt(parts, Share(number, count)) for number in range(count)]
        assert sorted(part.number for share in shares for part in share) == list(range(11))
        sizes = [len(share) for share in shares]
        assert max(sizes) - min(sizes) <= 1


def test_identity_is_of_names_and_contents_and_not_of_times(tmp_path: Path):
    (file,) = write_files(tmp_path / "text", [10])
    part = Part("text", 0, (file,))
    before = part.identity()
    os.utime(file.path, ns=(1, 1))
    assert part.identity() == before
    assert Part("text", 0, (InputFile(file.path, "text/b.jsonl"),)).identity() != before
    file.path.write_bytes(os.urandom(10))
    assert part.identity() != before


def test_a_known_file_is_not_read_again(tmp_path: Path):
    (file,) = write_files(tmp_path / "text", [10])
    part = Part("text", 0, (file,))
    known = {state.name: state._replace(sha256="as known") for state in part.states()}
    assert part.states(known)[0].sha256 == "as known"
    os.utime(file.path, ns=(1, 1))
    assert part.states(known)[0].sha256 != "as known"
    recorded = InputFile(file.path, file.name, "as recorded")
    assert recorded.state().sha256 == "as recorded"
