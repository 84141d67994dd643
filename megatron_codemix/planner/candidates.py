"""Which layouts a run can have on so many GPUs.

Legal is what `config.layout_checks` says, for a run and here alike. Sizes are chosen one after the
other: what is wrong with the first ones is wrong with all layouts that have them, and those are not
looked at.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, combinations
from typing import Any, Literal

from megatron_codemix.config.graph_checks import check_graphs_layout
from megatron_codemix.config.layout_checks import (
    check_layout_options,
    divisors,
    layout_problems,
)
from megatron_codemix.config.schema import LayoutConfig, RunConfig

RECOMPUTE_FIELDS = frozenset(
    {"recompute", "recompute_modules", "recompute_method", "recompute_layers"}
)
_OVERLAPS = ((True, True), (True, False), (False, False))
"""(overlap_grad_reduce, overlap_param_gather), those that hide more first."""


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A layout that cannot be or does not fit. It stands for all that share its sizes where its
    reason is in those."""

    layout: LayoutConfig
    kind: Literal["illegal", "memory"]
    reason: str
    excess_bytes: int = 0
    """With `memory`: what is lacking."""
    state_bytes: int = 0
    """With `memory`: weights, gradients and optimizer of the stage where they are most."""


@dataclass(frozen=True, kw_only=True)
class Space:
    """The layouts of `config` on `world_size` GPUs, of which NVLink joins `gpus_per_node`."""

    config: RunConfig
    world_size: int
    gpus_per_node: int
    fixed: frozenset[str] = frozenset()
    """Fields of `layout` that stay as `config` has them."""

    def sizes(self, rejected: list[Rejected]) -> list[LayoutConfig]:
        """All combinations of sizes that may be legal, microbatches innermost and ascending; what
        is wrong with the others is added to `rejected`."""
        layouts = [LayoutConfig()]
        for name, choices in self._levels():
            asked = [getattr(self.config.layout, name)] if name in self.fixed else None
            grown = [
                layout.model_copy(update={name: value})
                for layout in layouts
                for value in asked or choices(layout)
            ]
            layouts = [sizes for sizes in grown if self._is_possible(sizes, rejected)]
        return layouts

    def options(self, sizes: LayoutConfig, rejected: list[Rejected]) -> list[LayoutConfig]:
        """The legal layouts of these sizes that recompute nothing; what is wrong with the others is
        added to `rejected`.

        Where there are ranks to share it, a distributed optimizer takes less memory and less time
        than one on every rank; the other is taken only where it alone is legal, or asked for. The
        data-parallel collectives run beside the passes, which changes the order of sums alone, as
        far as the rest of the configuration lets them.
        """
        found: list[LayoutConfig] = []
        reasons: set[str] = set()
        sequence = [True, False] if sizes.tensor > 1 else [False]
        for sequence_parallel in self._switch("sequence_parallel", sequence):
            refused: list[tuple[LayoutConfig, list[str]]] = []
            for layout in self._ways_to_update(sizes, sequence_parallel):
                wrong = layout_problems(self._of(layout), self.world_size, self.gpus_per_node)
                if not wrong:
                    found.append(layout)
                    break
                refused.append((layout, wrong))
            else:
                layout, wrong = min(refused, key=_num_problems)
                if wrong[0] not in reasons:
                    reasons.add(wrong[0])
                    rejected.append(Rejected(layout=layout, kind="illegal", reason=wrong[0]))
        return found

    def selective_recomputations(self) -> list[tuple[str, ...]]:
        """Sets of modules that can be computed again, the smaller ones first."""
        model = self.config.model
        modules = ["core_attn", "moe" if model.moe else "mlp"]
        if model.block == "parallel":
            modules.append("layernorm")
        sizes = range(1, len(modules) + 1)
        return list(chain.from_iterable(combinations(modules, size) for size in sizes))

    def _levels(self) -> Iterator[tuple[str, Callable[[LayoutConfig], list[int]]]]:
        """(field, its values beside the sizes that are chosen already)."""
        config, world_size = self.config, self.world_size

        def left(layout: LayoutConfig) -> int:
            return max(1, world_size // layout.model_parallel)

        def microbatches(layout: LayoutConfig) -> list[int]:
            batch, ranks = config.train.global_batch_sequences, left(layout)
            return [1] if batch % ranks else divisors(batch // ranks)

        moe, layers = config.model.moe, config.model.num_layers
        yield "tensor", lambda layout: divisors(world_size)
        yield "pipeline", lambda layout: divisors(left(layout))
        yield "context", lambda layout: divisors(left(layout))
        yield "expert", lambda layout: [1] if moe is None else divisors(moe.num_experts)
        yield (
            "virtual_pipeline",
            lambda layout: [1] if layout.pipeline == 1 else divisors(layers // layout.pipeline),
        )
        yield "microbatch_sequences", microbatches

    def _switch(self, name: str, values: list[bool]) -> list[bool]:
        """What a switch of the layout may be, in the order to be tried."""
        return [getattr(self.config.layout, name)] if name in self.fixed else values

    def _is_possible(self, sizes: LayoutConfig, rejected: list[Rejected]) -> bool:
        """Whether nothing is wrong with these sizes whatever the others will be."""
        needs_sequence = self.config.model.moe is not None and sizes.tensor > 1
        layout = sizes.model_copy(update={"sequence_parallel": needs_sequence})
        config = self._of(layout)
        problems = [*check_layout_options(config), *check_graphs_layout(config)]
        if problems:
            rejected.append(Rejected(layout=sizes, kind="illegal", reason=problems[0]))
        return not problems

    def _ways_to_update(
        self, sizes: LayoutConfig, sequence_parallel: bool
    ) -> Iterator[LayoutConfig]:
        """What data-parallel ranks may share of the update and when they talk, the fastest first,
        legal or not."""
        is_shared = self.world_size > sizes.tensor * sizes.pipeline
        overlaps = _OVERLAPS if is_shared else _OVERLAPS[-1:]
        for distributed in self._switch("distributed_optimizer", [is_shared, not is_shared]):
            for reduces, gathers in overlaps:
                options = {
                    "sequence_parallel": sequence_parallel,
                    "distributed_optimizer": distributed,
                    "overlap_grad_reduce": reduces,
                    "overlap_param_gather": gathers,
                    "bucket_parameters": self.config.layout.bucket_parameters if reduces else None,
                }
                yield self._with_fixed(sizes.model_copy(update=options))

    def _with_fixed(self, layout: LayoutConfig) -> LayoutConfig:
        asked = self.config.layout
        options: dict[str, Any] = {  # Any: values of fields
            name: getattr(asked, name) for name in self.fixed - RECOMPUTE_FIELDS
        }
        if self.fixed & RECOMPUTE_FIELDS:
            options |= {name: getattr(asked, name) for name in RECOMPUTE_FIELDS}
        return layout.model_copy(update=options)

    def _of(self, layout: LayoutConfig) -> RunConfig:
        return self.config.model_copy(update={"layout": layout})


def _num_problems(refused: tuple[LayoutConfig, list[str]]) -> int:
    """Of a layout: with the fewest, none is of a choice that could have been another."""
    return len(refused[1])
