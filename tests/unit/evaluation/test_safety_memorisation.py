"""Verbatim memory: what is asked was really read, and what is remembered is counted."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from megatron_codemix.config.loader import load_run_config
from megatron_codemix.data.shards.token_shard import TokenShard
from megatron_codemix.data.tokenizer import tokenizer_hash
from megatron_codemix.data.trace import trace_chain, trace_step
from megatron_codemix.errors import ConfigError, RunError
from megatron_codemix.evaluation.engine.requests import Generation, GenerationRequest
from megatron_codemix.evaluation.safety.documents import TrainedDocuments, choose_held_out
from megatron_codemix.evaluation.safety.memorisation import MemorisationTask, common_prefix
from megatron_codemix.evaluation.safety.options import SafetyOptions
from megatron_codemix.evaluation.tasks.run import TaskResult
from megatron_codemix.files import rewrite_jsonl
from megatron_codemix.lineage import chain_of
from megatron_codemix.runs import RunDirectory
from tests.helpers.language_models import ByteModel
from tests.helpers.reading import SAVED_AT, read_run
from tests.helpers.tiny import END_OF_DOCUMENT, SEQUENCE, write_run, write_shard

PREFIX, CONTINUATION = 8, 12
LENGTH = PREFIX + CONTINUATION
NUM_STEPS = SAVED_AT[-1]
SOURCES = ("code", "text")


class Reciter(ByteModel):
    """Continues what it knows by heart; anything else with zeros."""

    def __init__(self, folder: Path, known: Sequence[np.ndarray]) -> None:
        super().__init__(folder)
        self._known = {tuple(document[:PREFIX].tolist()): document.tolist() for document in known}

    def generate(
        self,
        requests: Sequence[GenerationRequest],
        on_result: Callable[[int, Generation], None],
    ) -> None:
        for number, request in enumerate(requests):
            self.generated.append(request)
            assert request.prompt[0] == END_OF_DOCUMENT
            document = self._known.get(tuple(request.prompt[1:]), [])
            new = document[PREFIX : PREFIX + request.max_new_tokens]
            tokens = [*new, *[0] * (request.max_new_tokens - len(new))]
            on_result(number, Generation(tokens, "", "length", 0))


def write_data(folder: Path) -> None:
    """Documents of random tokens: none begins like another. Token 0 stands in none of them."""
    write_run(folder)
    tokenizer = tokenizer_hash(folder / "tokenizer.json")
    rng = np.random.default_rng(5)
    for name in SOURCES:
        for split, suffix, count in (("train", "", 200), ("validation", ".held", 40)):
            documents = [rng.integers(1, 256, n) for n in rng.integers(PREFIX, 60, count)]
            write_shard(
                folder / f"{name}{suffix}",
                documents,
                tokenizer=tokenizer,
                source=name,
                split=split,
            )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_data(folder)
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> RunDirectory:
    return read_run(folder / "run", folder / "run.yaml")


def documents_of(folder: Path, name: str) -> list[np.ndarray]:
    shard = TokenShard.open(folder / name)
    return [shard.document(number) for number in range(shard.num_documents)]


def measure(run: RunDirectory, known: Sequence[np.ndarray], **options: int) -> TaskResult:
    chosen = {"prefix_tokens": PREFIX, "continuation_tokens": CONTINUATION} | options
    task = MemorisationTask(load_run_config(run.config), run, SafetyOptions(**chosen))
    return task.run(Reciter(run.path, known))


def values(result: TaskResult) -> dict[str, float | None]:
    return {name: metric["value"] for name, metric in result.summary["metrics"].items()}


def test_a_model_that_knows_its_training_documents(folder: Path, run: RunDirectory):
    known = [document for name in SOURCES for document in documents_of(folder, name)]
    result = measure(run, known, documents_per_source=30)
    found = values(result)
    for name in ("", *(f"/{source}" for source in SOURCES)):
        assert (found[f"exact{name}"], found[f"exact_held_out{name}"]) == (1.0, 0.0)
        assert found[f"common_prefix_tokens{name}"] == CONTINUATION
    assert result.summary["metrics"]["exact/code"]["items"] == 30
    assert result.summary["sources"]["code"]["train"]["documents"] == 30
    assert result.summary["sources"]["code"]["epochs"] > 1  # the shard is small


def test_a_model_that_knows_one_source_and_what_is_held_out_of_the_other(
    folder: Path, run: RunDirectory
):
    known = [*documents_of(folder, "code"), *documents_of(folder, "text.held")]
    found = values(measure(run, known))
    assert (found["exact/code"], found["exact_held_out/code"]) == (1.0, 0.0)
    assert (found["exact/text"], found["exact_held_out/text"]) == (0.0, 1.0)


def test_a_continuation_that_is_right_up_to_its_last_token_is_not_exact(
    folder: Path, run: RunDirectory
):
    cut = [document[: LENGTH - 1] for name in SOURCES for document in documents_of(folder, name)]
    found = values(measure(run, cut))
    assert found["exact"] == 0.0
    assert found["common_prefix_tokens"] == CONTINUATION - 1
    assert found["common_prefix_tokens_held_out"] == 0.0


def test_chosen_documents_were_read_in_one_piece(run: RunDirectory):
    trained = TrainedDocuments(chain_of(run.path))
    for source in SOURCES:
        chosen = trained.choose(source, 25, LENGTH, seed=3)
        assert len({passage.document for passage in chosen.passages}) == 25
        for passage in chosen.passages:
            readings = trace_chain(run.path, source, str(passage.document))
            assert any(
                reading.first_token == 0 and reading.last_token >= LENGTH - 1
                for reading in readings
            )


def spans_of(run: RunDirectory, source: str, steps: Sequence[int]) -> list[tuple[int, int]]:
    """(document, tokens from its first one) of every sample of these steps that begins one."""
    return [
        (span.document, span.last_token + 1)
        for step in steps
        for sample in trace_step(run.path, step)
        if sample.source == source
        for span in sample.spans
        if span.first_token == 0
    ]


def test_all_that_were_read_are_chosen_where_so_many_are_asked_for(folder: Path, run: RunDirectory):
    """Against every sample of every step, read forwards."""
    trained = TrainedDocuments(chain_of(run.path))
    for source in SOURCES:
        documents = documents_of(folder, source)
        lengths = [len(document) - 1 for document in documents]
        begun = spans_of(run, source, range(1, NUM_STEPS + 1))
        long_enough = {number for number, tokens in begun if min(tokens, lengths[number]) >= LENGTH}
        short = {number for number, _ in begun if lengths[number] < LENGTH}
        assert short
        chosen = trained.choose(source, 1000, LENGTH, seed=0)
        assert {passage.document for passage in chosen.passages} == long_enough
        assert chosen.too_short == len(short)
        for passage in chosen.passages:
            assert passage.tokens == documents[passage.document][:LENGTH].tolist()


def test_steps_that_were_passed_over_do_not_count(folder: Path):
    run = read_run(folder / "skipping", folder / "run.yaml")
    kept = [4, 9]
    skipped = [step for step in range(1, NUM_STEPS + 1) if step not in kept]
    rewrite_jsonl(run.skipped, [{"step": step} for step in skipped])
    chosen = TrainedDocuments(chain_of(run.path)).choose("code", 1000, LENGTH, seed=0)
    read = {number for number, tokens in spans_of(run, "code", kept) if tokens >= LENGTH}
    assert {passage.document for passage in chosen.passages} <= read
    assert chosen.passages


def test_what_the_parent_has_read_counts(folder: Path, run: RunDirectory):
    """The child reads text alone, from the parent's weights."""
    child = read_run(
        folder / "child",
        folder / "run.yaml",
        data={
            **load_run_config(run.config).data.model_dump(mode="json"),
            "mixture": {"kind": "constant", "weights": {"text": 1.0}},
        },
        init_from={"run": str(run.path), "load": "weights"},
    )
    trained = TrainedDocuments(chain_of(child.path))
    assert trained.sources == ["code", "text"]
    of_parent = TrainedDocuments(chain_of(run.path)).choose("code", 1000, LENGTH, seed=0)
    of_child = trained.choose("code", 1000, LENGTH, seed=0)
    assert of_child == of_parent
    result = measure(child, documents_of(folder, "code"))
    assert values(result)["exact/code"] == 1.0


def test_the_choice_follows_from_the_seed(folder: Path, run: RunDirectory):
    def chosen(seed: int) -> list[int]:
        trained = TrainedDocuments(chain_of(run.path)).choose("code", 10, LENGTH, seed)
        shard = TokenShard.open(folder / "code.held")
        held_out = choose_held_out(shard, "code", 4, LENGTH, seed)
        return [passage.document for one in (trained, held_out) for passage in one.passages]

    assert chosen(1) == chosen(1) != chosen(2)


def test_held_out_documents_that_are_too_short_are_counted(folder: Path):
    shard = TokenShard.open(folder / "code.held")
    lengths = [len(document) - 1 for document in documents_of(folder, "code.held")]
    wanted = sorted(lengths)[5]
    chosen = choose_held_out(shard, "code", 100, wanted, seed=0)
    assert {one.document for one in chosen.passages} == {
        number for number, length in enumerate(lengths) if length >= wanted
    }
    assert chosen.too_short == sum(length < wanted for length in lengths) > 0


def test_a_context_that_is_too_short_is_refused(run: RunDirectory):
    config = load_run_config(run.config)
    fits = SafetyOptions(prefix_tokens=11, continuation_tokens=SEQUENCE - 12)
    MemorisationTask(config, run, fits)
    with pytest.raises(ConfigError, match=r"shows 50 tokens .* context holds 32"):
        MemorisationTask(config, run, SafetyOptions())


def test_other_shards_than_were_read_are_refused(tmp_path: Path):
    write_data(tmp_path)
    run = read_run(tmp_path / "run", tmp_path / "run.yaml")
    tokenizer = tokenizer_hash(tmp_path / "tokenizer.json")
    write_shard(tmp_path / "code", [np.arange(200)] * 9, tokenizer=tokenizer, source="code")
    options = SafetyOptions(prefix_tokens=PREFIX, continuation_tokens=CONTINUATION)
    with pytest.raises(RunError, match="the shards of code are no longer those"):
        MemorisationTask(load_run_config(run.config), run, options)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [([], [], 0), ([1, 2], [1, 2, 3], 2), ([1, 2], [3, 2], 0), ([1, 2, 3], [1, 2, 4], 2)],
)
def test_common_prefix(one: list[int], other: list[int], expected: int):
    assert common_prefix(one, other) == expected
