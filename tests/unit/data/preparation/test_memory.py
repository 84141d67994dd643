"""Memory does not grow with the input: the peak of a process that prepares 96 MB."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from megatron_codemix.data.tokenizer_training import train_tokenizer

MAX_BYTES = 300 << 20
PREPARE = """
import sys
from pathlib import Path
from megatron_codemix.corpus.readers import InputFile
from megatron_codemix.data.preparation.megatron_blocks import preprocess
from megatron_codemix.data.preparation.prepare import prepare_corpus
from megatron_codemix.data.tokenizer import Tokenizer

kind, folder = sys.argv[1], Path(sys.argv[2])
tokenizer, corpus = folder / "tokenizer.json", folder / "corpus"
if kind == "prepare":
    prepare_corpus(corpus, tokenizer, folder / "out")
else:
    preprocess(
        [InputFile(corpus / "text.jsonl", "text.jsonl")], Tokenizer.load(tokenizer),
        folder / "shard", keys=["text"], appends_eod=True, num_workers=1,
        advance=lambda num_bytes: None,
    )
# Not getrusage: its peak begins with that of the process that started this one.
status = Path("/proc/self/status").read_text().split()
print(int(status[status.index("VmHWM:") + 1]) * 1024)
"""


def lines(count: int) -> Iterator[str]:
    """Of about 24 kB each."""
    numbers = random.Random(2)
    words = ["".join(numbers.choices("abcdefghij", k=5)) for _ in range(500)]
    text = " ".join(numbers.choices(words, k=4000))
    for number in range(count):
        yield json.dumps({"id": number, "text": f"{number} {text[number % 3000 :]}"}) + "\n"


@pytest.mark.parametrize("kind", ["prepare", "preprocess"])
def test_the_peak_is_below_300_mib(tmp_path: Path, kind: str):
    (tmp_path / "corpus").mkdir()
    path = tmp_path / "corpus" / "text.jsonl"
    path.write_text("".join(lines(20)))
    train_tokenizer(tmp_path / "corpus", 400, tmp_path / "tokenizer.json", max_bytes=100_000)
    with open(path, "w", encoding="utf-8") as handle:
        handle.writelines(lines(4000))
    assert path.stat().st_size > 80_000_000
    done = subprocess.run(
        [sys.executable, "-c", PREPARE, kind, str(tmp_path)],
        cwd=Path(__file__).parents[4],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) < MAX_BYTES
