"""`codemix corpus filter` over a corpus: what stays, what goes and why, by processes and kills."""

import json
from pathlib import Path
from typing import Any

import pytest
import zstandard

from megatron_codemix.corpus.filters.policy import Outcome, load_policy
from megatron_codemix.corpus.filters.stage import CHANGED_CONVERSATION, FilterStage, choose_policies
from megatron_codemix.corpus.record import CorpusRecord, CorpusSource, StageRecord, load_corpus
from megatron_codemix.corpus.stages.run import run_stage
from megatron_codemix.corpus.writer import write_documents
from megatron_codemix.errors import DataError
from tests.helpers.commands import codemix
from tests.helpers.filter_documents import document, real_texts
from tests.helpers.kills import contents, killed_again_and_again

SOURCES = ["code", "text"]


def write_corpus(folder: Path, sources: list[str] = SOURCES, stages: tuple[Any, ...] = ()) -> Path:
    """Two parts of each source, of texts that people wrote and some that a rule looks for."""
    texts = real_texts()[:120:3]
    texts += ["address = 0x7f\n" * 10, "jane@company.com and nothing else to see\n" * 3]
    written = {}
    for source in sources:
        files = []
        for part in (0, 1):
            documents = [
                document(text, f"{source}/{n}.py", id=f"{source}/{part}/{n}", source=source)
                for n, text in enumerate(texts[part::2])
            ]
            name = f"{source}/part-{part:05d}.jsonl.zst"
            (folder / source).mkdir(parents=True, exist_ok=True)
            file, licences = write_documents(folder, name, documents)
            files.append(file)
        written[source] = CorpusSource(tuple(files), licences)
    CorpusRecord(written, stages).save(folder)
    return folder


def read_lines(path: Path) -> list[dict[str, Any]]:
    with open(path, "rb") as raw:
        data = zstandard.ZstdDecompressor().stream_reader(raw).read()
    return [json.loads(line) for line in data.splitlines()]


def test_keeps_and_drops_as_the_policies_say(tmp_path):
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    policies = choose_policies(corpus, SOURCES, {}, {})
    result = run_stage(FilterStage(policies), corpus, out, keep_dropped=True, part_bytes=1)
    assert result.record is not None
    for source, name in (("code", "code"), ("text", "prose")):
        policy = load_policy(name)
        kept, dropped = [], []
        for part in (0, 1):
            for record in read_lines(corpus / source / f"part-{part:05d}.jsonl.zst"):
                one = policy.apply(document(**record))
                if isinstance(one, Outcome):
                    kept.append(one.document.to_record())
                else:
                    dropped.append(record | {"reason": one.reason, "detail": one.detail})
        files = [f"{source}/part-{part:05d}.jsonl.zst" for part in (0, 1)]
        assert [one for file in files for one in read_lines(out / file)] == kept
        assert [one for file in files for one in read_lines(out / "dropped" / file)] == dropped
        stage = result.record.stages[-1]
        assert stage.options["policies"][source] == policy.to_json()
        assert sum(stage.dropped[source].counts.values()) == len(dropped)
        assert kept
        assert dropped
    assert stage.dropped["code"].counts["contains 0x"] >= 1
    assert stage.changed["code"]["masked EMAIL"] >= 3
    assert load_corpus(out) == result.record


def test_workers_give_the_bytes_of_one_process(tmp_path):
    corpus = write_corpus(tmp_path / "corpus")
    stage = FilterStage(choose_policies(corpus, SOURCES, {}, {}))
    for workers in (1, 3):
        run_stage(stage, corpus, tmp_path / str(workers), workers=workers, part_bytes=1)
    assert contents(tmp_path / "1") == contents(tmp_path / "3")


def test_a_changed_policy_makes_its_parts_again(tmp_path):
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    run_stage(FilterStage(choose_policies(corpus, SOURCES, {}, {})), corpus, out, part_bytes=1)
    again = run_stage(
        FilterStage(choose_policies(corpus, SOURCES, {}, {})), corpus, out, part_bytes=1
    )
    assert again.num_made == 0
    changed = choose_policies(corpus, SOURCES, {}, {"code": ["contains_0x=off"]})
    assert run_stage(FilterStage(changed), corpus, out, part_bytes=1).num_made == 4


_WORK = """
from pathlib import Path
from megatron_codemix.corpus.filters.stage import CHANGED_CONVERSATION, FilterStage, choose_policies
from megatron_codemix.corpus.stages.run import run_stage

def run(corpus, out):
    policies = choose_policies(Path(corpus), ["code", "text"], {}, {})
    run_stage(FilterStage(policies), Path(corpus), Path(out), keep_dropped=True, part_bytes=1)
"""


def test_kills_at_any_moment_leave_the_same_bytes(tmp_path):
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    policies = choose_policies(corpus, SOURCES, {}, {})
    run_stage(FilterStage(policies), corpus, tmp_path / "one", keep_dropped=True, part_bytes=1)
    points = [3, 7, 9, 12, 15]
    assert killed_again_and_again(_WORK, [corpus, out], out, points) == len(points)
    assert contents(out) == contents(tmp_path / "one")


def recipe_record(**policies: str) -> tuple[StageRecord, ...]:
    options = {"sources": {name: {"policy": policy} for name, policy in policies.items()}}
    return (StageRecord("recipe", options, dict.fromkeys(policies, 0), {}, {}),)


def test_the_choice_goes_before_the_recipe_before_the_name(tmp_path):
    sources = ["books", "code", "text"]
    stages = recipe_record(books="prose", code="adjacent")
    corpus = write_corpus(tmp_path / "corpus", sources, stages)
    chosen = choose_policies(corpus, sources, {"text": "none"}, {})
    assert {name: policy.name for name, policy in chosen.items()} == {
        "books": "prose",
        "code": "adjacent",
        "text": "none",
    }


def test_what_is_wrong_with_the_choice_is_told_at_once(tmp_path):
    corpus = write_corpus(tmp_path / "corpus", ["books", "code", "text"])
    with pytest.raises(DataError) as error:
        choose_policies(
            corpus,
            ["books", "code", "text"],
            {"code": "cod", "txet": "prose"},
            {"text": ["floats.max=1"]},
        )
    books, code, text, unknown = str(error.value).split("\n")
    assert "source 'books': no policy is known" in books
    assert "--policy books=NAME" in books
    assert "did you mean 'code'" in code
    assert "source 'text'" in text
    assert "'max'" in text or "max:" in text
    assert unknown == "no source 'txet' to filter; there are books, code, text"


def test_the_command_says_what_it_has_done(tmp_path):
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    arguments = ["corpus", "filter", corpus, "--out", out, "--rule", "code.contains_0x=off"]
    plan = codemix(*arguments, "--dry-run", "--json")
    assert json.loads(plan.stdout)["options"]["policies"]["text"]["policy"] == "prose"
    assert not out.exists()
    shown = codemix(*arguments, "--dry-run").stdout
    assert "policies         code: code (" in shown
    assert "floats" in shown
    assert not any(mark in shown for mark in ("contains_0x", "{", "MIT"))
    done = codemix(*arguments, "--json", "--keep-dropped")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    rules = [one["rule"] for one in told["stage"]["options"]["policies"]["code"]["rules"]]
    assert "contains_0x" not in rules
    assert "floats" in rules
    assert told["is_complete"]
    assert (out / "dropped" / "text" / "part-00000.jsonl.zst").is_file()
    again = codemix(*arguments, "--keep-dropped")
    assert "complete already" in again.stdout
    assert "left out" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rule", "code"], "expected SOURCE.RULE=VALUE"),
        (["--policy", "code"], "expected SOURCE=POLICY"),
        (["--policy", "code=nothing"], "policy 'nothing': no such file"),
        (["--rule", "code.nothing=off"], "no rule 'nothing'"),
        (["--source", "nothing"], "has no source 'nothing'"),
    ],
)
def test_the_command_refuses_what_it_does_not_know(tmp_path, arguments, message):
    corpus = write_corpus(tmp_path / "corpus")
    done = codemix("corpus", "filter", corpus, "--out", tmp_path / "out", *arguments)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_the_command_lists_rules_and_policies():
    done = codemix("corpus", "filter", "--list-rules")
    assert done.returncode == 0, done.stderr
    assert "arXiv 2112.11446, section A.1.1" in done.stdout
    assert "max_floats = 1000" in done.stdout
    assert "policy none: no rule" in done.stdout


def test_a_conversation_is_left_out_rather_than_changed(tmp_path):
    chats = tmp_path / "chats.jsonl"
    chats.write_text(
        "".join(
            json.dumps({"instruction": question, "output": "An answer."}) + "\n"
            for question in ("Who is jane@company.com?", "Who is Jane?")
        )
    )
    made = ("corpus", "instructions", chats, "--kind", "text", "--out", tmp_path / "corpus")
    assert codemix(*made).returncode == 0
    asked = ("corpus", "filter", tmp_path / "corpus", "--policy", "text_instructions=adjacent")
    asked += ("--rule", "text_instructions.size=off", "--out")
    done = codemix(*asked, tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    record = load_corpus(tmp_path / "out")
    assert record is not None
    dropped = record.stages[-1].dropped["text_instructions"]
    assert dropped.counts == {CHANGED_CONVERSATION: 1}
    whole = codemix(*asked, tmp_path / "whole", "--rule", "text_instructions.mask=off", "--json")
    assert json.loads(whole.stdout)["sources"]["text_instructions"]["num_documents"] == 2


def test_a_source_that_is_nearly_lost_is_named(tmp_path):
    for source, licences in (("code", ["GPL-3.0-only"] * 39 + ["MIT"]), ("text", ["MIT"] * 40)):
        (tmp_path / "corpus").mkdir(exist_ok=True)
        lines = [json.dumps({"text": f"x = {n}", "licence": one}) for n, one in enumerate(licences)]
        (tmp_path / "corpus" / f"{source}.jsonl").write_text("\n".join(lines))
    asked = ("corpus", "filter", tmp_path / "corpus", "--policy", "text=none")
    (tmp_path / "mine.yaml").write_text("rules:\n  licences:\n")
    done = codemix(*asked, "--policy", "code=mine.yaml", "--out", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "source code: 1 of 40 documents are left; most went as 'licence'" in done.stderr
    assert "source text" not in done.stderr
