"""A run directory as training leaves it, but for the model: batches are read, and counted."""

from pathlib import Path

import numpy as np
import yaml

from megatron_codemix.config.loader import dump_yaml, load_run_config
from megatron_codemix.data.ledger import Ledger
from megatron_codemix.data.resolve import resolve_data
from megatron_codemix.files import append_jsonl, write_json, write_text
from megatron_codemix.run_status import Status
from megatron_codemix.runs import RunDirectory

BATCH = 32
SAVED_AT = (7, 20)


def read_run(path: Path, config: Path, **changes: object) -> RunDirectory:
    """Reads every batch of the configuration with `changes` (of whole sections' keys)."""
    tree = yaml.safe_load(config.read_text())
    tokens = SAVED_AT[-1] * BATCH * tree["data"]["sequence_length"]
    changes["train"] = {"global_batch_sequences": BATCH, "train_tokens": tokens}
    for section, values in changes.items():
        tree[section] = tree.get(section, {}) | values  # type: ignore[operator]
    run = RunDirectory(path)
    write_text(run.config, yaml.safe_dump(tree))
    loaded = load_run_config(run.config)
    write_text(run.config, dump_yaml(loaded))
    plan = resolve_data(loaded)
    write_json(run.attempt(1) / "provenance.json", {"data": plan.as_dict()})
    dataset = plan.dataset()
    ledger = Ledger(plan, dataset.samples_per_epoch)
    for step in range(1, SAVED_AT[-1] + 1):
        batch = dataset.batch(range((step - 1) * BATCH, step * BATCH))
        counts = np.bincount(batch.source_id, minlength=len(dataset.source_names))
        ledger.add(counts, counts * dataset.sequence_length, counts * 1.0)
        if step in SAVED_AT:
            append_jsonl(run.ledger, ledger.record(step))
    run.write_status(
        Status(
            identity=plan.identity(loaded),
            state="done",
            step=SAVED_AT[-1],
            num_steps=SAVED_AT[-1],
            attempts=1,
        )
    )
    return run
