"""The data engine alone: shards, a mixture, a change of its weights, a PyTorch DataLoader.

Run it with: python examples/data_engine/mix_and_reblend.py [FOLDER]
"""

import sys
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader

from megatron_codemix.adapters.torch_dataset import TorchDataset
from megatron_codemix.data import (
    MixtureDataset,
    SourceSpec,
    TokenShardWriter,
    constant_plan,
    quantise_weights,
)

SEQUENCE = 128
VOCABULARY_SIZE = 257  # a token a byte, and one that ends documents
END_OF_DOCUMENT = 256


def write_shard(prefix: Path, texts: list[str]) -> SourceSpec:
    """For real corpora, `codemix data prepare` does this."""
    with TokenShardWriter(prefix, np.uint16) as writer:
        for text in texts:
            writer.add_document([*text.encode(), END_OF_DOCUMENT])
        writer.finish(
            source=prefix.name,
            split="train",
            tokenizer_hash="bytes",
            vocabulary_size=VOCABULARY_SIZE,
            end_of_document_id=END_OF_DOCUMENT,
            num_bytes=sum(len(text.encode()) for text in texts),
            licences={"CC0-1.0": len(texts)},
            origin={},
        )
    return SourceSpec(prefix.name, prefix)


def main(folder: Path) -> None:
    """Prints which source each part of the run has read."""
    sources = [
        write_shard(folder / "code", [f"def f{n}(x):\n    return x + {n}\n" for n in range(400)]),
        write_shard(folder / "text", [f"The number after {n} is {n + 1}.\n" for n in range(900)]),
        write_shard(folder / "math", [f"{n} * {n} = {n * n}\n" for n in range(900)]),
    ]

    # A mixture is opened at once, whatever its size: nothing is built and no file is written.
    opened = partial(MixtureDataset, sources, sequence_length=SEQUENCE, seed=1)
    first = opened(constant_plan(quantise_weights({"code": 0.25, "text": 0.75})))
    batch = first.batch(range(40))
    print("samples 0 to 39:", counted(first, batch.source_id))
    print("sample 7 is from", first.documents(7)[0])

    # Another mixture from here on: every source goes on with the sample that it has not given yet.
    second = partial(
        opened,
        constant_plan(quantise_weights({"code": 0.5, "math": 0.25, "text": 0.25})),
        start_cursors=first.cursors_after(40),
    )

    # Item i depends on i alone, so workers, samplers and restarts change nothing.
    loader = DataLoader(TorchDataset(second, num_samples=80), batch_size=16, num_workers=2)
    read = np.concatenate([batch["source_id"].numpy() for batch in loader])
    print("samples 40 to 119:", counted(second(), read))
    print("where the sources stand:", second().cursors_after(80))


def counted(dataset: MixtureDataset, source_id: np.ndarray) -> dict[str, int]:
    """Samples by the name of their source."""
    names = [dataset.source_names[number] for number in source_id.tolist()]
    return dict(sorted(Counter(names).items()))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
