"""Commits of a clone: each once, with its message and changes, without those who made it."""

import os
import random
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.readers import Skipped, read_documents
from megatron_codemix.corpus.readers.commit_messages import without_people
from megatron_codemix.corpus.readers.commits import clone_inputs
from megatron_codemix.errors import DataError, UnavailableError

PEOPLE = {"GIT_AUTHOR_NAME": "Ada Author", "GIT_AUTHOR_EMAIL": "ada@example.org"} | {
    "GIT_COMMITTER_NAME": "Carl Committer",
    "GIT_COMMITTER_EMAIL": "carl@example.org",
}
NAMES = re.compile(r"Ada|Carl|Rita|example\.org")


def git(folder: Path, *arguments: str, seconds: int = 1_600_000_000) -> str:
    """Runs git as those people, at that time."""
    date = f"{seconds} +0200"
    place = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        env={**os.environ, **PEOPLE, **place, "GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date},
        capture_output=True,
        check=True,
    )
    return done.stdout.decode(errors="replace")


def commit(folder: Path, message: str, files: dict[str, bytes], seconds: int) -> str:
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_bytes(content)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", message, seconds=seconds)
    return git(folder, "rev-parse", "HEAD").strip()


MESSAGES = [
    "Begin",
    "Add a function\n\nIt adds.\n\nSigned-off-by: Ada Author <ada@example.org>\n"
    "Co-authored-by: Rita Reader <rita@example.org>",
    "Change it, as <rita@example.org> has asked\n\nCc: stable@example.org\nFixes: a\n"
    "commit abc def",
    "Rename",
    "Nothing",
]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five commits in a line, one on a branch, and the merge of both."""
    folder = tmp_path_factory.mktemp("clones") / "project"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    text = b"def add(a, b):\n    return a + b\n"
    commit(folder, MESSAGES[0], {"README.md": b"# Project\n"}, 1_600_000_000)
    commit(folder, MESSAGES[1], {"a.py": text, "caf\u00e9.txt": b"x\n"}, 1_600_000_100)
    commit(folder, MESSAGES[2], {"a.py": text.replace(b"a + b", b"b + a")}, 1_600_000_200)
    git(folder, "branch", "side")
    git(folder, "mv", "a.py", "b.py")
    commit(folder, MESSAGES[3], {}, 1_600_086_400)
    commit(folder, MESSAGES[4], {}, 1_600_086_500)
    git(folder, "checkout", "--quiet", "side")
    commit(folder, "On the side", {"side.py": b"pass\n"}, 1_600_090_000)
    git(folder, "checkout", "--quiet", "main")
    git(folder, "merge", "--quiet", "--no-ff", "-m", "Merge side", "side", seconds=1_600_100_000)
    return folder


def read(
    clone: Path, skipped: Skipped | None = None, at_once: int = 100, max_bytes: int = 1 << 20
) -> list[Document]:
    inputs = clone_inputs(clone, "project", at_once)
    return list(read_documents(inputs, "commits", skipped or Skipped(), max_bytes=max_bytes))


def test_each_commit_is_a_document_with_its_message_and_changes(clone: Path):
    skipped = Skipped()
    documents = {one.metadata["commit"]: one for one in read(clone, skipped)}
    hashes = git(clone, "rev-list", "--no-merges", "HEAD").split()
    empty = git(clone, "log", "--format=%H", "--grep=^Nothing$").strip()
    assert list(documents) == [name for name in hashes if name != empty]
    assert skipped.names == {"commit without changes": [f"project@{empty}"]}
    for name, document in documents.items():
        assert document.id == f"project@{name}"
        assert (document.origin, document.path, document.licence) == ("project", "project", None)
        subject = git(clone, "show", "-s", "--format=%s", name).strip()
        assert document.text.startswith(subject.replace("<rita@example.org>", "<EMAIL>"))
        patch = git(clone, "-c", "core.quotePath=false", "show", "--format=", name)
        lines = [line for line in patch.splitlines() if not line.startswith("index ")]
        assert document.text.endswith("\n\n" + "\n".join(lines).strip() + "\n")
    dates = [one.metadata["date"] for one in documents.values()]
    assert dates == ["2020-09-14", "2020-09-14", "2020-09-13", "2020-09-13", "2020-09-13"]


def test_nobody_is_named(clone: Path):
    documents = read(clone)
    assert not NAMES.search("".join(one.text for one in documents))
    texts = [one.text for one in documents]
    (added,) = [text for text in texts if text.startswith("Add a function")]
    assert added.startswith("Add a function\n\nIt adds.\n\ndiff --git a/a.py b/a.py\n")
    (changed,) = [text for text in texts if text.startswith("Change it")]
    assert changed.startswith(
        "Change it, as <EMAIL> has asked\n\nFixes: a\ncommit abc def\n\ndiff --git"
    )


def test_changes_of_notebooks_are_left_out(tmp_path: Path):
    """Also where their lines are longer than a document may be."""
    git(tmp_path, "init", "--quiet")
    notebook = b'{"image": "' + b"A" * 5000 + b'"}\n'
    both = {"a.py": b"pass\n", "caf\u00e9 1.ipynb": notebook, "z.py": b"diff --git a/b.ipynb\n"}
    commit(tmp_path, "Two kinds", both, 1_600_000_000)
    commit(tmp_path, "Notebook only", {"b.ipynb": notebook}, 1_600_000_100)
    skipped = Skipped()
    (document,) = read(tmp_path, skipped, max_bytes=3000)
    assert skipped.counts == {"commit without changes": 1}
    files = re.findall("^diff --git (.*)$", document.text, re.MULTILINE)
    assert files == ["a/a.py b/a.py", "a/z.py b/z.py"]
    assert document.text.endswith("\n+diff --git a/b.ipynb\n")


@pytest.mark.parametrize("at_once", [1, 2, 3, 5, 6])
def test_pieces_of_a_clone_have_each_commit_once(clone: Path, at_once: int):
    whole, skipped = read(clone), Skipped()
    assert read(clone, skipped, at_once) == whole
    assert skipped.counts == {"commit without changes": 1}
    inputs = clone_inputs(clone, "project", at_once)
    assert sum(one.count for one in inputs) == 6
    assert len({one.name for one in inputs}) == len({one.state() for one in inputs}) == len(inputs)


def test_settings_and_attributes_change_nothing(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = read(clone)
    other = tmp_path / "project"
    git(tmp_path, "clone", "--quiet", str(clone), str(other))
    settings = """
        diff.noprefix=true diff.context=0 diff.algorithm=patience diff.renames=false
        diff.external=false diff.mnemonicPrefix=true color.ui=always log.showSignature=true
        core.abbrev=5 core.quotePath=true diff.relative=true diff.suppressBlankEmpty=true
        log.diffMerges=on log.date=raw format.pretty=oneline log.showRoot=false
        diff.shout.textconv=touch\\ TOUCHED diff.interHunkContext=9 i18n.logOutputEncoding=latin1
        diff.indentHeuristic=false diff.submodule=log core.pager=false diff.orderFile=order
    """
    for setting in settings.split("\n"):
        for one in re.split(r"(?<!\\) +", setting.strip()):
            if one:
                name, _, value = one.partition("=")
                git(other, "config", name, value.replace("\\ ", " "))
    (other / ".gitattributes").write_text(
        "*.py -diff\n*.md diff=shout\n* working-tree-encoding=x\n"
    )
    (other / ".git" / "info").mkdir(exist_ok=True)
    (other / ".git" / "info" / "attributes").write_text("*.py -diff\n*.md diff=shout\n")
    head = git(other, "rev-parse", "HEAD").strip()
    git(other, "replace", head, f"{head}~2")
    (other / "order").write_text("*.txt\n")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "false")
    monkeypatch.setenv("GIT_DIFF_OPTS", "-u0")
    assert read(other) == whole
    assert not (other / "TOUCHED").exists()


def test_a_bare_clone_and_a_work_tree_are_clones_too(clone: Path, tmp_path: Path):
    whole = read(clone)
    git(tmp_path, "clone", "--quiet", "--bare", str(clone), str(tmp_path / "bare.git"))
    assert read(tmp_path / "bare.git") == whole
    git(clone, "worktree", "add", "--quiet", "--detach", str(tmp_path / "tree"))
    assert read(tmp_path / "tree") == whole


def test_a_shallow_clone_is_refused_with_the_way_out(clone: Path, tmp_path: Path):
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "--quiet", "--depth=2", f"file://{clone}", str(shallow))
    with pytest.raises(DataError, match=r"shallow clone.*git -C .*shallow fetch --unshallow"):
        clone_inputs(shallow, "project")
    git(shallow, "fetch", "--quiet", "--unshallow")
    assert read(shallow) == read(clone)


def test_a_partial_clone_is_refused(clone: Path, tmp_path: Path):
    git(clone, "config", "uploadpack.allowFilter", "true")
    part = tmp_path / "part"
    git(tmp_path, "clone", "--quiet", "--filter=blob:none", f"file://{clone}", str(part))
    with pytest.raises(DataError, match=r"partial clone.*clone it without --filter"):
        clone_inputs(part, "project")


def test_what_is_no_clone_is_refused(clone: Path, tmp_path: Path):
    (tmp_path / "plain").mkdir()
    (clone / "folder").mkdir(exist_ok=True)
    for place in (tmp_path / "plain", clone / "folder"):
        with pytest.raises(DataError, match=r"git cannot read it as a clone .fatal: not a git"):
            clone_inputs(place, "project")
    git(tmp_path / "plain", "init", "--quiet")
    with pytest.raises(DataError, match="has no commits"):
        clone_inputs(tmp_path / "plain", "project")


def test_a_damaged_clone_is_refused(clone: Path, tmp_path: Path):
    other = tmp_path / "project"
    git(tmp_path, "clone", "--quiet", "--no-hardlinks", str(clone), str(other))
    (inputs,) = clone_inputs(other, "project")
    for path in (other / ".git" / "objects").rglob("*"):
        if path.is_file():
            path.chmod(0o644)
            path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(DataError, match="git cannot read it as a clone"):
        list(read_documents([inputs], "commits", Skipped()))


def test_what_cannot_be_a_document_is_counted(tmp_path: Path):
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "--quiet")
    commit(folder, "One line", {"a.js": b"x" * 100_000}, 1_600_000_000)
    commit(folder, "Many lines", {"a.js": b"y\n" * 50_000}, 1_600_000_100)
    commit(folder, "Latin", {"b.txt": b"caf\xe9\n"}, 1_600_000_200)
    commit(folder, "Binary", {"c.bin": bytes(range(256))}, 1_600_000_300)
    commit(folder, "Last", {"d.txt": b"index of things\n"}, 1_600_000_400)
    skipped = Skipped()
    documents = read(folder, skipped, max_bytes=60_000)
    assert [one.text.split("\n")[0] for one in documents] == ["Last", "Binary"]
    assert "+index of things" in documents[0].text
    assert "Binary files /dev/null and b/c.bin differ" in documents[1].text
    assert skipped.counts == {"longer than 0 MiB": 2, "not UTF-8": 1}


def test_a_notebook_that_gets_another_name_is_left_out(tmp_path: Path):
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    cells = b"".join(b'{"cell_type": "code", "source": "x = %d"},\n' % n for n in range(30))
    commit(folder, "Notebooks", {"n.ipynb": cells, "a b.ipynb": cells}, 1_600_000_000)
    for name in ("n", "a b"):
        git(folder, "mv", f"{name}.ipynb", f"{name}.json")
        (folder / f"{name}.json").write_bytes(cells.replace(b"29", b"30"))
    commit(folder, "Rename", {"b.py": b"pass\n"}, 1_600_000_100)
    [found] = read(folder)
    assert found.text.startswith("Rename\n\ndiff --git a/b.py b/b.py\n")
    assert "cell_type" not in found.text
    assert "ipynb" not in found.text


def test_names_are_found_as_a_slow_expression_finds_them():
    person = re.compile(
        r"^\s*(?:[A-Za-z-]+-by|cc|author|from|co-author|committer)\s*:.*$"
        r"|^\s*[\w-]+:\s.*<\S+@\S+>\s*$",
        re.IGNORECASE,
    )
    mail = re.compile(r"<?[\w.+-]+@[\w-]+(?:\.[\w-]+)+>?")
    chance = random.Random(1)
    for _ in range(20_000):
        line = "".join(chance.choices("aB: <>@.-+\t", k=chance.randrange(14)))
        line = chance.choice(["", " ", "x: ", "cc :", "Signed-off-by: "]) + line
        expected = "" if person.match(line) else mail.sub("<EMAIL>", line).strip()
        assert without_people(line) == expected, line


@pytest.mark.parametrize("line", ["a" * 200_000, "a: " + "<@" * 100_000, "<" * 200_000 + ">"])
def test_a_long_word_takes_no_time(line: str):
    start = time.process_time()
    without_people(line)
    assert time.process_time() - start < 1, "seconds; by the square of its length, minutes"


@pytest.mark.parametrize("name", ['q"uote', "b\\ack", "col:on", "sp ace", "caf\u00e9", "#hash"])
def test_a_clone_may_lie_anywhere(clone: Path, tmp_path: Path, name: str):
    shutil.copytree(clone, tmp_path / name)
    assert read(tmp_path / name) == read(clone)


def test_a_clone_of_longer_hashes_is_read(tmp_path: Path):
    git(tmp_path, "init", "--quiet", "--object-format=sha256", "project")
    head = commit(tmp_path / "project", "One", {"a.py": b"a\n"}, 1_600_000_000)
    assert len(head) == 64
    [found] = read(tmp_path / "project")
    assert found.metadata["commit"] == head


@pytest.mark.parametrize("date", [b" 999999999999 +0000", b" 99999999999999999999 +0000", b""])
def test_a_commit_with_an_odd_date_has_none(tmp_path: Path, date: bytes):
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, "One", {"a.py": b"a\n"}, 1_600_000_000)
    commit(folder, "Two", {"a.py": b"b\n"}, 1_600_000_000)
    raw = git(folder, "cat-file", "commit", "HEAD").encode()
    odd = re.sub(rb"(?m)^(committer .*>) .*$", lambda found: found[1] + date, raw)
    write = [
        "git",
        "-C",
        str(folder),
        "hash-object",
        "-t",
        "commit",
        "-w",
        "--literally",
        "--stdin",
    ]
    made = subprocess.run(write, input=odd, capture_output=True, check=True).stdout
    git(folder, "update-ref", "refs/heads/main", made.decode().strip())
    found = read(folder)
    assert [one.text.split("\n")[0] for one in found] == ["Two", "One"]
    assert [one.metadata.get("date") for one in found] == [None, "2020-09-13"]


def test_without_git_the_missing_program_is_named(clone: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UnavailableError, match="git is not installed"):
        clone_inputs(clone, "project")
