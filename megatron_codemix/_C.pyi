"""Types of the C++ extension (csrc/bindings). Call it through megatron_codemix.ops."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

def build_document_index(
    first: int,
    num_documents: int,
    num_epochs: int,
    separate_final_epoch: bool,
    key: npt.NDArray[np.uint32],
    position: int,
) -> tuple[npt.NDArray[np.signedinteger], int]: ...
def build_sample_index(
    document_lengths: npt.NDArray[np.int32],
    document_index: npt.NDArray[np.signedinteger],
    num_tokens: int,
    sequence_length: int,
    drop_last: bool,
    extra_token: bool,
) -> npt.NDArray[np.signedinteger]: ...
def build_document_and_sample_index(
    document_lengths: npt.NDArray[np.int32],
    num_epochs: int,
    separate_final_epoch: bool,
    key: npt.NDArray[np.uint32],
    position: int,
    num_tokens: int,
    sequence_length: int,
    drop_last: bool,
    extra_token: bool,
) -> tuple[tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]], int]: ...
def build_shuffle_index(
    num_samples: int, size: int, key: npt.NDArray[np.uint32], position: int
) -> tuple[npt.NDArray[np.integer], int]: ...
def build_blending_index(
    weights: npt.NDArray[np.float64], size: int
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64]]: ...
def build_earliest_deadline_order(
    weights: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], num_samples: int
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64]]: ...
def count_earliest_deadline_draws(
    weights: npt.NDArray[np.int64], num_samples: int
) -> npt.NDArray[np.int64]: ...
def permute(positions: npt.NDArray[np.int64], size: int, key: int) -> npt.NDArray[np.int64]: ...
def invert_permutation(
    values: npt.NDArray[np.int64], size: int, key: int
) -> npt.NDArray[np.int64]: ...

class SplitTree:
    def __init__(
        self, units: npt.NDArray[np.int64], log2_spacing: int, children: npt.NDArray[np.int32]
    ) -> None: ...
    def locate(
        self, samples: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64]]: ...
    def counts(self, num_samples: int) -> npt.NDArray[np.int64]: ...

class WindowOrder:
    def __init__(self, num_tokens: int, sequence_length: int, key: int) -> None: ...
    @property
    def windows_per_epoch(self) -> int: ...
    def parts(
        self, cursors: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]: ...
    def cursor_of(self, epoch: int, token: int) -> int | None: ...

class TokenGather:
    def __init__(self, arrays: list[npt.NDArray[np.integer]], num_threads: int) -> None: ...
    def tokens_and_labels(
        self,
        source: npt.NDArray[np.int16],
        row: npt.NDArray[np.int64],
        first: npt.NDArray[np.int64],
        length: npt.NDArray[np.int64],
        fill: int,
        tokens: npt.NDArray[np.int64],
        labels: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.int64]: ...
    def windows(
        self,
        source: npt.NDArray[np.int16],
        row: npt.NDArray[np.int64],
        first: npt.NDArray[np.int64],
        length: npt.NDArray[np.int64],
        fill: int,
        rows: npt.NDArray[np.integer],
    ) -> npt.NDArray[np.int64]: ...

WindowSource = tuple[int, WindowOrder, int, int, npt.NDArray[np.bool_], int]

class BatchReader:
    @staticmethod
    def of_period(
        gather: TokenGather,
        order: npt.NDArray[np.int16],
        draws: npt.NDArray[np.int32],
        draws_per_period: npt.NDArray[np.int64],
        is_known: npt.NDArray[np.bool_],
        block_shift: int,
        first_sample: int,
        stop_sample: int,
        sources: list[WindowSource],
    ) -> BatchReader: ...
    @staticmethod
    def of_tree(
        gather: TokenGather,
        tree: SplitTree,
        first_sample: int,
        stop_sample: int,
        sources: list[WindowSource],
    ) -> BatchReader: ...
    def read(
        self,
        samples: npt.NDArray[np.int64],
        tokens: npt.NDArray[np.int64],
        labels: npt.NDArray[np.int64],
        source_ids: npt.NDArray[np.int16],
    ) -> bool: ...

def fill_document_positions(
    document_lengths: list[npt.NDArray[np.int32]],
    source: npt.NDArray[np.int16],
    row: npt.NDArray[np.int64],
    length: npt.NDArray[np.int64],
    document: npt.NDArray[np.int64],
    offset: npt.NDArray[np.int64],
    document_ids: npt.NDArray[np.int64],
    position_ids: npt.NDArray[np.int64],
) -> None: ...
def locate_in_period(
    order: npt.NDArray[np.int16],
    draws: npt.NDArray[np.int32],
    draws_per_period: npt.NDArray[np.int64],
    samples: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64]]: ...
def find_unchecked_blocks(
    first: npt.NDArray[np.int64],
    length: npt.NDArray[np.int64],
    block_shift: int,
    num_items: int,
    is_checked: npt.NDArray[np.bool_],
) -> npt.NDArray[np.int64]: ...
def pack_best_fit(
    document_lengths: npt.NDArray[np.int32], row_length: int
) -> tuple[
    npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int32]
]: ...

class BpeEncoderUint16:
    def __init__(
        self,
        vocabulary: dict[str, int],
        merges: list[Sequence[str]],
        keeps_known_words: bool,
        is_gpt4: bool,
        numbers_at_once: int,
        isolates_digits: bool,
        early_tokens: list[tuple[str, int, int]],
        late_tokens: list[tuple[str, int, int]],
    ) -> None: ...
    def set_classes(
        self, codes: npt.NDArray[np.uint32], classes: npt.NDArray[np.uint8]
    ) -> None: ...
    def encode(
        self, texts: list[str], end: int
    ) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.int32]]: ...

class BpeEncoderInt32(BpeEncoderUint16): ...

class CharacterTable:
    def __init__(self, classes: npt.NDArray[np.uint8]) -> None: ...

def count_lines(text: str, classes: CharacterTable) -> tuple[int, int, int, int, int, int]: ...
def count_words(
    text: str, classes: CharacterTable, common_words: Sequence[str]
) -> tuple[int, int, int, int, int, int, int, int, int, int, int, int, int]: ...
def count_repetition(
    text: str, classes: CharacterTable
) -> tuple[
    int,
    int,
    int,
    int,
    int,
    int,
    int,
    tuple[int, int, int],
    tuple[int, int, int, int, int, int],
]: ...

class MarkFinder:
    def __init__(self, literals: Sequence[str]) -> None: ...
    def find(self, text: str) -> list[tuple[int, int, int, int]]: ...

class TextClassifier:
    def __init__(self, file: bytes) -> None: ...
    @property
    def labels(self) -> list[str]: ...
    def classify(self, text: str) -> tuple[str, float] | None: ...

class WordCharacters:
    def __init__(self, lower_case: npt.NDArray[np.uint32]) -> None: ...
    def join_words(self, text: str) -> str: ...
    def find_words(self, text: str) -> npt.NDArray[np.int64]: ...
    def hash_ngrams(self, text: str, n: int) -> npt.NDArray[np.uint64]: ...
    def hash_gates(self, text: str, n: int) -> npt.NDArray[np.uint64]: ...

class NgramIndex:
    def __init__(
        self,
        lengths: npt.NDArray[np.int32],
        hashes: npt.NDArray[np.uint64],
        gate_lengths: npt.NDArray[np.int32],
        gates: npt.NDArray[np.uint64],
    ) -> None: ...
    def find(self, characters: WordCharacters, text: str) -> npt.NDArray[np.int64]: ...

def is_available(instructions: int) -> bool: ...

class MinHash:
    def __init__(
        self,
        multipliers: npt.NDArray[np.uint64],
        summands: npt.NDArray[np.uint64],
        instructions: int,
    ) -> None: ...
    def sign_shingles(self, shingles: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]: ...
    def sign_texts(
        self, characters: WordCharacters, texts: list[str], n: int
    ) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]: ...
