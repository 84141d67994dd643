"""Whole corpora from a model on loopback that is slow, broken, forgetful or gone half-way."""

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.readers import Skipped, read_documents
from megatron_codemix.corpus.store import source_files
from megatron_codemix.corpus.synthesis.model_written.generate import (
    REPLIES,
    synthesize_with_model,
)
from megatron_codemix.corpus.synthesis.model_written.rounds import Manner
from megatron_codemix.corpus.synthesis.output import Synthesized
from megatron_codemix.corpus.synthesis.verify import verify_corpus
from megatron_codemix.corpus.writer import write_documents
from megatron_codemix.endpoint.endpoint import Endpoint
from megatron_codemix.errors import DataError, RetryableError, UnavailableError
from tests.helpers.endpoint_server import (
    Behaviour,
    EndpointServer,
    Question,
    Reply,
    endpoint_server,
)
from tests.helpers.exercise_server import (
    EXERCISES,
    answer,
    document_text,
    is_first_request,
    topic_of,
)

COUNT = len(EXERCISES)
FEW = 2
"""Where what the documents are does not matter: each takes a second or two to try."""


pytestmark = pytest.mark.usefixtures("isolation")


@pytest.fixture
def seeds(tmp_path: Path) -> Path:
    """A corpus of as many documents as there are exercises, twice: the second half is spare."""
    folder = tmp_path / "seeds"
    write_seeds(folder, 2 * COUNT)
    return folder


def write_seeds(folder: Path, number: int) -> None:
    documents = [
        Document(f"d{one}", "text", f"d{one}", f"d{one}", None, document_text(one))
        for one in range(number)
    ]
    folder.mkdir()
    write_documents(folder, "text.jsonl.zst", iter(documents))


def documents_of(folder: Path, source: str) -> list[Document]:
    return list(read_documents(source_files(folder)[source], source, Skipped()))


def made(
    server: EndpointServer, seeds: Path, out: Path, count: int = COUNT, **options: Any
) -> Synthesized:
    settings = {"retry_seconds": 0.0, "retries": 2, "timeout_seconds": 20.0, **options}
    manner = Manner(concurrency=settings.pop("concurrency", 3), temperature=0.5)
    endpoint = Endpoint(
        base_url=server.url, model="m", name="the model", max_tokens=512, **settings
    )
    return synthesize_with_model(
        out, count=count, seed=4, seed_corpus=seeds, endpoint=endpoint, manner=manner
    )


def test_all_exercises_become_documents_that_verify(seeds: Path, tmp_path: Path) -> None:
    with endpoint_server(answer) as server:
        result = made(server, seeds, tmp_path / "out")
    assert (result.count, result.sources) == (COUNT, {"synthetic_model": COUNT})
    documents = documents_of(tmp_path / "out", "synthetic_model")
    assert {one.metadata["name"] for one in documents} == {one[0] for one in EXERCISES}
    for one in documents:
        assert one.metadata["method"] == "model-written"
        assert one.metadata["spec"]["seed_document"] == one.origin
        assert one.licence is None
    found = verify_corpus(tmp_path / "out")
    assert (found.documents, found.failed) == (COUNT, 0)


def test_the_second_request_does_not_show_the_first_solution(seeds: Path, tmp_path: Path) -> None:
    with endpoint_server(answer) as server:
        made(server, seeds, tmp_path / "out")
    second = [one for one in server.questions if not is_first_request(one)]
    assert len(second) >= COUNT
    for question in second:
        for _, _, solution, other, _ in EXERCISES:
            assert solution not in question.text
            assert other not in question.text
    assert {question.body["temperature"] for question in server.questions} == {0.5}


def test_the_same_replies_give_the_same_bytes_in_whatever_order(
    seeds: Path, tmp_path: Path
) -> None:
    with endpoint_server(answer) as server:
        one = made(server, seeds, tmp_path / "one", FEW, concurrency=1)
        other = made(server, seeds, tmp_path / "other", FEW, concurrency=8)
    assert one.sha256 == other.sha256


def test_what_is_complete_is_left_alone(seeds: Path, tmp_path: Path) -> None:
    with endpoint_server(answer) as server:
        first = made(server, seeds, tmp_path / "out", FEW)
        number = len(server.questions)
        again = made(server, seeds, tmp_path / "out", FEW)
    assert again.is_old
    assert again.sha256 == first.sha256
    assert len(server.questions) == number


SLOPPY: list[Callable[[str], Reply]] = [
    lambda text: Reply(f"Certainly!\n```json\n{text}\n```"),
    lambda text: Reply(f"<think>An exercise {{on it}}.</think>{text}"),
    lambda text: Reply(text.replace("\\n", "\n")),
    lambda text: Reply(repr(json.loads(text))),
]


def test_sloppy_replies_are_read(seeds: Path, tmp_path: Path) -> None:
    def sloppily(question: Question) -> Reply:
        return SLOPPY[question.number % len(SLOPPY)](answer(question).text or "")

    with endpoint_server(sloppily) as server:
        assert made(server, seeds, tmp_path / "out").count == COUNT


BAD: dict[str, Reply] = {
    "nonsense": Reply("As a language model, I would rather not."),
    "cut off": Reply('{"name": "f", "statement": "Write'),
    "no fields": Reply("{}"),
    "a wrong second solution": Reply(json.dumps({"solution": "def f(x):\n    return 1\n"})),
    "a refused request": Reply(status=400, body=b"too long"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_exercise_costs_its_document_alone(
    seeds: Path, tmp_path: Path, name: str
) -> None:
    """Topics 0 to 5 are answered badly; their exercises come from 6 to 11."""

    def behave(question: Question) -> Reply:
        is_bad = is_first_request(question) and topic_of(question) < COUNT
        return BAD[name] if is_bad else answer(question)

    with endpoint_server(behave) as server:
        result = made(server, seeds, tmp_path / "out")
    assert result.count == COUNT
    assert sum(result.rejected.values()) == result.candidates - COUNT > 0


def told_wrongly(question: Question) -> Reply:
    """As `answer`, but solutions to topic 0 to 5 say in a docstring what is not so."""
    reply = answer(question)
    record = json.loads(reply.text or "")
    if is_first_request(question) and topic_of(question) >= COUNT:
        return Reply(json.dumps({**record, "statement": f"A spare one. {record['statement']}"}))
    if not is_first_request(question) and "A spare one." in question.text:
        return reply
    lines = record["solution"].split("\n")
    head = next(number for number, line in enumerate(lines) if line.startswith("def "))
    lines.insert(head + 1, '    """It.\n\n    >>> 1 + 1\n    3\n    """')
    return Reply(json.dumps({**record, "solution": "\n".join(lines)}))


def test_a_document_that_does_not_run_is_rejected_with_its_reason(
    seeds: Path, tmp_path: Path
) -> None:
    with endpoint_server(told_wrongly) as server:
        result = made(server, seeds, tmp_path / "out")
    assert result.count == COUNT
    assert result.rejected["document"] > 0
    for one in documents_of(tmp_path / "out", "synthetic_model"):
        assert one.metadata["statement"].startswith("A spare one.")


def on_one_line(question: Question) -> Reply:
    """As `answer`, with solutions that call a helper from their head's own line."""
    record = json.loads(answer(question).text or "")
    name = re.findall(r"^def (\w+)", record["solution"], re.MULTILINE)[-1]
    old, new = f"def {name}(", f"def {name}_of("
    inner = record["solution"].replace(old, new)
    parameters = re.findall(r"(\w+)(?::|,|\))", inner.split(new)[1].split("\n")[0].split(" -> ")[0])
    names = ", ".join(one for one in parameters if one not in {"int", "str", "list", "set"})
    solution = f"{inner}\n\ndef {name} ({names}): return {name}_of({names})  # in short\n"
    return Reply(json.dumps({**record, "solution": solution}))


def test_solutions_on_one_line_become_documents(seeds: Path, tmp_path: Path) -> None:
    with endpoint_server(on_one_line) as server:
        result = made(server, seeds, tmp_path / "out", count=4)
    assert result.count == 4
    for one in documents_of(tmp_path / "out", "synthetic_model"):
        assert "# in short" in one.text
        assert one.metadata["shape"] not in ("docstring", "two ways")


NOT_NOW = {
    "429": Reply(status=429, headers={"Retry-After": "0"}, body=b"slow down"),
    "500": Reply(status=500, body=b"oops"),
    "503": Reply(status=503, body=b""),
    "a closed connection": Reply(closes=True),
    "a cut answer": Reply(body=b'{"choices": [{"mess'),
    "no JSON": Reply(body=b"<html>proxy</html>"),
}


@pytest.mark.parametrize("name", NOT_NOW)
def test_what_passes_is_waited_for(seeds: Path, tmp_path: Path, name: str) -> None:
    troubled: set[str] = set()
    lock = threading.Lock()

    def first_time_not(question: Question) -> Reply:
        with lock:
            is_first = question.text not in troubled
            troubled.add(question.text)
        return NOT_NOW[name] if is_first else answer(question)

    with endpoint_server(first_time_not) as server:
        assert made(server, seeds, tmp_path / "out", FEW).count == FEW


def failing_after(number: int, reply: Reply) -> Behaviour:
    left = [None] * number

    def behave(question: Question) -> Reply:
        try:
            left.pop()  # one thread's alone
        except IndexError:
            return reply
        return answer(question)

    return behave


STOPS = {
    "500": (Reply(status=500, body=b"oops"), RetryableError),
    "429": (Reply(status=429, body=b"quota"), RetryableError),
    "no answer": (Reply(hangs=True), RetryableError),
    "a key that ran out": (Reply(status=401, body=b"no credit"), UnavailableError),
}


@pytest.mark.parametrize("name", STOPS)
def test_an_endpoint_that_fails_half_way_is_gone_on_with_and_nothing_is_asked_twice(
    seeds: Path, tmp_path: Path, name: str
) -> None:
    reply, error = STOPS[name]
    with endpoint_server(answer) as server:
        whole = made(server, seeds, tmp_path / "whole", FEW)
        all_asked = sorted(server.bodies())
    out = tmp_path / "out"
    patience = {"retries": 1, "timeout_seconds": 0.5 if reply.hangs else 20.0}
    with endpoint_server(failing_after(5, reply)) as server:
        with pytest.raises(error, match=r"5 replies are kept in .*the same command asks only"):
            made(server, seeds, out, FEW, **patience)
        kept = [json.loads(line) for line in (out / REPLIES).read_text().splitlines()]
        assert len(kept) == 5
        server.questions.clear()
        server.released.set()
        server.behave = answer
        result = made(server, seeds, out, FEW)
        asked_again = server.bodies()
    assert result.sha256 == whole.sha256
    assert len(asked_again) == len(all_asked) - 5
    assert len(set(asked_again)) == len(asked_again)
    assert set(asked_again) < set(all_asked)


def test_replies_elsewhere_serve_a_corpus_of_another_size(seeds: Path, tmp_path: Path) -> None:
    def run(server: EndpointServer, out: Path, count: int) -> Synthesized:
        endpoint = Endpoint(base_url=server.url, model="m", name="n", max_tokens=512)
        return synthesize_with_model(
            out, count=count, seed=4, seed_corpus=seeds, endpoint=endpoint, manner=Manner(),
            replies_file=tmp_path / "replies.jsonl",
        )  # fmt: skip

    with endpoint_server(answer) as server:
        run(server, tmp_path / "few", 1)
        few = len(server.questions)
        run(server, tmp_path / "many", FEW)
        bodies = server.bodies()
    assert few > 0
    assert len(set(bodies)) == len(bodies)


def test_a_corpus_with_too_few_documents_is_named_with_what_went_wrong(
    seeds: Path, tmp_path: Path
) -> None:
    with (
        endpoint_server(answer) as server,
        pytest.raises(DataError, match=r"of 12 documents the model made 6 .* near-duplicate 6"),
    ):
        made(server, seeds, tmp_path / "out", count=COUNT + 1)


def test_a_model_of_no_use_is_not_asked_for_ever(tmp_path: Path) -> None:
    write_seeds(tmp_path / "seeds", 200)
    with endpoint_server(lambda question: Reply("I cannot help.")) as server:
        for _ in range(2):  # replies that are kept are not asked for again
            with pytest.raises(DataError, match="of the first 64 documents the model made no prob"):
                made(server, tmp_path / "seeds", tmp_path / "out", count=100)
            assert len(server.questions) == 64


def test_an_endpoint_that_refuses_everything_is_not_asked_for_ever(
    tmp_path: Path,
) -> None:
    write_seeds(tmp_path / "seeds", 200)
    with endpoint_server(lambda question: Reply(status=400, body=b"no such option")) as server:
        with pytest.raises(UnavailableError, match="refuses every request"):
            made(server, tmp_path / "seeds", tmp_path / "out", count=100)
        assert len(server.questions) < 40


def test_a_corpus_without_documents_to_show_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "seeds"
    folder.mkdir()
    short = Document("d", "text", "d", "d", None, "Too short.")
    write_documents(folder, "text.jsonl.zst", iter([short]))
    with endpoint_server(answer) as server:
        with pytest.raises(DataError, match="no document of at least 200 characters"):
            made(server, folder, tmp_path / "out")
        assert server.questions == []
