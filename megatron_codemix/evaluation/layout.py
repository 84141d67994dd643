"""Layout of an evaluation: how a model is spread over processes to be read. Free of torch."""

from dataclasses import asdict, dataclass

from megatron_codemix.config.layout_checks import check_layout_options
from megatron_codemix.config.schema import LayoutConfig, RunConfig
from megatron_codemix.errors import ConfigError


@dataclass(frozen=True)
class EvaluationLayout:
    """Processes that hold one copy of the model; further processes hold further copies."""

    tensor: int = 1
    pipeline: int = 1

    def check(self, config: RunConfig, world_size: int) -> None:
        """Raises ConfigError with all that keeps the run's model from being cut so."""
        layout = LayoutConfig(**asdict(self))
        problems = check_layout_options(config.model_copy(update={"layout": layout}))
        if config.model.moe is not None and self.tensor > 1:
            problems = [
                f"layout.tensor: {self.tensor}: the model has experts (model.moe), which are not "
                "cut, and is evaluated without sequence parallelism; use layout.pipeline or copies"
            ]
        if world_size % layout.model_parallel:
            problems.append(
                f"layout: tensor {self.tensor} x pipeline {self.pipeline} = "
                f"{layout.model_parallel} processes hold one copy of the model, and {world_size} "
                "processes are not a multiple of that; change the number of processes or the layout"
            )
        if problems:
            raise ConfigError(problems)
