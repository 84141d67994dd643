"""Several shards of one tokenizer joined into one: their documents, shard after shard in the given
order, which is what megatron-core's IndexedDatasetBuilder.add_index writes.

A stateless order shuffles the whole of it anyway; only parts of one source that `codemix data
prepare --shard` made come together in their keyed order (see data/preparation/sorted_shards.py).
"""

import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from megatron_codemix.corpus.instructions.template import ChatTemplate
from megatron_codemix.data.shards.block_hashes import finish_tree, hash_blocks
from megatron_codemix.data.shards.index_file import HEADER_BYTES, read_header
from megatron_codemix.data.shards.layout import shard_file
from megatron_codemix.data.shards.manifest import Manifest
from megatron_codemix.data.shards.token_shard import TokenShard
from megatron_codemix.data.shards.unchecked_shard import open_unchecked
from megatron_codemix.data.shards.writer import TokenShardWriter
from megatron_codemix.errors import DataError
from megatron_codemix.files import atomic_path, hash_file

log = logging.getLogger(__name__)

Advance = Callable[[int], None]

_PIECE_TOKENS = 4 << 20
_PIECE_DOCUMENTS = 1 << 18


class MergedShard(NamedTuple):
    """`manifest` is None where one of the shards had none."""

    manifest: Manifest | None
    num_documents: int
    num_tokens: int
    was_complete: bool


def merge_shards(
    prefixes: Sequence[Path], out: Path, *, source: str | None = None, advance: Advance
) -> MergedShard:
    """Writes the shard `out`, whole or absent; every byte of the shards is hashed on the way.

    Where all have a manifest, so does the joined one: bytes and licences summed, documents.jsonl
    joined where all have one. source: its name, needed where theirs differ. A finished merge of the
    same shards is left as it is. `advance` is told of bytes read. Raises DataError.
    """
    if out in prefixes:
        raise DataError(f"{out}: is one of the shards to be joined; give another prefix")
    manifests = _manifests(prefixes)
    fields = None if manifests is None else _joined_fields(prefixes, manifests, source)
    if fields is not None and (finished := _finished(out, fields)) is not None:
        return finished
    dtypes = {str(prefix): read_header(shard_file(prefix, ".idx")).dtype for prefix in prefixes}
    if len(set(dtypes.values())) > 1:
        raise DataError(
            "shards of several token types cannot be joined: "
            + ", ".join(f"{prefix} {dtype}" for prefix, dtype in dtypes.items())
        )
    for number, prefix in enumerate(prefixes):
        if manifests is None:
            open_unchecked(prefix)
        else:
            _require_unchanged(prefix, manifests[number], advance)
    for leftover in out.parent.glob(f".{out.name}.*.tmp"):  # of a killed run
        leftover.unlink()
    template = _template(manifests)
    with TokenShardWriter(out, next(iter(dtypes.values())), template) as writer:
        for prefix in prefixes:
            answers = None if template is None else TokenShard.open(prefix).answers
            first = 0
            for tokens, lengths in _pieces(prefix, writer.dtype):
                stop = first + len(tokens)
                learned = None if answers is None else answers.between(first, stop)
                writer.append_block(tokens, lengths, learned)
                first = stop
                advance(tokens.nbytes)
        if fields is None:
            writer.finish_files()
            return MergedShard(None, writer.num_documents, writer.num_tokens, False)
        fields["origin"]["documents_sha256"] = _join_lines(prefixes, out)
        manifest = writer.finish(**fields)
    return MergedShard(manifest, manifest.num_documents, manifest.num_tokens, False)


def bytes_to_read(prefixes: Sequence[Path]) -> int:
    """What a merge of these shards will tell `advance` of: tokens, before that what is hashed."""
    paths = [shard_file(prefix, ".bin") for prefix in prefixes]
    if all(shard_file(prefix, ".manifest.json").exists() for prefix in prefixes):
        suffixes = (".bin", ".idx", ".answers")
        paths += [shard_file(prefix, suffix) for prefix in prefixes for suffix in suffixes]
    return sum(path.stat().st_size for path in paths if path.exists())


def _manifests(prefixes: Sequence[Path]) -> list[Manifest] | None:
    paths = [shard_file(prefix, ".manifest.json") for prefix in prefixes]
    missing = [path for path in paths if not path.exists()]
    if not missing:
        return [Manifest.load(path) for path in paths]
    if len(missing) < len(paths):
        log.warning("%s: missing, so the joined shard gets no manifest", missing[0])
    return None


def _joined_fields(
    prefixes: Sequence[Path], manifests: Sequence[Manifest], source: str | None
) -> dict[str, Any]:
    """Of the joined manifest. Raises DataError that names all in which the shards differ."""
    same = ["split", "tokenizer_hash", "vocabulary_size", "end_of_document_id"]
    same += ["source"] if source is None else []
    problems = []
    templates = [manifest.answers and manifest.answers.template_sha256 for manifest in manifests]
    if len(set(templates)) > 1:
        found = ", ".join(
            f"{p} {m.answers.template if m.answers else 'none'}"
            for p, m in zip(prefixes, manifests, strict=True)
        )
        problems.append(
            f"the shards differ in their chat template: {found}; prepare them with one "
            "(--chat-template)"
        )
    for name in same:
        values = [getattr(manifest, name) for manifest in manifests]
        if len(set(values)) > 1:
            advice = "; name the joined source with --source" if name == "source" else ""
            found = ", ".join(f"{p} {v}" for p, v in zip(prefixes, values, strict=True))
            problems.append(f"the shards differ in {name}: {found}{advice}")
    if problems:
        raise DataError(*problems)
    licences: Counter[str] = Counter()
    for manifest in manifests:
        licences.update(manifest.licences)
    first = manifests[0]
    return {
        "source": source or first.source,
        "split": first.split,
        "tokenizer_hash": first.tokenizer_hash,
        "vocabulary_size": first.vocabulary_size,
        "end_of_document_id": first.end_of_document_id,
        "num_bytes": sum(manifest.num_bytes for manifest in manifests),
        "licences": dict(sorted(licences.items())),
        "origin": {
            "merged": [
                {"shard": prefix.name, "content_hash": manifest.content_hash}
                for prefix, manifest in zip(prefixes, manifests, strict=True)
            ]
        },
    }


def _template(manifests: Sequence[Manifest] | None) -> ChatTemplate | None:
    """Of shards of conversations, which all have one."""
    answers = manifests[0].answers if manifests else None
    return None if answers is None else answers.chat_template


def _finished(out: Path, fields: dict[str, Any]) -> MergedShard | None:
    try:
        manifest = Manifest.load(shard_file(out, ".manifest.json"))
        size = shard_file(out, ".bin").stat().st_size
    except (DataError, OSError):
        return None
    is_same = manifest.origin.get("merged") == fields["origin"]["merged"]
    if not is_same or size != manifest.num_tokens * np.dtype(manifest.dtype).itemsize:
        return None
    if manifest.source != fields["source"]:
        return None
    return MergedShard(manifest, manifest.num_documents, manifest.num_tokens, True)


def _require_unchanged(prefix: Path, manifest: Manifest, advance: Advance) -> None:
    with tempfile.TemporaryFile() as blocks:
        for suffix in (".bin", ".idx", *((".answers",) if manifest.answers else ())):
            hash_blocks(shard_file(prefix, suffix), blocks, advance)
        if finish_tree(blocks) != manifest.blocks_root:
            raise DataError(
                f"{prefix}: has changed since its manifest was written; `codemix data verify "
                f"{prefix}` says where"
            )


def _pieces(
    prefix: Path, dtype: np.dtype[Any]
) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[np.int32]]]:
    """Tokens of some documents and their lengths, from the first document to the last."""
    index_path = shard_file(prefix, ".idx")
    left = read_header(index_path).num_sequences
    with open(index_path, "rb") as index, open(shard_file(prefix, ".bin"), "rb") as data:
        index.seek(HEADER_BYTES)
        while left:
            lengths = np.fromfile(index, np.int32, min(left, _PIECE_DOCUMENTS))
            left -= len(lengths)
            while len(lengths):
                ends = np.cumsum(lengths, dtype=np.int64)
                count = max(1, int(np.searchsorted(ends, _PIECE_TOKENS, side="right")))
                tokens = np.fromfile(data, dtype, int(ends[count - 1]))
                yield tokens, lengths[:count]
                lengths = lengths[count:]


def _join_lines(prefixes: Sequence[Path], out: Path) -> str | None:
    """Joins documents.jsonl; returns its sha256, or None where a shard has none."""
    paths = [shard_file(prefix, ".documents.jsonl") for prefix in prefixes]
    joined = shard_file(out, ".documents.jsonl")
    if not all(path.exists() for path in paths):
        joined.unlink(missing_ok=True)
        return None
    with atomic_path(joined) as temporary, open(temporary, "wb") as lines:
        for path in paths:
            with open(path, "rb") as part:
                shutil.copyfileobj(part, lines, 1 << 20)
    return hash_file(joined)
