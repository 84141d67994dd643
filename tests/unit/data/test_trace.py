"""Every token of every step is traced to its document, every document to its steps."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from megatron_codemix.cli.data import app
from megatron_codemix.config.loader import load_run_config
from megatron_codemix.data.documents_file import find_document, read_records
from megatron_codemix.data.resolve import resolve_data
from megatron_codemix.data.shards.token_shard import TokenShard
from megatron_codemix.data.trace import RunReader, trace_chain, trace_step
from megatron_codemix.errors import DataError, RunError
from megatron_codemix.files import rewrite_jsonl
from megatron_codemix.lineage import chain_of
from megatron_codemix.runs import RunDirectory
from tests.helpers.reading import BATCH, SAVED_AT, read_run
from tests.helpers.tiny import write_run

NUM_STEPS = SAVED_AT[-1]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDirectory, RunDirectory]:
    """A run, and one with other weights that goes on where its sources stood; over an epoch of
    each source."""
    folder = tmp_path_factory.mktemp("runs")
    config = write_run(folder)
    for name in ("code", "text"):
        rows = [
            {"id": f"{name}-\u00e9{number}", "path": f"{name}/{number}.py"} for number in range(200)
        ]
        rewrite_jsonl(folder / f"{name}.documents.jsonl", rows)
    parent = read_run(folder / "parent", config)
    child = read_run(
        folder / "child",
        config,
        data={
            **load_run_config(config).data.model_dump(mode="json"),
            "mixture": {"kind": "constant", "weights": {"code": 0.1, "text": 0.9}},
        },
        init_from={"run": str(parent.path), "load": "weights"},
    )
    return parent, child


@pytest.mark.parametrize("number", [0, 1])
def test_the_documents_of_a_step_hold_its_tokens(runs, number: int):
    run = runs[number]
    config = load_run_config(run.config)
    dataset = resolve_data(config).dataset()
    shards = {name: TokenShard.open(config.data.sources[name].train) for name in ("code", "text")}
    for step in (1, 9, NUM_STEPS):
        batch = dataset.batch(range((step - 1) * BATCH, step * BATCH))
        samples = trace_step(run.path, step)
        assert [sample.row for sample in samples] == list(range(BATCH))
        for sample in samples:
            assert sample.source == dataset.source_names[batch.source_id[sample.row]]
            tokens = [
                shards[sample.source].document(span.document)[
                    span.first_token : span.last_token + 1
                ]
                for span in sample.spans
            ]
            wanted = [*batch.tokens[sample.row], batch.labels[sample.row][-1]]
            assert np.concatenate(tokens).tolist() == wanted
            for span in sample.spans:
                assert span.record["id"] == f"{sample.source}-\u00e9{span.document}"


def check_readings(path: Path, epochs: set[int]) -> None:
    """trace_chain against tracing every step of all runs forwards."""
    wanted: dict[tuple[str, int], list[tuple]] = {}
    order = {}
    for place, link in enumerate(chain_of(path)):
        run = link.run
        order[str(run.path)] = place
        reader = RunReader(run, link.config)
        for step in range(1, NUM_STEPS + 1):
            for sample in reader.trace_step(step):
                for span in sample.spans:
                    entry = (str(run.path), step, sample.sample, sample.row, sample.epoch)
                    entry += (span.first_token, span.last_token)
                    wanted.setdefault((sample.source, span.document), []).append(entry)
    assert {entry[4] for entries in wanted.values() for entry in entries} == epochs
    for source in ("code", "text"):
        for document in [*range(0, 200, 9), 199]:
            entries = [
                (one.run, one.step, one.sample, one.row, one.epoch, one.first_token, one.last_token)
                for one in trace_chain(path, source, str(document))
            ]
            assert entries == sorted(
                wanted.get((source, document), []), key=lambda e: (order[e[0]], e[2], e[5])
            )


def test_every_reading_of_a_document_is_found(runs):
    check_readings(runs[1].path, {0, 1, 2})


def test_every_reading_of_a_packed_document_is_found(tmp_path: Path):
    config = write_run(tmp_path)
    sources = load_run_config(config).data.model_dump(mode="json")["sources"]
    sources["code"]["packing"] = "best_fit"
    run = read_run(tmp_path / "run", config, data={"sources": sources})
    check_readings(run.path, {0, 1})


def test_documents_are_found_by_id(runs):
    by_number = trace_chain(runs[0].path, "code", "17")
    assert by_number
    assert trace_chain(runs[0].path, "code", "code-\u00e917") == by_number
    with pytest.raises(DataError, match="no document has the id 'code-'"):
        trace_chain(runs[0].path, "code", "code-")
    with pytest.raises(DataError, match="has documents 0 to 199, not 200"):
        trace_chain(runs[0].path, "code", "200")
    with pytest.raises(RunError, match="has no source 'markup'; it has code, text"):
        trace_chain(runs[0].path, "markup", "3")


def test_what_the_run_has_not_read_is_refused(runs):
    with pytest.raises(RunError, match="has made steps 1 to 20, not 21"):
        trace_step(runs[0].path, 21)
    with pytest.raises(RunError, match="samples 0 to 31, not 32"):
        trace_step(runs[0].path, 1, 32)


def test_another_shard_in_place_of_the_one_read_is_refused(runs, tmp_path: Path):
    shutil.copytree(runs[0].path, tmp_path / "run")
    path = tmp_path / "run" / "attempts" / "1" / "provenance.json"
    record = json.loads(path.read_text())
    record["data"]["manifest_hashes"]["code"] = "0" * 64
    path.write_text(json.dumps(record))
    with pytest.raises(RunError, match="the shards of code are no longer those that it read"):
        trace_step(tmp_path / "run", 1)


def test_lines_are_found_in_pieces_of_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows = [{"id": "x" * (number % 13), "number": number} for number in range(500)]
    rewrite_jsonl(tmp_path / "a.documents.jsonl", rows)
    for piece in (7, 64, 1 << 20):
        monkeypatch.setattr("megatron_codemix.data.documents_file._PIECE", piece)
        wanted = [0, 1, 17, 18, 250, 499]
        found = read_records(tmp_path / "a", wanted)
        assert [found[number]["number"] for number in wanted] == wanted
    assert find_document(tmp_path / "a", "xxx") == 3
    with pytest.raises(DataError, match="has no document 500"):
        read_records(tmp_path / "a", [3, 500])
    assert read_records(tmp_path / "b", [3]) == {}


def test_commands(runs):
    def invoke(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["trace", str(runs[1].path), *arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    samples = json.loads(invoke("--step", "3", "--sample", "2", "--json"))["samples"]
    assert [sample["row"] for sample in samples] == [2]
    shown = invoke("--step", "3", "--sample", "2", "--text")
    assert "document" in shown
    span = samples[0]["spans"][0]
    readings = json.loads(
        invoke("--source", samples[0]["source"], "--document", str(span["document"]), "--json")
    )["readings"]
    assert (3, 2) in {(reading["step"], reading["row"]) for reading in readings}
    assert "sample" in invoke("--source", samples[0]["source"], "--document", "0")
    refused = CliRunner().invoke(app, ["trace", str(runs[1].path)])
    assert isinstance(refused.exception, RunError)
