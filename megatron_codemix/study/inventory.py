"""The data that a study needs, as found on disk: hashes for identities, sizes for epochs, and what
is missing."""

from pathlib import Path

from megatron_codemix.config.schema import RunConfig
from megatron_codemix.data.manifest import Manifest
from megatron_codemix.data.tokenizer import tokenizer_hash
from megatron_codemix.errors import DataError


class Inventory:
    """Reads each file at most once; a file that is not there is remembered in `missing`, a damaged
    one raises."""

    def __init__(self) -> None:
        self.missing: list[str] = []
        self._tokenizers: dict[Path, str | None] = {}
        self._manifests: dict[Path, Manifest | None] = {}

    def tokenizer_hash(self, path: Path) -> str | None:
        """Hash of a `tokenizer.json`; None where it is missing."""
        if path not in self._tokenizers:
            there = self._exists(path, "tokenizer")
            self._tokenizers[path] = tokenizer_hash(path) if there else None
        return self._tokenizers[path]

    def manifest(self, prefix: Path) -> Manifest | None:
        """Manifest of the token shard `prefix`; None where it is missing."""
        if prefix not in self._manifests:
            path = prefix.with_name(prefix.name + ".manifest.json")
            there = self._exists(path, "token shard")
            self._manifests[prefix] = Manifest.load(path) if there else None
        return self._manifests[prefix]

    def check_fit(self, config: RunConfig) -> list[str]:
        """Shards of `config` that were made with another tokenizer, as far as the files are
        there."""
        wanted = self.tokenizer_hash(config.tokenizer.path)
        problems = []
        for name, source in config.data.sources.items():
            manifest = self.manifest(source.train)
            if wanted and manifest and manifest.tokenizer_hash != wanted:
                problems.append(
                    f"source {name!r}: {source.train} was made with tokenizer "
                    f"{manifest.tokenizer_hash[:8]}, "
                    f"{config.tokenizer.path} is {wanted[:8]}; prepare the shard again"
                )
        return problems

    def _exists(self, path: Path, kind: str) -> bool:
        try:
            found = path.is_file()
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error})") from error
        if not found:
            self.missing.append(f"{kind} {path}")
        return found
