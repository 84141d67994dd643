"""A process that has imported torch, megatron-core and the commands once for a whole worker.

What tests start is forked from it: a process of its own, which shares no state with the test's, for
milliseconds in place of the seconds that the imports take.
"""

from multiprocessing import forkserver, get_context
from typing import Any

import pytest

# No CPU run looks at a GPU, and each rank has one thread, also where the server's imports decide.
ENVIRONMENT = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
# As `codemix evaluate` has it before it imports the harness, whose libraries look there then.
_OF_THE_HARNESS = dict.fromkeys(
    ("HF_DATASETS_OFFLINE", "HF_HUB_OFFLINE", "TQDM_DISABLE", "TRANSFORMERS_OFFLINE"), "1"
)
_PRELOADED = [
    "torch._dynamo",
    "megatron_codemix.evaluation.harness.prepared",
    "megatron_codemix.train.rank",
    "megatron_codemix.cli.train",
    "megatron_codemix.cli.evaluate",
    "megatron_codemix.cli.data",
    "megatron_codemix.cli.corpus",
    "megatron_codemix.cli.study",
    "megatron_codemix.scaling.analysis",
    "tests.helpers.commands",
    "tests.helpers.ranks",
    "tests.helpers.frozen",
]


def context() -> Any:  # Any: typeshed does not export ForkServerContext's Process
    """The context whose processes are forked from the server, which is started if need be."""
    made = get_context("forkserver")
    made.set_forkserver_preload(_PRELOADED)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**ENVIRONMENT, **_OF_THE_HARNESS}.items():
            patch.setenv(name, value)
        forkserver.ensure_running()
    return made
