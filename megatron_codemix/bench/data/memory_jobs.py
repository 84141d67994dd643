"""What is run in a process of its own to see its memory (see measure.memory_of).

Each sets up what is not counted and returns the work. The peer is imported where it is measured:
it takes seconds.
"""

from collections.abc import Callable
from pathlib import Path

from megatron_codemix.bench.data.ours import megatron_order, open_dataset, preprocess
from megatron_codemix.bench.data.synthetic import document_lengths, write_index
from megatron_codemix.data.shards.token_shard import TokenShard

Action = Callable[[], object]


def our_dataset(prefix: str, warm_up: str, sequence_length: int, num_samples: int) -> Action:
    """Opens the data set and reads its first and last sample."""

    def opened(path: str, last: int) -> object:
        dataset = open_dataset({"text": Path(path)}, {"text": 1.0}, sequence_length)
        return dataset, dataset.batch([0, last])

    opened(warm_up, 1)  # what is loaded at first use is not the data set's
    return lambda: opened(prefix, num_samples - 1)


def gpt_dataset(
    prefix: str, warm_up: str, sequence_length: int, num_samples: int, cache: str
) -> Action:
    """Builds a GPTDataset and reads its first and last sample."""
    from megatron_codemix.bench.data.peer import open_gpt_dataset

    def opened(path: str, samples: int) -> object:
        dataset = open_gpt_dataset(Path(path), sequence_length, Path(cache), samples)
        return dataset, dataset[0], dataset[samples - 1]

    opened(warm_up, 2)
    return lambda: opened(prefix, num_samples)


def our_indices(prefix: str, sequence_length: int) -> Action:
    """Megatron's indices of one epoch. The lengths are in memory already, as for the peer."""
    shard = TokenShard.open(Path(prefix))
    lengths, offsets = shard.lengths, shard.offsets
    return lambda: megatron_order(lengths, offsets, sequence_length)


def gpt_indices(prefix: str, sequence_length: int, cache: str) -> Action:
    """The same by GPTDataset."""
    from megatron_codemix.bench.data.peer import GptIndices

    indices = GptIndices(Path(prefix), sequence_length, Path(cache))
    return indices.build


def our_index(folder: str, num_documents: int) -> Action:
    """A `.idx` from the lengths of its documents."""
    lengths = document_lengths(num_documents)
    return lambda: write_index(Path(folder) / "ours.idx", lengths)


def peer_index(folder: str, num_documents: int) -> Action:
    """The same by IndexedDatasetBuilder."""
    from megatron_codemix.bench.data.peer import write_index as write_peers_index

    lengths = document_lengths(num_documents)
    return lambda: write_peers_index(Path(folder) / "peer", lengths)


def our_preparation(text: str, tokenizer: str, prefix: str, workers: int) -> Action:
    """Text to tokens."""
    return lambda: preprocess(Path(text), Path(tokenizer), Path(prefix), workers)


def peer_preparation(text: str, tokenizer: str, prefix: str, workers: int) -> Action:
    """The same one document at a time."""
    from megatron_codemix.bench.data.peer_preparation import preprocess as preprocess_as_peer

    return lambda: preprocess_as_peer(Path(text), Path(tokenizer), Path(prefix), workers)
