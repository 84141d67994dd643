"""What `precision: {kind: fp8}` needs: of the other sections, and of the machine.

Rules are Transformer Engine's and megatron-core 0.16.1's, of which each checks its own when the
first step is made; Megatron-LM's argument parser has the rest. Emulation follows them too, so that
what runs here runs there.
"""

from collections.abc import Iterator
from typing import Literal

from megatron_codemix.config.schema import Fp8Config, RunConfig

ENGINE_VERSION = (2, 9)
"""Oldest Transformer Engine that is taken; blockwise scaling came with 2.3."""
NEXT_ENGINE_VERSION = (2, 12)
"""Of the extra [gpu] too: the first that calls were not compared with (tests/contracts)."""
ENGINE_EXTRA = "the extra [gpu] (pip install --no-build-isolation)"
"""Its part for PyTorch is built against the torch that it finds; isolated, that is another one."""

ENGINES_TAKEN = "Transformer Engine {}.{} or newer, before {}.{}".format(
    *ENGINE_VERSION, *NEXT_ENGINE_VERSION
)

Capability = tuple[int, int]
LEAST_CAPABILITY: dict[str, Capability] = {
    "tensorwise": (8, 9),
    "delayed": (8, 9),
    "blockwise": (9, 0),
    "mxfp8": (10, 0),
    "torch_scaled_mm": (8, 9),
}
"""Compute capability: FP8 tensor cores came with Ada (8.9), the products of blocks with Hopper,
those whose tensor cores take a scale for each 32 elements with Blackwell."""

NEXT_CAPABILITY: dict[str, Capability] = {"mxfp8": (12, 0)}
"""The first that Transformer Engine 2.11 does not take for a recipe: of the workstations'
Blackwell, whose products do not have all orders of operands."""

LEAST_CUDA = {"blockwise": (12, 9)}
"""Of the CUDA that PyTorch is built with, where a recipe asks for more than the others."""

TENSOR_CORE_MULTIPLE = 16
BLOCKS = {"blockwise": 128, "mxfp8": 32}
"""Elements along a dimension that share a scale, where not all of a tensor do."""


def check_precision(config: RunConfig) -> list[str]:
    """What is wrong whatever the machine and the layout; empty if all is well."""
    precision = config.precision
    if not isinstance(precision, Fp8Config):
        return []
    return [
        *_check_fields(precision),
        *_check_model(config, precision),
        *_check_params(config, precision),
    ]


def check_precision_layout(config: RunConfig) -> list[str]:
    """What FP8 asks of the layout, and of each rank's part of every product; empty if all is
    well."""
    precision = config.precision
    if not isinstance(precision, Fp8Config):
        return []
    problems = _check_sizes(config, precision)
    is_kept_in_fp8 = precision.fp8_params and precision.is_engines
    if is_kept_in_fp8 and not config.layout.distributed_optimizer:
        problems.append(
            "precision.fp8_params: needs layout.distributed_optimizer=true, which alone keeps the "
            "fp32 master weights that FP8 ones are made from; set it, or remove fp8_params"
        )
    if is_kept_in_fp8 and precision.recipe == "mxfp8" and config.layout.overlap_param_gather:
        problems.append(
            "precision.fp8_params: with recipe=mxfp8 weights are gathered in bf16 in the memory of "
            "the gradients, which are in it until the step is over, and "
            "layout.overlap_param_gather=true would gather them later; set that to false, or "
            "remove fp8_params"
        )
    return problems


def check_machine(
    precision: Fp8Config, capability: Capability | None, engine: str | None
) -> list[str]:
    """What a machine lacks for `precision`; empty if it can run it.

    capability: the least of its GPUs' compute capabilities; None: there is no GPU.
    engine: version of Transformer Engine; None: it is not installed.
    """
    problems = check_capability(precision, capability)
    if not precision.is_engines:
        return problems
    recipe, instead = precision.recipe, f"or {emulated(precision)}"
    if capability is None:
        problems.append(
            f"precision.recipe: {recipe} multiplies on an NVIDIA GPU of compute capability "
            f"{_taken(recipe)}, and this machine has none; run on one, {instead}"
        )
    if engine is None:
        problems.append(
            f"precision.recipe: {recipe} is Transformer Engine's, which is not installed; install "
            f"{ENGINE_EXTRA}, {without_engine(precision)}"
        )
    elif not is_taken(engine):
        problems.append(
            f"precision.recipe: {recipe} needs {ENGINES_TAKEN}, and {engine} is installed; install "
            f"{ENGINE_EXTRA}, {instead}"
        )
    return problems


def is_taken(engine: str) -> bool:
    """Whether a Transformer Engine of this version is."""
    return ENGINE_VERSION <= _version(engine) < NEXT_ENGINE_VERSION


def check_capability(precision: Fp8Config, capability: Capability | None) -> list[str]:
    """What a GPU lacks for `precision`; empty if it can multiply so, or there is none (None)."""
    recipe = precision.recipe
    if recipe == "emulated" or capability is None:
        return []
    least, following = LEAST_CAPABILITY[recipe], NEXT_CAPABILITY.get(recipe)
    if least <= capability and (following is None or capability < following):
        return []
    has_blocks = recipe == "mxfp8" and capability >= LEAST_CAPABILITY["blockwise"]
    instead = "precision.recipe=blockwise, bf16" if has_blocks else "bf16"
    return [
        f"precision.recipe: {recipe} needs a GPU of compute capability {_taken(recipe)}, and this "
        f"one has {_dotted(capability)}; take {instead}, or {emulated(precision)}"
    ]


def check_cuda(precision: Fp8Config, cuda: str | None) -> list[str]:
    """As `check_machine`, of the CUDA that PyTorch is built with; None: it has none."""
    recipe = precision.recipe
    least = LEAST_CUDA.get(recipe, (0, 0))
    if not precision.is_engines or (cuda is not None and _version(cuda) >= least):
        return []
    wanted = f"CUDA {_dotted(least)} or newer" if recipe in LEAST_CUDA else "CUDA"
    return [
        f"precision.recipe: {recipe} needs a PyTorch that is built with {wanted}, and this one has "
        f"{cuda or 'none'}; install another torch, or {emulated(precision)}"
    ]


def fp8_format(scaling: str) -> Literal["e4m3", "hybrid"]:
    """megatron-core's name for the formats of a recipe, those of its defaults: E4M3 for all
    tensors, or E5M2 for the outputs' gradients."""
    return "e4m3" if scaling in BLOCKS else "hybrid"


def needs_of(precision: Fp8Config) -> str:
    """For where the machine cannot be asked."""
    if precision.recipe == "emulated":
        return (
            f"FP8 by the rule {precision.rule} is emulated: numbers as in FP8, speed and memory not"
        )
    if precision.recipe == "torch_scaled_mm":
        return (
            f"FP8 by the rule {precision.rule} in PyTorch's own products: on GPUs of compute "
            f"capability {_taken(precision.recipe)}; on a CPU it is as slow as emulation"
        )
    return (
        f"precision.recipe: {precision.recipe} runs where {ENGINES_TAKEN}, and GPUs of compute "
        f"capability {_taken(precision.recipe)} are"
    )


def _check_fields(precision: Fp8Config) -> list[str]:
    problems = []
    if precision.is_engines == (precision.rule is not None):
        problems.append(
            "precision.rule: names what recipe=emulated emulates (tensorwise, blockwise, delayed, "
            "mxfp8) or recipe=torch_scaled_mm scales by (tensorwise, delayed), and nothing else; "
            f"the recipe is {precision.recipe}; " + ("remove it" if precision.rule else "set it")
        )
    if precision.recipe == "torch_scaled_mm" and precision.rule in BLOCKS:
        problems.append(
            f"precision.rule: {precision.rule} does not go with recipe=torch_scaled_mm, whose "
            "products take one scale for each matrix; set precision.rule=tensorwise, or "
            f"Transformer Engine's precision.recipe={precision.rule} precision.rule="
        )
    for name in ("amax_history_length", "margin"):
        is_set = getattr(precision, name) != Fp8Config.model_fields[name].default
        if is_set and precision.scaling != "delayed":
            problems.append(
                f"precision.{name}: means something only with delayed scaling, which alone looks "
                "back on earlier maxima; remove it"
            )
    if precision.first_last_bf16 and precision.scaling == "delayed":
        problems.append(
            "precision.first_last_bf16: does not go with delayed scaling, whose region of "
            "Transformer Engine spans all layers of a pass: leaving it for single layers would "
            "take their maxima at the wrong time (megatron-core refuses it); take tensorwise or "
            "blockwise, or set it to false"
        )
    return problems


def _check_model(config: RunConfig, precision: Fp8Config) -> list[str]:
    model, is_engines = config.model, precision.is_engines
    problems = []
    if is_engines and config.backend.device == "cpu":
        problems.append(
            f"precision.recipe: {precision.recipe} multiplies on a GPU, and backend.device is cpu; "
            f"set precision.recipe=emulated precision.rule={precision.recipe}"
        )
    if precision.first_last_bf16 and model.num_layers <= 2:
        problems.append(
            f"precision.first_last_bf16: leaves none of the {model.num_layers} layers in FP8; take "
            "precision.kind=bf16, or set it to false"
        )
    if model.moe is not None:
        problems.append(
            "precision.kind: fp8 does not go with model.moe; how many tokens an expert gets is no "
            "multiple of what FP8 needs, and the padding for that is not built; take bf16"
        )
    if is_engines and model.block == "parallel":
        problems.append(
            "model.block: parallel shares the communication of its branches, which Transformer "
            "Engine's linear layers do by themselves; with precision.kind=fp8 take sequential, or "
            "emulate"
        )
    return problems


def _check_params(config: RunConfig, precision: Fp8Config) -> list[str]:
    if not precision.fp8_params:
        return []
    if not precision.is_engines:
        return [
            "precision.fp8_params: changes memory and communication, and is Transformer Engine's; "
            "weights enter their products rounded in either case; remove it"
        ]
    if config.init_from is not None and config.init_from.load == "weights":
        return [
            "precision.fp8_params: with init_from.load=weights the master weights would be made "
            "from weights that were rounded to FP8; load weights+optimizer, or remove fp8_params"
        ]
    return []


def _check_sizes(config: RunConfig, precision: Fp8Config) -> list[str]:
    """Each rank's part of every product."""
    model, layout = config.model, config.layout
    heads = (model.num_attention_heads, model.num_query_groups or model.num_attention_heads)
    if any(size % layout.tensor for size in (*heads, model.ffn_hidden_size)):
        return []  # what layout_checks says comes first
    block = BLOCKS.get(precision.scaling or "")
    multiple = block or TENSOR_CORE_MULTIPLE
    why = (
        f"a scale is shared by {block} elements, and a block must not be cut by the layout"
        if block
        else "the tensor cores' FP8 products take nothing else"
    )
    return [
        f"precision.kind: fp8 needs {what} to be a multiple of {multiple}, and it is {size}; "
        f"{why}; change it or take bf16"
        for what, size in _sizes(config)
        if size % multiple
    ]


def _sizes(config: RunConfig) -> Iterator[tuple[str, int]]:
    model, layout = config.model, config.layout
    of_rank = f" / layout.tensor {layout.tensor}" if layout.tensor > 1 else ""
    head = model.head_dim or model.hidden_size // model.num_attention_heads
    queries = model.num_attention_heads
    keys_and_values = 2 * (model.num_query_groups or queries)
    all_heads = (queries + keys_and_values) * head
    yield "model.hidden_size", model.hidden_size
    yield f"the width of all heads{of_rank}", queries * head // layout.tensor
    yield f"the width of queries, keys and values{of_rank}", all_heads // layout.tensor
    yield f"model.ffn_hidden_size{of_rank}", model.ffn_hidden_size // layout.tensor
    shares = layout.context * (layout.tensor if layout.sequence_parallel else 1)
    tokens = config.data.sequence_length * layout.microbatch_sequences // shares
    yield "the tokens of a rank's microbatch (data.sequence_length x microbatch_sequences)", tokens


def without_engine(precision: Fp8Config) -> str:
    """What to take in place of a recipe of Transformer Engine's, as changes that can be typed."""
    if precision.recipe in BLOCKS:
        return (
            f"or {emulated(precision)}; on a GPU without it, take precision.recipe=torch_scaled_mm "
            "precision.rule=tensorwise"
        )
    return (
        f"take precision.recipe=torch_scaled_mm precision.rule={precision.recipe}, which does "
        f"without it, or {emulated(precision)}"
    )


def emulated(precision: Fp8Config) -> str:
    """The same rule on any machine, as changes that can be typed."""
    return f"emulate it: precision.recipe=emulated precision.rule={precision.scaling}"


def _taken(recipe: str) -> str:
    """The capabilities that a recipe runs on, in words."""
    following = NEXT_CAPABILITY.get(recipe)
    below = "" if following is None else f", below {_dotted(following)}"
    return f"{_dotted(LEAST_CAPABILITY[recipe])} or higher{below}"


def _dotted(numbers: tuple[int, int]) -> str:
    return f"{numbers[0]}.{numbers[1]}"


def _version(text: str) -> tuple[int, int]:
    """The first two numbers of a version; of anything else (0, 0)."""
    parts = [part for part in text.split(".")[:2] if part.isdecimal()]
    return (int(parts[0]), int(parts[1])) if len(parts) == 2 else (0, 0)
