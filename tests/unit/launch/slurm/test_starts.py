"""What starts of a job have taken, of which those whose node died could not say when they ended."""

import json
from pathlib import Path

from megatron_codemix.launch.slurm.starts import Stretch, note_end


def write(path: Path, *lines: dict[str, float | None]) -> None:
    with path.open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def begin(began: float, last_sign: float | None = None) -> dict[str, float | None]:
    return {"began_unix": began, "last_sign_unix": last_sign}


def stretches(*pairs: tuple[float, float]) -> list[Stretch]:
    return [Stretch(began_unix=began, ended_unix=ended) for began, ended in pairs]


def test_each_end_tells_of_its_own_start(tmp_path: Path) -> None:
    path = tmp_path / "starts"
    write(path, begin(100))
    assert note_end(path, began_unix=100, ended_unix=160) == stretches((100, 160))
    write(path, begin(200, last_sign=155))
    assert note_end(path, began_unix=200, ended_unix=230) == stretches((200, 230))


def test_lost_starts_lasted_until_the_last_sign_of_life(tmp_path: Path) -> None:
    path = tmp_path / "starts"
    write(path, begin(100), begin(200, last_sign=170), begin(300, last_sign=290))
    found = note_end(path, began_unix=300, ended_unix=310)
    assert found == stretches((100, 170), (200, 290), (300, 310))


def test_a_lost_start_without_a_sign_of_its_own_counts_nothing(tmp_path: Path) -> None:
    """The sign is of the start before it, or there was never one."""
    path = tmp_path / "starts"
    write(path, begin(100), begin(200, last_sign=170), begin(300, last_sign=170))
    found = note_end(path, began_unix=300, ended_unix=310)
    assert found == stretches((100, 170), (200, 200), (300, 310))
    other = tmp_path / "other"
    write(other, begin(100), begin(200))
    assert note_end(other, began_unix=200, ended_unix=201) == stretches((100, 100), (200, 201))


def test_clocks_that_disagree_give_no_time_twice(tmp_path: Path) -> None:
    path = tmp_path / "starts"
    write(path, begin(100), begin(200, last_sign=250))
    found = note_end(path, began_unix=200, ended_unix=190)
    assert found == stretches((100, 200), (200, 200))


def test_a_begin_that_could_not_be_written_is_what_the_script_says(tmp_path: Path) -> None:
    found = note_end(tmp_path / "starts", began_unix=100, ended_unix=160)
    assert found == stretches((100, 160))
