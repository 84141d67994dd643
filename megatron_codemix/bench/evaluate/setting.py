"""Where the benchmark works, what is asked, and of which model."""

import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from megatron_codemix.bench.evaluate.items import CHOICE_TASKS, code_prompts, write_choice_items
from megatron_codemix.bench.small_data import SOURCES, write_small_data
from megatron_codemix.config.schema import ModelConfig
from megatron_codemix.errors import DataError, RunError
from megatron_codemix.evaluation.suites.readers.files import find_file, list_files, read_records
from megatron_codemix.hugging_face.export import export
from megatron_codemix.run_checkpoints import final_checkpoint
from megatron_codemix.runs import RunDirectory

SEED = 1
SEQUENCE = 1024
_STEPS = 2
_INIT_STD = 0.1
_PROMPT_FILES = ("humaneval", "human_eval")


@dataclass(frozen=True)
class Setting:
    """`scale` shrinks the model and the number of items: 1 is what the goals are stated for.

    home: common to all sections; the model is trained once.
    data_dir: with the real items; None: some of the same lengths are made.
    """

    home: Path
    scale: float = 1.0
    repeats: int = 5
    data_dir: Path | None = None

    @property
    def num_items(self) -> int:
        """Of each multiple-choice task."""
        return max(4, round(60 * self.scale))

    @property
    def num_prompts(self) -> int:
        """That are continued."""
        return max(4, round(48 * self.scale))

    @property
    def max_new_tokens(self) -> int:
        return max(8, round(64 * self.scale))

    @property
    def model(self) -> ModelConfig:
        """20.5M parameters at scale 1."""
        heads = 2 * max(1, round(3 * self.scale**0.5))
        return ModelConfig(
            num_layers=max(1, round(8 * self.scale)),
            hidden_size=64 * heads,
            ffn_hidden_size=176 * heads,
            num_attention_heads=heads,
            num_query_groups=heads // 2,
            vocabulary_size=max(1024, round(16384 * self.scale)),
            tie_embeddings=True,
            init_std=_INIT_STD,
        )

    @property
    def items_note(self) -> str:
        """Where the items are from."""
        return "items of --data-dir" if self.data_dir else "made-up items of the tasks' lengths"

    def choice_folder(self) -> Path:
        """The folder with a file for each of CHOICE_TASKS."""
        if self.data_dir is not None:
            return self.data_dir
        folder = self.home / "items"
        if not folder.exists():
            write_choice_items(folder, self.num_items, SEED)
        return folder

    def choice_tasks(self) -> dict[str, Any]:  # Any: the harness's tasks
        """Task objects of the harness by name. Raises DataError where data is missing."""
        from megatron_codemix.evaluation.suites.prepare import prepare_tasks

        prepared = prepare_tasks(CHOICE_TASKS, self.choice_folder(), self.num_items)
        return {one.name: one.task for one in prepared}

    def prompts(self) -> list[str]:
        """Programs that have begun. Raises DataError where data is missing."""
        if self.data_dir is None:
            return code_prompts(self.num_prompts, SEED)
        path = find_file(self.data_dir, list_files(self.data_dir), _PROMPT_FILES)
        if path is None:
            raise DataError(f"no HumanEval below {self.data_dir}; looked for {_PROMPT_FILES}")
        records = [located.record for located in read_records(path)]
        return [record["prompt"] for record in records[: self.num_prompts]]

    @cached_property
    def run(self) -> RunDirectory:
        """A run of two steps on the Python installation's own sources; made at the first call.

        Its initial weights are large, so that it writes a different text after each prompt: after
        40 steps from the usual ones it writes spaces.
        """
        run = RunDirectory(self.home / "run")
        if not run.path.exists():
            _train(run, self._write_config())
        return run

    @cached_property
    def exported(self) -> Path:
        """The same in Hugging Face's format, by `codemix checkpoint export`."""
        folder = self.home / "exported"
        if not folder.exists():
            export(
                final_checkpoint(self.run),
                folder,
                dtype=None,
                max_shard_bytes=10**9,
                overwrite=False,
                advance=lambda num_bytes: None,
            )
        return folder

    def _write_config(self) -> Path:
        model = self.model
        data = write_small_data(self.home, model.vocabulary_size)
        tokens = _STEPS * SEQUENCE
        config = {
            "model": model.model_dump(mode="json", exclude_none=True),
            "data": {
                "sequence_length": SEQUENCE,
                "sources": {name: {"train": str(data / f"{name}.train")} for name in SOURCES},
                "mixture": {"kind": "constant", "weights": dict.fromkeys(SOURCES, 0.5)},
            },
            "tokenizer": {"path": str(data / "tokenizer.json")},
            "optimizer": {"weight_decay": 0.1},
            "schedule": {"kind": "constant", "lr": 1e-3, "warmup_tokens": 0},
            "train": {"train_tokens": tokens, "global_batch_sequences": 1, "seed": SEED},
            "layout": {"microbatch_sequences": 1},
            "precision": {"kind": "fp32"},
            "checkpoint": {"save_every_tokens": tokens},
        }
        path = self.home / "run.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return path


def _train(run: RunDirectory, config: Path) -> None:
    """Raises RunError with what it has said where it fails."""
    command = [sys.executable, "-m", "megatron_codemix", "train", str(config)]
    done = subprocess.run(
        [*command, "--run-dir", str(run.path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={**os.environ, "TQDM_DISABLE": "1"},
    )
    if done.returncode != 0:
        raise RunError(f"the model could not be trained:\n{done.stdout}")
