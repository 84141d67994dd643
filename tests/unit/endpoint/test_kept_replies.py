"""Replies on disk: none is lost to a kill or to another thread."""

import json
import threading
from pathlib import Path

import pytest

from megatron_codemix.endpoint.endpoint import Api, Endpoint
from megatron_codemix.endpoint.kept_replies import KeptReplies, request_key
from megatron_codemix.files import read_jsonl


def test_a_line_cut_by_a_kill_is_removed_before_the_next(tmp_path: Path) -> None:
    path = tmp_path / "judge.jsonl"
    with KeptReplies.opened(path) as answers:
        answers.add("one", {"text": "1"})
    with open(path, "ab") as handle:
        handle.write(b'{"key": "two", "te')
    with KeptReplies.opened(path) as answers:
        assert answers.get("two") is None
        answers.add("three", {"text": "3"})
    assert [json.loads(line)["key"] for line in path.read_text().splitlines()] == ["one", "three"]


def test_answers_of_many_threads_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "judge.jsonl"
    with KeptReplies.opened(path) as answers:
        threads = [
            threading.Thread(target=answers.add, args=(str(n), {"text": "x" * 5000}))
            for n in range(40)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(int(line["key"]) for line in read_jsonl(path)) == list(range(40))


KEYS = {
    "chat": "dacb5bd88cbcda56c290f9ae15deb81bd4a7c77a01f4e61622437b52ef589409",
    "completions": "872d758560e51720154b622d8fb300eaddfb802babd65432fef52918cdcc96cd",
}
"""As written by the first version that kept replies: what was paid for with it is still found."""


@pytest.mark.parametrize("api", KEYS)
def test_keys_stay_what_they_were(api: Api) -> None:
    endpoint = Endpoint(base_url="http://x/v1", model="m", name="n", api=api)
    body = endpoint.body("Preamble.", "Question?", opening="Comparison:")
    assert request_key(endpoint, body) == KEYS[api]
