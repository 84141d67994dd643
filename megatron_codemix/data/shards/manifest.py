"""`<prefix>.manifest.json`: what a token shard is made of, and the hashes that prove it
unchanged.
"""

import shlex
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from megatron_codemix.corpus.instructions.template import ChatTemplate
from megatron_codemix.data.shards.layout import shard_file
from megatron_codemix.errors import DataError
from megatron_codemix.files import hash_json, write_json

FORMAT_VERSION = 2

_DIGEST = "fields_sha256"


class ChatAnswers(BaseModel):
    """Of a shard of conversations: how they were rendered, and how many tokens are answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    template: str
    """Name of the chat template."""
    template_sha256: str
    template_source: str
    num_learned: int = Field(ge=0)
    """Tokens whose bit in `.answers` is set."""

    @property
    def chat_template(self) -> ChatTemplate:
        return ChatTemplate(self.template, self.template_source)


class Manifest(BaseModel):
    """Written last, so a shard with a manifest is whole."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[2] = 2
    source: str
    split: Literal["train", "validation"]
    tokenizer_hash: str
    """sha256 of the canonical tokenizer.json that made the tokens."""
    vocabulary_size: int = Field(gt=0)
    end_of_document_id: int = Field(ge=0)
    dtype: Literal["uint16", "int32"]
    num_documents: int = Field(ge=0)
    num_tokens: int = Field(ge=0)
    """End-of-document tokens included."""
    num_bytes: int = Field(ge=0)
    """UTF-8 bytes of the text, end-of-document tokens not counted."""
    licences: dict[str, int]
    """Documents under each licence; `unknown` where the corpus does not say."""
    blocks_root: str
    """Of the tree of hashes in `.blocks`, over every byte of .bin and .idx, and of .answers where
    there are some (see block_hashes)."""
    origin: dict[str, Any]
    """What the shard was made from: corpus file and hash, split, versions."""
    answers: ChatAnswers | None = None
    """Of a shard of conversations, which has `.answers`: its bytes are in `blocks_root` too."""

    @property
    def content_hash(self) -> str:
        """sha256 over everything that decides the tokens; where they came from and their licences
        do not.
        """
        return hash_json(
            {
                "blocks_root": self.blocks_root,
                "num_documents": self.num_documents,
                "num_tokens": self.num_tokens,
                "dtype": self.dtype,
                "tokenizer_hash": self.tokenizer_hash,
                "vocabulary_size": self.vocabulary_size,
                "end_of_document_id": self.end_of_document_id,
            }
        )

    def save(self, path: Path) -> None:
        """Writes the manifest with a digest of its fields, atomically."""
        fields = self._fields()
        write_json(path, {**fields, _DIGEST: hash_json(fields)})

    def _fields(self) -> dict[str, Any]:
        """Without answers where there are none, as in manifests of older versions."""
        fields = self.model_dump(mode="json", exclude={_DIGEST})
        return {name: value for name, value in fields.items() if name != "answers" or value}

    @classmethod
    def load(cls, path: Path, *, remedy: str = "") -> "Manifest":
        """Raises DataError: absent, not a manifest, of another format version, or edited since it
        was written. One without a digest, as older versions wrote them, is taken as it is.

        remedy: the command that writes it anew, where the caller knows its options.
        """
        prefix = path.with_name(path.name.removesuffix(".manifest.json"))
        again = prepare_again(prefix) or (
            "prepare the shard again, or write it anew, with another source where that is what you "
            f"want:\n  {remedy or manifest_command(prefix)}"
        )
        try:
            recorded = _RecordedManifest.model_validate_json(path.read_bytes())
            fields = recorded._fields()
            if recorded.fields_sha256 not in (None, hash_json(fields)):
                raise DataError(
                    f"{path}: a field was edited after the manifest was written, so it may say "
                    f"what the tokens are not; put the old file back, or {again}"
                )
            return cls(**fields)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from error
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "file"
            raise DataError(
                f"{path}: not a manifest of format {FORMAT_VERSION} ({place}: {first['msg']}); "
                f"put the old file back, or {again}"
            ) from error


class _RecordedManifest(Manifest):
    """A manifest as its file has it."""

    fields_sha256: str | None = None
    """hash_json of all other fields; None in manifests of older versions."""


def manifest_command(
    prefix: Path,
    tokenizer: Path | str = "TOKENIZER.json",
    source: str = "NAME",
    split: str = "SPLIT",
) -> str:
    """`codemix data manifest` for a shard; in capitals what is not known here."""
    words = [str(prefix), "--tokenizer", str(tokenizer), "--source", source, "--split", split]
    return f"codemix data manifest {shlex.join(words)}"


def prepare_again(prefix: Path) -> str | None:
    """What to do about a lost manifest that `manifest_command` does not write: one of a shard of
    conversations, as it alone says how these were made. None of other shards."""
    if shard_file(prefix, ".answers").exists():
        return "make the shard of conversations again with `codemix data prepare`"
    return None
