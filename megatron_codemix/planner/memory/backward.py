"""What a layer's backward pass takes beside what autograd has kept: gradients that are not yet
added up, and what is computed again.

Each step frees what was kept for the steps before it, so not all of it is there at once. Checked
against the largest memory of a microbatch (tests/distributed/test_peak_memory.py).
"""

from dataclasses import replace

from megatron_codemix.planner.memory.layer import FP32, LayerActivations


def backward_bytes(layer: LayerActivations) -> int:
    """At the fullest moment, beside what the layer keeps."""
    sizes, model = layer.sizes, layer.job.model
    halves = 1 if model.activation == "gelu" else 2
    tokens, inputs = sizes.tokens, sizes.tokens * sizes.hidden
    if model.moe is not None:  # one expert after another, with gradients of all inputs and outputs
        routed = sizes.stream_tokens * model.moe.top_k
        tokens = routed // (model.moe.num_experts // layer.job.layout.expert)
        inputs = 2 * routed * sizes.hidden
    matrix = sizes.mlp * sizes.hidden
    wide = tokens * sizes.mlp
    freed = layer.mlp_tensors * wide
    steps = (
        # The second matrix: gradients of its input and of itself.
        wide + matrix,
        # The activation: both halves of a pair at once, and a product on the way; of an expert
        # another in fp32, the format of the router's weights.
        (2 * halves - 1 + (2 if model.moe else 0)) * wide,
        # The first matrix: of its output, its input and itself.
        halves * (wide + matrix) + inputs - freed,
    )
    mlp = max(steps) * sizes.element
    if model.moe is not None:
        mlp += inputs * sizes.element
    return 2 * sizes.stream + _again(layer) + max(mlp, _attention(layer) - layer.mlp_branch())


def _attention(layer: LayerActivations) -> int:
    """Gradients of output, queries, and keys and values as the kernel takes them; and of the
    scores, where they are there."""
    sizes = layer.sizes
    gradients = sizes.of_tokens(2 * sizes.queries + 2 * layer.attended_keys)
    if layer.kernels.attention == "flash":
        return gradients
    return gradients + 2 * FP32 * layer.scores


def _again(layer: LayerActivations) -> int:
    """What is computed again of single modules. A norm's output goes back to where it was from a
    copy, which stays."""
    whole = replace(layer, recomputed=frozenset())
    copy = layer.sizes.of_tokens(layer.sizes.hidden) if "layernorm" in layer.recomputed else 0
    return copy + max(0, whole.kept() - layer.kept())
