"""A process for the CPU of a machine that has Transformer Engine and Apex."""

import subprocess
import sys
from pathlib import Path

from tests.helpers.commands import ENVIRONMENT

ROOT = Path(__file__).parents[3]

CODE = """
import megatron_codemix.mcore
from megatron.core.optimizer import distrib_optimizer
from megatron.core.extensions import transformer_engine
from megatron_codemix.backend.engine import engine_problem
print(distrib_optimizer.Adam.__module__, transformer_engine.HAVE_TE, engine_problem())
"""


def test_it_takes_neither_of_them(tmp_path: Path) -> None:
    (tmp_path / "transformer_engine").mkdir()
    (tmp_path / "transformer_engine" / "__init__.py").write_text("raise RuntimeError('no CUDA')\n")
    for name in ("multi_tensor_apply", "optimizers"):
        (tmp_path / "apex" / name).mkdir(parents=True)
        (tmp_path / "apex" / name / "__init__.py").write_text(
            "class multi_tensor_applier: ...\nclass FusedAdam: ...\nclass FusedSGD: ...\n"
        )
    (tmp_path / "apex" / "__init__.py").touch()
    (tmp_path / "amp_C.py").write_text("multi_tensor_l2norm = multi_tensor_scale = None\n")
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        env={**ENVIRONMENT, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["megatron_codemix.mcore.fused_adam", "False", "None"]
