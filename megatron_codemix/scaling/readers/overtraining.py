"""The over-training testbed of Gadre et al. 2024 (arXiv 2403.08540): 104 models, 3 training sets,
8 losses and 46 tasks each. Reads the folder `exp_data` of its repository: `models/*.json` with
losses, and `evals/` (beside or below `models/`) with scores."""

from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from megatron_codemix.errors import DataError
from megatron_codemix.files import Json, read_json
from megatron_codemix.scaling.table import RunTable

AVERAGED_TASKS = (
    "arc_easy",
    "bigbench_cs_algorithms",
    "bigbench_dyck_languages",
    "bigbench_novel_concepts",
    "bigbench_operators",
    "bigbench_qa_wikidata",
    "boolq",
    "commonsense_qa",
    "copa",
    "coqa",
    "hellaswag",
    "hellaswag_zeroshot",
    "lambada_openai",
    "piqa",
    "pubmed_qa_labeled",
    "squad",
    "winograd",
)
"""The 17 tasks on which one of the source's small models beats a guess by ten points."""

_EVALUATIONS = ("evals", "models/exp_data/evals", "models/evals")
"""Where the scores may lie; the first that is there."""


def detect(path: Path) -> bool:
    """Whether `path` is such a folder."""
    return path.is_dir() and any((path / "models").glob("*_original-*.json"))


def read(path: Path) -> RunTable:
    """One row for each model; the column `training_set` is `c4_original`, `rpj` or `rw_original`.
    `error.average_17` is the mean of AVERAGED_TASKS, `error.average` of all. Raises DataError."""
    files = sorted((path / "models").glob("*.json"))
    if not files:
        raise DataError(f"{path}: there is no models/*.json; give the testbed's folder exp_data")
    scores = next((path / name for name in _EVALUATIONS if (path / name).is_dir()), None)
    return RunTable.of_frame(pd.DataFrame([_row(file, scores) for file in files]), str(path))


def _row(file: Path, scores: Path | None) -> dict[str, Any]:  # Any: cells
    model = _json(file)
    try:
        asked = model["hyperparameters"]
        row = {
            "name": model["name"],
            "training_set": model["dataset_name"],
            "model": PurePosixPath(asked["model"]).stem,
            "parameters_total": asked["params"],
            "parameters_without_embedding": asked["params_no_embed"],
            "tokens": asked["tokens"],
        }
        for result in model["results"]:
            row[f"loss_nats.{_evaluation(result['val_data'][0])}"] = result["loss"]
    except (KeyError, IndexError, TypeError) as error:
        raise DataError(f"{file}: not a model of the over-training testbed: {error!r}") from error
    evaluation = scores / f"evaluation_{file.stem}_heavy.json" if scores else None
    if evaluation is not None and evaluation.is_file():
        scored = _json(evaluation)
        try:
            row |= _errors(scored["eval_metrics"]["icl"])
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{evaluation}: not the scores of a model of the over-training testbed: {error!r}"
            ) from error
    return row


def _json(file: Path) -> Json:
    try:
        return read_json(file)
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, nested too deeply
        raise DataError(f"{file}: damaged ({error}); fetch the file again, or remove it") from error


def _evaluation(shards: str) -> str:
    """`c4_val` for `.../c4_val/shard-{0..10}.tar`; the German set's folder does not name it."""
    place = PurePosixPath(shards)
    return place.name.split(".")[0] if place.parent.name == "de-en" else place.parent.name


def _errors(accuracies: dict[str, Json]) -> dict[str, float]:
    errors = {f"error.{task}": 1 - value for task, value in sorted(accuracies.items())}
    chosen = [errors[f"error.{task}"] for task in AVERAGED_TASKS]
    return {
        **errors,
        "error.average_17": sum(chosen) / len(chosen),
        "error.average": sum(errors.values()) / len(errors),
    }
