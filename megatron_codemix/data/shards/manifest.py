"""`<prefix>.manifest.json`: what a token shard is made of, and the hashes that prove it
unchanged.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from megatron_codemix.errors import DataError
from megatron_codemix.files import hash_json, write_json

FORMAT_VERSION = 2


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
    """Of the tree of hashes in `.blocks`, over every byte of .bin and .idx (see block_hashes)."""
    origin: dict[str, Any]
    """What the shard was made from: corpus file and hash, split, versions."""

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
        """Writes the manifest, atomically."""
        write_json(path, self.model_dump(mode="json"))

    @classmethod
    def load(cls, path: Path) -> "Manifest":
        """Raises DataError: absent, not a manifest, of another format version."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from error
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "file"
            raise DataError(
                f"{path}: not a manifest of format {FORMAT_VERSION} ({place}: {first['msg']}); "
                "prepare the shard again, or write the manifest with `codemix data manifest`"
            ) from error
