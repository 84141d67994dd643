"""The data that a study needs, as found on disk: hashes for identities, sizes for epochs, and what
is missing."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from megatron_codemix.config.mixture_checks import weighted_sources
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.data.conversations import conversation_problems
from megatron_codemix.data.shards.manifest import Manifest, manifest_command
from megatron_codemix.data.tokenizer import tokenizer_hash
from megatron_codemix.errors import DataError


class Inventory:
    """Reads each file at most once; a file that is not there is remembered in `missing`, a damaged
    one raises.

    stated_tokens: tokens that are said to be there of a source whose shard is not.
    """

    def __init__(self, stated_tokens: Mapping[str, int] | None = None) -> None:
        self.stated_tokens = dict(stated_tokens or {})
        self.missing: list[str] = []
        self._tokenizers: dict[Path, str | None] = {}
        self._entries: dict[Path, int] = {}
        self._manifests: dict[Path, Manifest | None] = {}

    def tokenizer_hash(self, path: Path) -> str | None:
        """Hash of a `tokenizer.json`; None where it is missing."""
        if path not in self._tokenizers:
            there = self._exists(path, "tokenizer")
            self._tokenizers[path] = tokenizer_hash(path) if there else None
        return self._tokenizers[path]

    def tokenizer_entries(self, path: Path) -> int | None:
        """Entries of a `tokenizer.json`, added ones included; None where it is missing."""
        if self.tokenizer_hash(path) is None:
            return None
        if path not in self._entries:
            self._entries[path] = _count_entries(path)
        return self._entries[path]

    def manifest(self, prefix: Path, *, remedy: str = "") -> Manifest | None:
        """Manifest of the token shard `prefix`; None where it is missing. remedy: the command that
        writes a damaged one anew."""
        if prefix not in self._manifests:
            path = prefix.with_name(prefix.name + ".manifest.json")
            there = self._exists(path, "token shard")
            self._manifests[prefix] = Manifest.load(path, remedy=remedy) if there else None
        return self._manifests[prefix]

    def manifests(self, config: RunConfig) -> dict[str, Manifest]:
        """Of the sources that the run's mixture may read, as far as they are there."""
        found = {
            name: self.manifest(config.data.sources[name].train)
            for name in sorted(weighted_sources(config.data))
        }
        return {name: manifest for name, manifest in found.items() if manifest}

    def num_tokens(self, config: RunConfig) -> dict[str, int]:
        """Tokens of each source of the run: in its shard, else as stated; without those of which
        neither is known."""
        found = dict(self.stated_tokens)
        for name, source in config.data.sources.items():
            manifest = self.manifest(source.train)
            if manifest is not None:
                found[name] = manifest.num_tokens
        return {name: found[name] for name in config.data.sources if name in found}

    def content_hashes(self, config: RunConfig) -> dict[str, str]:
        """Of the shards of all sources, read or not, as far as they are there."""
        found = {name: self.manifest(source.train) for name, source in config.data.sources.items()}
        return {name: manifest.content_hash for name, manifest in found.items() if manifest}

    def check_fit(self, config: RunConfig, *, is_trained: bool = True) -> list[str]:
        """Where model, tokenizer and shards of `config` do not fit one another, as far as the files
        are there. is_trained: whether the model matters."""
        wanted = self.tokenizer_hash(config.tokenizer.path)
        problems = self._check_vocabulary(config) if is_trained else []
        read = weighted_sources(config.data)
        for name, source in config.data.sources.items():
            remedy = manifest_command(source.train, config.tokenizer.path, name, "train")
            manifest = self.manifest(source.train, remedy=remedy)
            if manifest and name in read:
                problems += _check_length(config, name, manifest)
            if wanted and manifest and manifest.tokenizer_hash != wanted:
                problems.append(
                    f"data.sources.{name}.train: {source.train} was made with tokenizer "
                    f"{manifest.tokenizer_hash[:8]}, "
                    f"{config.tokenizer.path} is {wanted[:8]}; prepare the shard again"
                )
        return [*problems, *conversation_problems(config, self.manifests(config))]

    def _check_vocabulary(self, config: RunConfig) -> list[str]:
        entries = self.tokenizer_entries(config.tokenizer.path)
        if entries is None or entries == config.model.vocabulary_size:
            return []
        return [
            f"model.vocabulary_size: {config.model.vocabulary_size}, but {config.tokenizer.path} "
            f"has {entries} entries; set model.vocabulary_size to {entries}"
        ]

    def _exists(self, path: Path, kind: str) -> bool:
        found = is_file(path)
        if not found:
            self.missing.append(f"{kind} {path}")
        return found


def is_file(path: Path) -> bool:
    """Whether there is one. Raises DataError where that cannot be told."""
    try:
        return path.is_file()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _check_length(config: RunConfig, name: str, manifest: Manifest) -> list[str]:
    """Whether a source that is trained on holds one sample; its last label needs a token more."""
    length = config.data.sequence_length
    if manifest.num_tokens > length:
        return []
    return [
        f"data.sequence_length: {length} is too long for source {name!r}: "
        f"{config.data.sources[name].train} has {manifest.num_tokens} tokens, and one sample needs "
        f"{length + 1}; prepare more text, or take shorter sequences"
    ]


def _count_entries(path: Path) -> int:
    """As `Tokenizer.vocabulary_size`, from the file alone: one above the highest id."""
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))  # Any: JSON values
        vocabulary = record["model"]["vocab"]
        ids = vocabulary.values() if isinstance(vocabulary, dict) else range(len(vocabulary))
        added = [token["id"] for token in record.get("added_tokens") or []]
        return max(map(int, [*ids, *added])) + 1
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path}: not a tokenizer.json (its vocabulary is not readable)") from error
