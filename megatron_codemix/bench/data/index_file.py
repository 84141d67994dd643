"""Writing a `.idx` from the lengths of its documents."""

import filecmp
from collections.abc import Iterator

from megatron_codemix.bench.data import memory_jobs, peer
from megatron_codemix.bench.data.setting import Setting
from megatron_codemix.bench.data.synthetic import document_lengths, write_index
from megatron_codemix.bench.measure import Trial, memory_of
from megatron_codemix.bench.rows import Goal, Row

NUM_DOCUMENTS = 20_000_000


def index_file(setting: Setting) -> Iterator[Row]:
    """Time and memory of the index of 20M documents; the tokens themselves are not written."""
    num_documents = setting.scaled(NUM_DOCUMENTS)
    folder = setting.folder / "index"
    folder.mkdir()
    lengths = document_lengths(num_documents)
    costs = setting.compare(
        {
            "ours": Trial(lambda: write_index(folder / "ours.idx", lengths)),
            "peer": Trial(lambda: peer.write_index(folder / "peer", lengths)),
        },
        is_slow=True,
    )
    is_equal = filecmp.cmp(folder / "ours.idx", folder / "peer.idx", shallow=False)
    title = f".idx of {num_documents:,} documents"
    yield Row(
        name=f"{title}: CPU",
        ours=costs["ours"].user,
        peer=costs["peer"].user,
        unit="s",
        goal=Goal(ratio=25),
        note=f"{'' if is_equal else 'NOT '}byte-identical; median of {setting.slow_repeats}",
        ours_system_seconds=costs["ours"].system,
        peer_system_seconds=costs["peer"].system,
    )
    arguments = {"folder": str(folder), "num_documents": num_documents}
    yield Row(
        name=f"{title}: peak memory",
        ours=memory_of(f"{memory_jobs.__name__}:our_index", **arguments).peak / 1e6,
        peer=memory_of(f"{memory_jobs.__name__}:peer_index", **arguments).peak / 1e6,
        unit="MB",
        goal=Goal(ratio=50),
        note="beyond the lengths themselves",
    )
    peer.remove(folder)
