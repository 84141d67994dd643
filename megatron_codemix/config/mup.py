"""What muP changes at another width than the base (arXiv 2203.03466, table 8, Adam).

With m = width / base width: hidden matrices start with init_std / sqrt(m) and learn at lr / m; the
logits are divided by m; the attention's logits are divided by the width of a head instead of its
root. Tables, biases and norms keep init_std and lr, so tied tables need no rule of their own.
Weight decay of hidden matrices is multiplied by m: what a step takes off, lr x decay, then does not
depend on the width either.
"""

import math

from megatron_codemix.config.schema import ModelConfig


def width_ratio(model: ModelConfig) -> float:
    """m; 1 without muP."""
    return model.hidden_size / model.mup.base_hidden_size if model.mup else 1.0


def hidden_init_std(model: ModelConfig) -> float:
    """Standard deviation of the layers' matrices at step 0, those that write to the residual stream
    apart from their 1 / sqrt(2 * num_layers)."""
    return model.init_std / math.sqrt(width_ratio(model))


def softmax_scale(model: ModelConfig) -> float | None:
    """Factor on queries times keys; None: the usual 1 / sqrt(head width), with which this one
    agrees at the base."""
    if model.mup is None or model.mup.base_head_dim is None:
        return None
    head_dim = model.head_dim or model.hidden_size // model.num_attention_heads
    return math.sqrt(model.mup.base_head_dim) / head_dim


def logit_factor(model: ModelConfig) -> float:
    """Factor on the logits, `logit_scale` included."""
    return model.logit_scale / width_ratio(model)
