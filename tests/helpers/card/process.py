"""Commands of `codemix` on the card, one after the other in a process that is new.

python -m tests.helpers.card.process card.so results.json < commands.json
"""

import contextlib
import importlib
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any  # torch's functions and their arguments, which are passed on

_ROOT = Path(__file__).parents[3]


def run_on_card(commands: Sequence[Sequence[str | Path]], library: Path, folder: Path) -> list[str]:
    """What each of the commands has written; `exit code N` is the last line of each.

    folder: for what they write.
    """
    asked = [[str(word) for word in command] for command in commands]
    subprocess.run(
        [sys.executable, "-m", "tests.helpers.card.process", library, folder],
        input=json.dumps(asked),
        text=True,
        check=True,
        cwd=_ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        timeout=280,
    )
    return [(folder / f"{number}.txt").read_text() for number in range(len(asked))]


def main() -> None:
    library, folder = sys.argv[1:]
    commands = json.load(sys.stdin)
    take_the_place_of_cuda(library)
    for number, command in enumerate(commands):
        with (Path(folder) / f"{number}.txt").open("w") as output, _written_to(output.fileno()):
            sys.stdout.write(f"exit code {_exit_code(command)}\n")


def _exit_code(command: list[str]) -> int:
    from megatron_codemix.cli.main import main

    try:
        return main(command)
    except SystemExit as end:
        return int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1


@contextlib.contextmanager
def _written_to(descriptor: int) -> Any:
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for old, standard in zip(kept, (1, 2), strict=True):
            os.dup2(old, standard)
            os.close(old)


def take_the_place_of_cuda(library: str) -> None:
    """Before megatron.core is imported."""
    import torch

    from megatron_codemix.backend import devices, megatron_on_cpu
    from tests.helpers.card.backend import CARD, CardBackend, CardModule, CardNames
    from tests.helpers.host_collectives import send_by_way_of_the_host

    torch.ops.load_library(library)
    torch._register_device_module(CARD.type, CardModule)
    torch.utils.generate_methods_for_privateuse1_backend()
    torch.Tensor.cuda = lambda self, *unused, **options: self.to(CARD, **options)  # type: ignore[method-assign]
    megatron_on_cpu._stand_in = CARD
    # On a GPU no call passes torch's functions by.
    megatron_on_cpu.direct_calls = contextlib.nullcontext
    devices.select_backend = lambda device, local_rank=0: CardBackend()
    send_by_way_of_the_host()
    CardNames().__enter__()
    importlib.import_module("megatron_codemix.mcore")  # lets megatron-core run without CUDA
    from megatron.core.transformer.moe import token_dispatcher

    token_dispatcher.maybe_move_tensor_to_cpu = _to_host


def _to_host(tensor: Any, as_numpy: bool = False, record_stream: bool = False) -> Any:
    if not hasattr(tensor, "device"):
        return tensor
    return tensor.cpu().numpy() if as_numpy else tensor.cpu()


if __name__ == "__main__":
    main()
