"""A Transformer Engine that is installed and does not load, as real packages on the path."""

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from megatron_codemix.backend.engine import engine_problem
from megatron_codemix.backend.environment import require_precision
from megatron_codemix.config.schema import Fp8Config
from megatron_codemix.errors import ConfigError

NAME = "transformer_engine"
ROOT = Path(__file__).parents[3]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path where packages are found first; what is imported is forgotten again."""
    kept = {name: module for name, module in sys.modules.items() if name.split(".")[0] == NAME}
    for name in kept:
        del sys.modules[name]
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] == NAME]:
        del sys.modules[name]
    sys.modules.update(kept)


def install(site: Path, version: str, source: str = "", torch_source: str = "") -> None:
    """A Transformer Engine of this version, with these two lines of code."""
    package = site / NAME
    (package / "pytorch").mkdir(parents=True)
    (package / "__init__.py").write_text(source)
    (package / "pytorch" / "__init__.py").write_text(torch_source)
    metadata = site / f"{NAME}-{version}.dist-info"
    metadata.mkdir()
    text = f"Metadata-Version: 2.1\nName: transformer-engine\nVersion: {version}\n"
    (metadata / "METADATA").write_text(text)
    importlib.invalidate_caches()


@pytest.mark.parametrize(
    ("source", "torch_source", "problem"),
    [
        (
            'raise RuntimeError("cudnn shared object not found")',
            "",
            "RuntimeError: cudnn shared object not found",
        ),
        (
            'raise OSError("libnccl.so.2: cannot open shared object file")',
            "",
            "OSError: libnccl.so.2: cannot open shared object file",
        ),
        ("", 'raise FileNotFoundError("torch lib\\nelsewhere")', "FileNotFoundError: torch lib"),
        ("import a_library", "", "ModuleNotFoundError: No module named 'a_library'"),
        ("", "assert False", "AssertionError: "),
        ("", "import sys; sys.exit(0)", "SystemExit: 0"),
    ],
)
def test_one_that_does_not_load_is_as_if_it_were_not_there(
    source: str, torch_source: str, problem: str, site: Path
) -> None:
    install(site, "2.10.0", source, torch_source)
    assert engine_problem.__wrapped__() == problem
    with pytest.raises(ImportError):  # the only error that megatron-core listens to
        importlib.import_module(f"{NAME}.common")


def test_one_that_loads_stays(site: Path) -> None:
    install(site, "2.10.0", "version = 1")
    assert engine_problem.__wrapped__() is None
    assert importlib.import_module(NAME).version == 1


def test_a_process_goes_on_without_it_and_says_why(site: Path) -> None:
    """megatron-core, imported anew. With a GPU it asks by itself what is asked first here."""
    install(site, "2.10.0", 'raise RuntimeError("cudnn shared object not found")')
    program = """
import torch
from megatron_codemix.backend import engine
engine.engine_problem()
import megatron_codemix.mcore
engine.compute_capability = lambda device: (9, 0)
print(engine.engine_lacks_here(torch.device("cuda", 0)))
"""
    path = os.pathsep.join([str(site), str(ROOT)])
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    expected = "it does not load (RuntimeError: cudnn shared object not found)"
    assert ended.stdout.strip() == expected


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (None, "is Transformer Engine's, which is not installed"),
        ("2.8.0", "2.9 or newer, before 2.12, and 2.8.0 is installed"),
        ("2.12.0", "2.9 or newer, before 2.12, and 2.12.0 is installed"),
        ("2.10.0", ""),
    ],
)
def test_its_version_is_asked_before_anything_is_loaded(
    version: str | None, said: str, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site / "nvidia-smi").write_text("#!/bin/sh\necho 9.0\n")
    (site / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(site), prepend=os.pathsep)
    if version is not None:
        install(site, version, "raise AssertionError('is loaded')")
    precision = Fp8Config(recipe="tensorwise")
    if said:
        with pytest.raises(ConfigError) as told:
            require_precision(precision, "cuda")
        assert len(told.value.problems) == 1
        assert said in told.value.problems[0]
    else:
        require_precision(precision, "cuda")
