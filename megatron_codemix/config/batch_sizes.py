"""How many samples each step takes: the global batch, and before it the smaller ones of a ramp-up.
All cut one order of samples, so sizes decide where a step begins and never what comes next."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from megatron_codemix.config.schema import RampUpConfig, RunConfig


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Steps of one size, up to the next stage. Steps and samples count from 0."""

    sequences: int
    """Samples in one step."""
    first_step: int
    first_sample: int


@dataclass(frozen=True, kw_only=True)
class BatchSizes:
    """Sizes of all steps of a phase; the last stage, of the full batch, has no end."""

    stages: tuple[Stage, ...]
    sequence_length: int

    @property
    def full(self) -> int:
        """Samples of a step after the ramp-up."""
        return self.stages[-1].sequences

    def sequences(self, step: int) -> int:
        """Samples of this step (from 0)."""
        return self._stage_of(step).sequences

    def samples(self, steps: int) -> int:
        """Samples of the first `steps` steps."""
        stage = self._stage_of(steps)
        return stage.first_sample + (steps - stage.first_step) * stage.sequences

    def tokens(self, steps: int) -> int:
        """Tokens of the first `steps` steps."""
        return self.samples(steps) * self.sequence_length

    def step_of(self, sample: int) -> int:
        """The step (from 0) that reads this sample."""
        place = bisect_right(self.stages, sample, key=lambda stage: stage.first_sample)
        stage = self.stages[place - 1]
        return stage.first_step + (sample - stage.first_sample) // stage.sequences

    def nearest_steps(self, tokens: int) -> int:
        """The number of steps whose tokens are nearest to `tokens` (halves round up), at least
        one."""
        step = self.step_of(tokens // self.sequence_length)
        is_next_nearer = 2 * tokens >= self.tokens(step) + self.tokens(step + 1)
        return max(1, step + is_next_nearer)

    def is_due(self, steps: int, every_steps: int) -> bool:
        """Whether a multiple of `every_steps` full batches is nearest to what `steps` steps take;
        without a ramp-up: whether `steps` is a multiple of it."""
        if len(self.stages) == 1:
            return steps % every_steps == 0
        before, now, after = (self.samples(number) for number in (steps - 1, steps, steps + 1))
        # Multiples of `interval` from one middle between two steps to the next, all doubled. The
        # first step also has those that lie before it, and 0 is none.
        interval = 2 * every_steps * self.full
        start, stop = (1 if steps == 1 else before + now), now + after
        return -(-stop // interval) > -(-start // interval)

    def _stage_of(self, step: int) -> Stage:
        place = bisect_right(self.stages, step, key=lambda stage: stage.first_step)
        return self.stages[place - 1]


def batch_sizes(config: RunConfig) -> BatchSizes:
    """The sizes of the steps of this phase.

    As megatron-core's RampupBatchsizeNumMicroBatchesCalculator: the ramp-up's tokens are divided
    equally among its sizes, and a step has the size of the part in which it begins. A size whose
    part lies within a step of the size before it does not come about.
    """
    full, length = config.train.global_batch_sequences, config.data.sequence_length
    stages: list[Stage] = []
    step = sample = 0
    for sequences, end in _ramp_up_parts(config.train.ramp_up, full, length):
        num_steps = max(0, -(-(end - sample) // sequences))
        if num_steps:
            stages.append(Stage(sequences=sequences, first_step=step, first_sample=sample))
        step, sample = step + num_steps, sample + num_steps * sequences
    stages.append(Stage(sequences=full, first_step=step, first_sample=sample))
    return BatchSizes(stages=tuple(stages), sequence_length=length)


def _ramp_up_parts(
    ramp_up: RampUpConfig | None, full: int, sequence_length: int
) -> Iterator[tuple[int, int]]:
    """(samples of a step, sample from which on steps have the next size) of each size below the
    full batch."""
    if ramp_up is None:
        return
    sizes = range(ramp_up.start_sequences, full, ramp_up.increment_sequences)
    for number, sequences in enumerate(sizes, start=1):
        yield sequences, -(-number * ramp_up.over_tokens // (len(sizes) * sequence_length))
