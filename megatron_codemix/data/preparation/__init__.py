"""Text to token shards, in blocks, by several processes."""

import os

# numpy's BLAS is not used here, and its threads, though idle, would keep the workers from being
# forked (workers.py). Read when numpy is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
