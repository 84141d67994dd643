"""A run that is given another mixture after it began goes on with it."""

from dataclasses import replace

from megatron_codemix.config.batch_sizes import BatchSizes
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.data.changed_run import changed_run
from megatron_codemix.data.mixture.plan import MixturePlan
from megatron_codemix.data.resolve import DataPlan
from megatron_codemix.errors import RunError
from megatron_codemix.runs import RunDirectory
from megatron_codemix.units import format_count


def changed_identity(
    run: RunDirectory, config: RunConfig, data: DataPlan, batches: BatchSizes
) -> str | None:
    """The identity under which `run` was trained so far, if nothing but what comes after its newest
    checkpoint has changed in its mixture; None if it is a new run, or the same, or another.

    Raises RunError if the new mixture differs from the old one in samples that were consumed.
    """

    def identity_of(mixture: MixturePlan) -> str:
        return replace(data, mixture=mixture).identity(config)

    changed = changed_run(
        run,
        data.mixture,
        identity_of,
        source_names=data.manifest_hashes,
        batches=batches,
    )
    if changed is None:
        return None
    if changed.first_difference is not None:
        length = config.data.sequence_length
        raise RunError(
            f"{run.path}: the mixture was changed from sample {changed.first_difference} on "
            f"({format_count(changed.first_difference * length)} tokens), and the run has consumed "
            f"{changed.consumed} samples ({format_count(changed.consumed * length)} tokens): what "
            "it was trained on cannot be changed; append to data.changes from there on, or use "
            "another directory"
        )
    return changed.identity
