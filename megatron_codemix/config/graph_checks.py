"""What does not go together with `backend.cuda_graphs`, each with the reason: a recording is what a
GPU was asked for once, with the same memory and the same sizes every time, and Python's part of a
step runs while it is made and never again."""

from megatron_codemix.config.schema import Fp8Config, RunConfig


def check_graphs(config: RunConfig) -> list[str]:
    """What is wrong whatever the layout; empty if all is well."""
    if config.backend.cuda_graphs == "none":
        return []
    asked, precision = f"backend.cuda_graphs: {config.backend.cuda_graphs}", config.precision
    problems = []
    if config.backend.device == "cpu":
        problems.append(
            f"{asked} records what a GPU does, and backend.device is cpu; leave one of them out"
        )
    if config.model.moe is not None:
        problems.append(
            f"{asked} does not go with model.moe; how many tokens an expert gets is another number "
            "at every step, which the host reads to size its products; leave it out"
        )
    if isinstance(precision, Fp8Config) and precision.scaling == "delayed":
        problems.append(
            f"{asked} does not go with delayed scaling, whose maxima and scales are passed on from "
            "step to step by Python; take tensorwise scaling, or leave it out"
        )
    if isinstance(precision, Fp8Config) and precision.is_engines and precision.recipe != "delayed":
        problems.append(
            f"{asked} does not go with precision.recipe={precision.recipe}; Transformer Engine's "
            "layers round weights, and begin sums of gradients, in a step's first microbatch, and "
            "one recording is for all of them; take precision.recipe=torch_scaled_mm "
            "precision.rule=tensorwise, or leave it out"
        )
    if config.data.loader == "dali":
        problems.append(
            f"{asked} does not go with data.loader=dali, which fills memory of the GPU in a stream "
            "of its own; take data.loader=own"
        )
    return problems


def check_graphs_layout(config: RunConfig) -> list[str]:
    """What they ask of `layout`; empty if all is well."""
    if config.backend.cuda_graphs == "none":
        return []
    layout = config.layout
    found = {
        "pipeline": (
            layout.pipeline > 1,
            "a stage's messages follow a schedule over all microbatches, and one is recorded",
        ),
        "tensor_overlap": (
            layout.tensor_overlap,
            "Transformer Engine's buffers are written by streams of its own, for which a recording "
            "was never tried",
        ),
        "overlap_grad_reduce": (
            layout.overlap_grad_reduce,
            "gradients of a step's last microbatch alone are reduced while it goes on, and one "
            "recording is for all of them",
        ),
    }
    return [
        f"layout.{name}: {getattr(layout, name)} does not go with backend.cuda_graphs; {why}; "
        "leave one of them out"
        for name, (is_there, why) in found.items()
        if is_there
    ]
