"""The cluster file: what it may say, and that all its problems come at once."""

from pathlib import Path

import pytest

from megatron_codemix.errors import ConfigError
from megatron_codemix.launch.slurm.cluster import load_cluster, read_time_limit, time_words

ROOT = Path(__file__).parents[4]
SMALL = """\
partition: gpu
gpus_per_node: 8
cpus_per_task: 12
time_limit: 1-00:00:00
"""


def problems_of(folder: Path, text: str) -> list[str]:
    path = folder / "cluster.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_cluster(path)
    return raised.value.problems


def test_the_example_is_read() -> None:
    cluster = load_cluster(ROOT / "examples" / "slurm" / "h100.yaml")
    assert (cluster.gpus_per_node, cluster.ranks_per_node) == (8, 8)
    assert (cluster.time_limit, cluster.stop_before_end) == (86400, 600)
    assert cluster.memory_per_node == "0"
    assert cluster.environment["CUDA_DEVICE_MAX_CONNECTIONS"] == "1"


def test_a_file_without_a_partition_is_refused_with_all_else_that_is_wrong(tmp_path: Path) -> None:
    text = """\
gpus_per_node: eight
cpus_per_task: 0
time_limit: "3600"
partitions: gpu
environment: {NO-NAME: "1"}
container: {kind: docker, image: x}
"""
    problems = problems_of(tmp_path, text)
    wanted = (
        "partition: missing", "gpus_per_node", "cpus_per_task", "time_limit", "partitions",
        "NO-NAME", "container",
    )  # fmt: skip
    for words in wanted:
        assert any(words in problem for problem in problems), (words, problems)
    assert any("did you mean 'partition'" in problem for problem in problems), problems
    assert any("cluster.yaml:1" in problem for problem in problems), problems


def test_fields_that_do_not_fit_together_come_together(tmp_path: Path) -> None:
    text = (
        SMALL.replace("gpus_per_node: 8", "gpus_per_node: 0\ngpu_type: h100")
        + """\
stop_before_end: 24h
extra_sbatch: ["-p other", "--time=5", "--exclusive"]
srun_options: ["--mpi=none", "-n3", "--kill-on-bad-exit=1"]
container: {kind: apptainer, image: /not/there.sif, mounts: ["relative:/x", "/a:/b:ro"]}
"""
    )
    problems = problems_of(tmp_path, text)
    wanted = [
        "tasks_per_node: missing", "gpu_type: h100", "stop_before_end", "'-p other'",
        "codemix sets --time itself",
        "srun_options: '-n3': write the long form", "codemix sets --kill-on-bad-exit itself",
        "'relative:/x'", "/not/there.sif is not there",
    ]  # fmt: skip
    assert len(problems) == len(wanted), problems
    for words, problem in zip(wanted, problems, strict=True):
        assert words in problem


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12:00:00", 43200),
        ("2-12:00:00", 216000),
        ("90m", 5400),
        ("1h30m", 5400),
        ("0-00:01:00", 60),
    ],
)
def test_times_are_read_as_slurm_writes_them(text: str, seconds: int) -> None:
    assert read_time_limit(text) == seconds
    assert read_time_limit(time_words(seconds)) == seconds


@pytest.mark.parametrize("text", ["60", "1.5", "1-12", "x-01:00:00", "soon", "1-2h"])
def test_times_that_could_mean_two_things_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a"):
        read_time_limit(text)
