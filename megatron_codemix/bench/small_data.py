"""Data for a training that takes seconds: the Python installation's own sources."""

import json
import shutil
import sysconfig
from pathlib import Path

from tokenizers import Tokenizer

from megatron_codemix.data.preparation.prepare import prepare_corpus
from megatron_codemix.data.tokenizer_training import train_tokenizer

SOURCES = ("a", "b")
_FILES_OF_A_SOURCE = 60
_MAX_TEXT = 20_000


def write_small_data(folder: Path, vocabulary_size: int, *, entries: int | None = None) -> Path:
    """The folder of `tokenizer.json`, with so many entries, and of a shard of some 300,000 tokens
    for each of SOURCES; in some seconds. What a killed call has left of it goes first.

    entries: as many as a model has that is larger than such a text; no text becomes one of them.
    """
    corpus, data = folder / "corpus", folder / "data"
    for place in (corpus, data):
        shutil.rmtree(place, ignore_errors=True)
    _write_corpus(corpus)
    data.mkdir()
    path = data / "tokenizer.json"
    train_tokenizer(corpus, vocabulary_size, path)
    if entries is not None:
        tokenizer = Tokenizer.from_file(str(path))
        missing = entries - tokenizer.get_vocab_size()
        tokenizer.add_special_tokens([f"<|unused{number}|>" for number in range(missing)])
        tokenizer.save(str(path))
    prepare_corpus(corpus, path, data)
    return data


def _write_corpus(folder: Path) -> None:
    folder.mkdir()
    paths = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    for number, source in enumerate(SOURCES):
        chosen = paths[number :: len(SOURCES)][:_FILES_OF_A_SOURCE]
        texts = (path.read_text(encoding="utf-8", errors="ignore")[:_MAX_TEXT] for path in chosen)
        lines = (json.dumps({"text": text}) for text in texts if text.strip())
        (folder / f"{source}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
