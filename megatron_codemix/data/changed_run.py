"""A run whose mixture was changed after it began: whether it can go on, and as what."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from megatron_codemix.config.batch_sizes import BatchSizes
from megatron_codemix.data.mixture.plan import MixturePlan
from megatron_codemix.errors import RunError
from megatron_codemix.files import read_json_object
from megatron_codemix.runs import RunDirectory


@dataclass(frozen=True, kw_only=True)
class ChangedRun:
    """A run that differs in its mixture alone from what is asked for now."""

    identity: str
    """Under which it was trained so far."""
    consumed: int
    """Samples up to its newest checkpoint."""
    first_difference: int | None
    """The first of these that the new mixture has otherwise; None where it can go on."""


def changed_run(
    run: RunDirectory,
    mixture: MixturePlan,
    identity_of: Callable[[MixturePlan], str],
    *,
    source_names: Collection[str],
    batches: BatchSizes,
) -> ChangedRun | None:
    """What `run` was, where nothing but its mixture has changed; None if it is a new run, or the
    same, or another.

    identity_of: identity of what is asked for now, if it had that mixture.
    source_names: sources that it has a shard of.
    """
    status = run.read_status()
    if status is None or status.identity == identity_of(mixture):
        return None
    recorded = run.attempt(status.attempts) / "plan.json"
    if not recorded.exists():
        return None
    try:
        earlier = MixturePlan.from_dict(read_json_object(recorded)["mixture"])
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{recorded}: the mixture in it cannot be read ({error!r}); restore the file"
        ) from error
    if not set(earlier.source_names) <= set(source_names):
        return None
    # With the earlier mixture in place of the new one all else must be as it was.
    if identity_of(earlier) != status.identity:
        return None
    consumed = batches.samples(max(run.complete_steps(), default=0))
    return ChangedRun(
        identity=status.identity,
        consumed=consumed,
        first_difference=mixture.first_difference(earlier, consumed),
    )
