"""Whole commands on a device that is not the host's, though its kernels are (tests/helpers/card):
what they train, score and write is what they do on a CPU."""

from pathlib import Path

import pytest

from megatron_codemix.files import read_jsonl
from tests.helpers.card.build import library
from tests.helpers.card.process import run_on_card
from tests.helpers.commands import codemix, python
from tests.helpers.tiny import SEQUENCE, write_run

_LIBRARIES = Path(__file__).parents[2] / "build" / "tests"
STEPS = 4
_PAIR = ["--nproc", "2"]
_EXPERTS = "model.moe={num_experts: 4, top_k: 2, balance_coefficient: 0.01}"
_FP8 = "precision={kind: fp8, recipe: %s, rule: %s}"
CASES = {
    "one rank": [],
    "bf16, documents": ["precision.kind=bf16", "data.document_mask=true"],
    "data-parallel": [
        *_PAIR,
        "layout.overlap_grad_reduce=true",
        "layout.overlap_param_gather=true",
    ],
    "tensor-parallel": [*_PAIR, "layout.tensor=2", "layout.sequence_parallel=true"],
    "interleaved": [*_PAIR, "layout.pipeline=2", "layout.virtual_pipeline=2", "model.num_layers=4"],
    "context-parallel": [*_PAIR, "layout.context=2"],
    "experts": [*_PAIR, _EXPERTS, "layout.expert=2"],
    "emulated, delayed": [_FP8 % ("emulated", "delayed")],
    "torch_scaled_mm": [_FP8 % ("torch_scaled_mm", "tensorwise")],
    "muon, recomputed": [
        "optimizer={kind: muon, weight_decay: 0.1}",
        "layout.distributed_optimizer=false",
        "layout.recompute=full",
        "model.z_loss=1e-4",
    ],
}
TOLERANCE = 1e-5
"""nats; of fp32. Sums are made in another order in attention alone, for which torch has no kernel
on such a device."""
TOLERANCE_BF16 = 0.01
"""nats; of bf16 and what is made of it, which round after other kernels of attention."""
VALIDATED = [
    f"train.train_tokens={STEPS * 8 * SEQUENCE}",
    f"validation={{every_tokens: {STEPS * 8 * SEQUENCE}, max_bytes_per_source: 2kB}}",
]


class Folders:
    """Where runs lie, those of each device in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.config = folder, write_run(folder)
        self.said: dict[str, str] = {}
        """What a command on the card has written, its exit code last."""

    def run(self, device: str, name: str) -> Path:
        return self.folder / device / name

    def train(self, device: str, name: str, *overrides: str) -> list[str | Path]:
        place = ["--run-dir", self.run(device, name)]
        return ["train", self.config, *VALIDATED, *overrides, *place]

    def losses(self, device: str, name: str) -> list[float]:
        """Of the steps, then of held-out text, in nats."""
        run = self.run(device, name)
        [validated] = read_jsonl(run / "validation.jsonl")
        return [
            *(line["loss/train_nats"] for line in read_jsonl(run / "metrics.jsonl")),
            *(source["loss_nats"] for source in validated["sources"].values()),
        ]


def _commands(folders: Folders, device: str) -> dict[str, list[str | Path]]:
    """Those that are made on both devices; some read what a CPU has trained."""
    first, second = folders.run("cpu", "one rank"), folders.run("cpu", "child")
    mean = folders.run(device, "mean")
    return {
        **{name: folders.train(device, name, *how) for name, how in CASES.items()},
        "child": folders.train(
            device, "child", f"init_from={{run: {first}, load: weights+optimizer}}"
        ),
        "evaluate": ["evaluate", folders.run(device, "tensor-parallel"), *_PAIR, "--tensor", "2"],
        "generate": ["generate", first, "--prompt", "abcab", "--max-new-tokens", "12", "--json"],
        "average": ["checkpoint", "average", first, second, "--out", mean],
        "export": ["checkpoint", "export", mean, "--out", folders.run(device, "exported")],
    }


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """After all commands on both devices."""
    made = Folders(tmp_path_factory.mktemp("card"))
    for name, command in _commands(made, "cpu").items():
        done = codemix(*command)
        assert done.returncode == 0, done.stderr
        made.said[f"cpu {name}"] = done.stdout
    commands = _commands(made, "card")
    output = made.folder / "output"
    output.mkdir()
    said = run_on_card(list(commands.values()), library(_LIBRARIES), output)
    made.said |= {f"card {name}": text for name, text in zip(commands, said, strict=True)}
    return made


@pytest.mark.parametrize("name", [*CASES, "child"])
def test_losses_are_those_of_the_cpu(name: str, folders: Folders) -> None:
    assert folders.said[f"card {name}"].endswith("exit code 0\n"), folders.said[f"card {name}"]
    how = " ".join(CASES.get(name, []))
    tolerance = TOLERANCE_BF16 if "bf16" in how or "fp8" in how else TOLERANCE

    losses = folders.losses("card", name)
    assert len(losses) == STEPS + 2
    assert losses == pytest.approx(folders.losses("cpu", name), abs=tolerance)


def test_scores_are_those_of_the_cpu(folders: Folders) -> None:
    assert folders.said["card evaluate"].endswith("exit code 0\n"), folders.said["card evaluate"]
    by_device = [
        {
            (line["source"], line["document"]): line["nats"] / line["tokens"]
            for line in read_jsonl(
                folders.run(device, "tensor-parallel") / "evaluation/heldout.jsonl"
            )
        }
        for device in ("card", "cpu")
    ]
    assert by_device[0] == pytest.approx(by_device[1], abs=TOLERANCE)


def test_what_is_generated_is_what_the_cpu_does(folders: Folders) -> None:
    assert folders.said["card generate"].endswith("exit code 0\n"), folders.said["card generate"]
    [expected] = [
        line for line in folders.said["cpu generate"].splitlines() if line.startswith("{")
    ]
    assert expected in folders.said["card generate"].splitlines()


def test_a_mean_of_checkpoints_is_the_cpu_s(folders: Folders) -> None:
    for name in ("average", "export"):
        assert folders.said[f"card {name}"].endswith("exit code 0\n"), folders.said[f"card {name}"]
    ours, expected = (
        (folders.run(device, "exported") / "model.safetensors").read_bytes()
        for device in ("card", "cpu")
    )
    assert ours == expected


def test_tensors_of_device_and_host_do_not_meet(tmp_path: Path) -> None:
    program = """
import sys
from tests.helpers.card.process import take_the_place_of_cuda
take_the_place_of_cuda(sys.argv[1])
import torch
on_card, on_host = torch.ones(3, device="cuda"), torch.ones(3)
print(on_card.device, (on_card + 1).cpu().tolist(), on_card.sum().item())
for meet in (lambda: on_card + on_host, lambda: on_card.numpy(), lambda: on_card.add_(on_host)):
    try:
        meet()
    except (RuntimeError, TypeError) as error:
        print("refused:", error)
"""
    done = python("-c", program, library(_LIBRARIES))
    first, *refused = done.stdout.splitlines()
    assert first == "card:0 [2.0, 2.0, 2.0] 3.0", done.stderr
    assert len(refused) == 3
