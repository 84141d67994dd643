"""A run whose mixture was changed after it began: whether it can go on, and as what."""

from dataclasses import replace

from megatron_codemix.config.schema import RunConfig
from megatron_codemix.data.mixture.plan import MixturePlan
from megatron_codemix.data.resolve import DataPlan
from megatron_codemix.errors import RunError
from megatron_codemix.files import read_json
from megatron_codemix.runs import RunDirectory
from megatron_codemix.units import format_count


def changed_identity(
    run: RunDirectory, config: RunConfig, data: DataPlan, samples_per_step: int
) -> str | None:
    """The identity under which `run` was trained so far, if nothing but what comes after its newest
    checkpoint has changed in its mixture; None if it is a new run, or the same, or another.

    Raises RunError if the new mixture differs from the old one in samples that were consumed.
    """
    status = run.read_status()
    if status is None or status.identity == data.identity(config):
        return None
    recorded = run.attempt(status.attempts) / "plan.json"
    if not recorded.exists():
        return None
    earlier = MixturePlan.from_dict(read_json(recorded)["mixture"])
    if not set(earlier.source_names) <= data.manifest_hashes.keys():
        return None
    # With the earlier mixture in place of the new one all else must be as it was.
    if replace(data, mixture=earlier).identity(config) != status.identity:
        return None
    consumed = max(run.complete_steps(), default=0) * samples_per_step
    difference = data.mixture.first_difference(earlier, consumed)
    if difference is not None:
        length = config.data.sequence_length
        raise RunError(
            f"{run.path}: the mixture was changed from sample {difference} on "
            f"({format_count(difference * length)} tokens), and the run has consumed {consumed} "
            f"samples ({format_count(consumed * length)} tokens): what it was trained on cannot be "
            "changed; append to data.changes from there on, or use another directory"
        )
    return status.identity
