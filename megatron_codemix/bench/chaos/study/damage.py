"""A bit of a token shard that is turned round, and back."""

import contextlib
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from megatron_codemix.data.shards.block_hashes import BLOCK_BYTES
from megatron_codemix.files import read_json, write_json

_NOTE = "damage.json"


@dataclass(frozen=True)
class Damage:
    """One bit of a file."""

    path: str
    offset: int
    """Byte of the file."""
    byte: int
    """As it should be."""
    bit: int
    """Of it, from 0."""

    @property
    def block(self) -> int:
        """The one that has a hash of its own and holds the bit."""
        return self.offset // BLOCK_BYTES

    def __str__(self) -> str:
        return f"bit {self.bit} of byte {self.offset}"

    def write(self, byte: int) -> None:
        """Puts it there, in place."""
        with open(self.path, "r+b") as handle:
            handle.seek(self.offset)
            handle.write(bytes([byte]))


@contextlib.contextmanager
def flipped_bit(path: Path, rng: random.Random, notes: Path) -> Iterator[Damage]:
    """Any bit of the file is wrong during the block. notes: folder for a note of it, with which
    `repair` puts it right where this process was killed."""
    offset = rng.randrange(path.stat().st_size)
    with open(path, "rb") as handle:
        handle.seek(offset)
        [byte] = handle.read(1)
    damage = Damage(str(path), offset, byte, rng.randrange(8))
    write_json(notes / _NOTE, asdict(damage))
    damage.write(byte ^ (1 << damage.bit))
    try:
        yield damage
    finally:
        repair(notes)


def repair(notes: Path) -> None:
    """Puts right what a note tells of, if there is one."""
    path = notes / _NOTE
    if path.exists():
        damage = Damage(**read_json(path))
        damage.write(damage.byte)
        path.unlink()
