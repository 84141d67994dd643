"""What Transformer Engine's layers call by other names than ours: the parameters of a norm that it
computes in one kernel with the linear layer behind.

In a checkpoint a norm has the name that Transformer Engine gives it, whosever the layers are:
megatron-core's local layer spec has the same table the other way round.
"""

_OURS = {
    "self_attention.linear_qkv.layer_norm_": "input_layernorm.",
    "mlp.linear_fc1.layer_norm_": "pre_mlp_layernorm.",
}


def own_name(name: str) -> str:
    """Ours of a parameter within its layer, such as `input_layernorm.weight`: what weights at step
    0 follow from."""
    for theirs, ours in _OURS.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name
