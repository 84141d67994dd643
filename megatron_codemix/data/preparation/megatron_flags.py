"""The command line of Megatron-LM's tools/preprocess_data.py (core 0.16): each flag is honoured, or
refused by name with the reason."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megatron_codemix.corpus.readers import InputFile, expand_patterns
from megatron_codemix.data.preparation.input_blocks import is_readable
from megatron_codemix.data.tokenizer import END_OF_DOCUMENT, Tokenizer
from megatron_codemix.errors import ConfigError, DataError

_NO_SENTENCES = "documents are not split into sentences; that is for BERT's and T5's data"
_NO_SEARCH = "workers share nothing, so as many as there are cores is best; name it with --workers"
_NO_SENTENCEPIECE = "only byte-level tokenizers are supported, as a tokenizer.json"
_NO_TIKTOKEN = "only a tokenizer.json is read; convert the tokenizer to one"
_NO_NULL = "the null tokenizer is for tests of Megatron-LM"

REFUSED: dict[str, str] = {
    "--split-sentences": _NO_SENTENCES,
    "--keep-newlines": _NO_SENTENCES,
    "--lang": _NO_SENTENCES,
    "--find-optimal-num-workers": _NO_SEARCH,
    "--workers-to-check": _NO_SEARCH,
    "--max-documents": _NO_SEARCH,
    "--performance-dir": _NO_SEARCH,
    "--vocab-size": "the size is the tokenizer's own",
    "--padded-vocab-size": "the size is the tokenizer's own; padding is the model's affair",
    "--vocab-extra-ids": "no token is added to a tokenizer; add it to the tokenizer.json",
    "--tokenizer-special-tokens": "no token is added to a tokenizer; add it to the tokenizer.json",
    "--special-tokens": "no token is added to a tokenizer; add it to the tokenizer.json",
    "--tokenizer-metadata": "the kind of tokenizer is told by --tokenizer-type",
    "--tokenizer-prompt-format": "documents are plain text; chat templates are not applied",
    "--sft-tokenizer-prompt-format": "documents are plain text; chat templates are not applied",
    "--chat-template": "documents are plain text; chat templates are not applied",
    "--image-tag-type": "documents are plain text",
    "--force-system-message": "documents are plain text; chat templates are not applied",
    "--trust-remote-code": "no code comes with a tokenizer.json",
    "--tokenizer-hf-include-special-tokens": "the tokens around a text are those of the tool: none "
    "before, with --append-eod one after it",
    "--tokenizer-hf-no-use-fast": "only the fast tokenizers (tokenizer.json) are read",
    "--tokenizer-sentencepiece-legacy": _NO_SENTENCEPIECE,
    "--tiktoken-pattern": _NO_TIKTOKEN,
    "--tiktoken-num-special-tokens": _NO_TIKTOKEN,
    "--tiktoken-special-tokens": _NO_TIKTOKEN,
    "--null-tokenizer-eod-id": _NO_NULL,
    "--null-tokenizer-pad-id": _NO_NULL,
}
"""Flag -> why it has no meaning here."""

_WITHOUT_EFFECT = {
    "--log-interval": "progress is reported every ten seconds",
    "--dataset-impl": "older versions' name of the one format",
    "--chunk-size": "of older versions; a worker takes a block of the input here",
    "--legacy-tokenizer": "the tokens are the same either way",
    "--tokenizer-hf-use-fast": "it is always so here",
    "--tokenizer-hf-no-include-special-tokens": "it is always so here",
}

_REFUSED_TYPES = {
    "BertWordPieceLowerCase": "word pieces are not byte-level",
    "BertWordPieceCase": "word pieces are not byte-level",
    "SentencePieceTokenizer": _NO_SENTENCEPIECE,
    "GPTSentencePieceTokenizer": _NO_SENTENCEPIECE,
    "Llama2Tokenizer": _NO_SENTENCEPIECE,
    "TikTokenizer": _NO_TIKTOKEN,
    "MultimodalTokenizer": "documents are plain text",
    "NullTokenizer": _NO_NULL,
    "NullMultimodalTokenizer": _NO_NULL,
    "SFTTokenizer": "documents are plain text; chat templates are not applied",
}
_HONOURED_TYPES = ("HuggingFaceTokenizer", "GPT2BPETokenizer")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the command line asks for, all of it possible."""

    files: list[InputFile]
    tokenizer: Tokenizer
    output_prefix: Path
    keys: list[str]
    appends_eod: bool
    num_workers: int


def read_flags(arguments: Sequence[str] | None = None) -> Request:
    """Raises ConfigError with every refused flag, DataError for files that are not there."""
    given = _parser().parse_args(arguments)
    problems = [
        f"{flag}: {reason}"
        for flag, reason in REFUSED.items()
        if getattr(given, _destination(flag)) is not None
    ]
    problems += _tokenizer_problems(given)
    if given.workers < 1:
        problems.append(f"--workers {given.workers}: at least 1")
    if given.partitions < 1 or given.workers % given.partitions:
        problems.append(
            f"--partitions {given.partitions}: does not divide --workers {given.workers}"
        )
    if given.partitions > 1 and not given.keep_sequential_samples:
        problems.append(
            f"--partitions {given.partitions}: would deal the documents to the partitions in turn; "
            "with --keep-sequential-samples they stay in order, and --workers alone is as fast"
        )
    if problems:
        raise ConfigError(problems)
    return Request(
        files=_files(given.input),
        tokenizer=_tokenizer(given),
        output_prefix=Path(given.output_prefix),
        keys=list(dict.fromkeys(given.json_keys)),
        appends_eod=given.append_eod,
        num_workers=given.workers,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        description="JSON lines (.gz, .zst) or Parquet to Megatron's .bin and .idx, documents in "
        "their order. Goes on after a kill. Flags are Megatron-LM's; one without a meaning here is "
        "refused with the reason.",
    )
    parser.add_argument("--input", nargs="+", required=True, help="files, folders or globs")
    parser.add_argument("--json-keys", nargs="+", default=["text"], help="fields to tokenise")
    parser.add_argument("--output-prefix", required=True, help="<prefix>_<key>_document.bin, .idx")
    parser.add_argument("--tokenizer-type", required=True, help=" or ".join(_HONOURED_TYPES))
    parser.add_argument("--tokenizer-model", help="tokenizer.json, or the folder that it is in")
    parser.add_argument("--vocab-file", help="vocab.json of GPT2BPETokenizer")
    parser.add_argument("--merge-file", help="merges.txt of GPT2BPETokenizer")
    parser.add_argument("--append-eod", action="store_true", help="end each document with a token")
    parser.add_argument("--workers", type=int, required=True, help="processes")
    parser.add_argument("--partitions", type=int, default=1, help="only with sequential samples")
    parser.add_argument("--keep-sequential-samples", action="store_true", help="always so here")
    for flag, reason in _WITHOUT_EFFECT.items():
        parser.add_argument(flag, nargs="*", help=f"taken without effect: {reason}")
    for flag, reason in REFUSED.items():
        parser.add_argument(flag, nargs="*", help=f"refused: {reason}")
    return parser


def _destination(flag: str) -> str:
    return flag.removeprefix("--").replace("-", "_")


def _tokenizer_problems(given: argparse.Namespace) -> list[str]:
    kind = given.tokenizer_type
    if kind in _REFUSED_TYPES:
        return [f"--tokenizer-type {kind}: {_REFUSED_TYPES[kind]}"]
    if kind not in _HONOURED_TYPES:
        return [f"--tokenizer-type {kind}: expected {' or '.join(_HONOURED_TYPES)}"]
    needed = (
        ("tokenizer_model",) if kind == "HuggingFaceTokenizer" else ("vocab_file", "merge_file")
    )
    return [
        f"--{name.replace('_', '-')}: is needed for --tokenizer-type {kind}"
        for name in needed
        if getattr(given, name) is None
    ]


def _files(patterns: Sequence[str]) -> list[InputFile]:
    files = expand_patterns(patterns)
    folders = [pattern for pattern in patterns if Path(pattern).is_dir()]
    readable = [file for file in files if is_readable(file.name)]
    unreadable = [file for file in files if not is_readable(file.name)]
    if not readable or (unreadable and not folders):
        raise DataError(
            f"{unreadable[0].path}: not JSON lines or Parquet by its name; expected .jsonl, "
            ".ndjson, .json or .parquet, as they are or with .gz or .zst"
        )
    return readable


def _tokenizer(given: argparse.Namespace) -> Tokenizer:
    if given.tokenizer_type == "GPT2BPETokenizer":
        content = _gpt2_tokenizer(Path(given.vocab_file), Path(given.merge_file))
        path = Path(given.vocab_file)
        return Tokenizer(
            content, path, end_of_document=END_OF_DOCUMENT, matches_special_tokens=True
        )
    path = Path(given.tokenizer_model)
    if path.is_dir():
        end = _end_of_sequence(path)
        path = path / "tokenizer.json"
    else:
        end = _end_of_sequence(path.parent)
    if not path.is_file():
        raise DataError(
            f"{path}: no such file; --tokenizer-model names a tokenizer.json or the folder that it "
            "is in (nothing is downloaded)"
        )
    return Tokenizer.load(path, end_of_document=end, matches_special_tokens=True)


def _end_of_sequence(folder: Path) -> str | None:
    """The tokenizer's eos_token, as transformers finds it; None where nothing says."""
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        try:
            record: Any = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        token = record.get("eos_token") if isinstance(record, dict) else None
        token = token.get("content") if isinstance(token, dict) else token
        if isinstance(token, str):
            return token
    return None


def _gpt2_tokenizer(vocabulary: Path, merges: Path) -> str:
    """tokenizer.json of GPT-2's files. Raises DataError."""
    from tokenizers import AddedToken, decoders, models, pre_tokenizers
    from tokenizers import Tokenizer as Backend

    try:
        backend = Backend(models.BPE.from_file(str(vocabulary), str(merges)))
    except Exception as error:  # tokenizers raises bare Exception
        raise DataError(
            f"{vocabulary}, {merges}: not GPT-2's vocabulary and merges ({error})"
        ) from error
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(END_OF_DOCUMENT, special=True)])
    return str(backend.to_str())
