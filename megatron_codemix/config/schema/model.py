"""The section `model`."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from megatron_codemix.config.schema.fields import Section


class MupConfig(Section):
    """Width transfer (maximal update parametrisation, Adam's column of table 8 of arXiv
    2203.03466): learning rate and `init_std` that were chosen at the base width hold at this one.
    There, nothing changes."""

    base_hidden_size: PositiveInt
    """Width at which they were chosen. MLP and attention are supposed to grow with it."""
    base_head_dim: PositiveInt | None = None
    """Width of a head there; absent: as here, because the width grows by the number of heads."""


class MoeConfig(Section):
    """Mixture of experts in place of the MLP of every layer: a router sends each token to some of
    the experts, all of it without a limit on what an expert takes (none is dropped)."""

    num_experts: Annotated[int, Field(ge=2)]
    """Experts of a layer, each an MLP of `ffn_hidden_size`."""
    top_k: PositiveInt
    """Experts that each token goes to."""
    normalize_chosen: bool = True
    """Whether the weights of the chosen experts sum to 1 (Mixtral), or are their parts of the
    softmax over all experts (Switch)."""
    balance_coefficient: Annotated[float, Field(ge=0)]
    """Of the loss that evens out the experts' loads (arXiv 2101.03961, eq. 4), of each sample by
    itself and averaged: so no microbatch and no layout changes it. 0: none."""
    router_z_coefficient: Annotated[float, Field(gt=0)] | None = None
    """Of the loss on the router's logits (arXiv 2202.08906, eq. 5); absent: none."""


class ModelConfig(Section):
    """Shape of the decoder-only transformer. Everything megatron-core can do beyond these goes into
    `transformer_overrides`."""

    num_layers: PositiveInt
    """Number of transformer layers."""
    hidden_size: PositiveInt
    """Width of the residual stream."""
    ffn_hidden_size: PositiveInt
    """Width inside the MLP, with `moe` inside each expert; with a gated activation, of each of its
    two halves."""
    num_attention_heads: PositiveInt
    """Number of query heads."""
    num_query_groups: PositiveInt | None = None
    """Number of key/value heads (grouped-query attention); absent: one for each query head."""
    head_dim: PositiveInt | None = None
    """Width of one head; absent: hidden_size / num_attention_heads."""
    vocabulary_size: PositiveInt
    """Entries of the tokenizer. The model's tables are padded to a multiple of 1,024, whatever the
    layout."""
    block: Literal["sequential", "parallel"] = "sequential"
    """`sequential`: attention, then the MLP, each under a norm of its own (arXiv 1706.03762, norms
    first). `parallel`: both read the same normalised input and their sum is added at once (GPT-J,
    PaLM, Cohere)."""
    activation: Literal["swiglu", "geglu", "gelu"] = "swiglu"
    """Activation of the MLP; `swiglu` and `geglu` are gated."""
    normalization: Literal["rmsnorm", "layernorm", "layernorm_no_bias"] = "rmsnorm"
    """Normalisation before attention, before the MLP and at the end."""
    norm_epsilon: Annotated[float, Field(gt=0)] = 1e-5
    """Added to the variance inside the normalisation."""
    rope_base: Annotated[float, Field(gt=0)] = 10000.0
    """Base of the rotary position embedding's frequencies (arXiv 2104.09864)."""
    rope_interleaved: bool = False
    """Whether the embedding turns neighbouring dimensions (GPT-J, Cohere) instead of one of each
    half (GPT-NeoX, Llama)."""
    qk_norm: bool = False
    """Whether queries and keys of each head are normalised before they are turned (arXiv
    2302.05442), by `normalization` with one set of weights for all heads."""
    tie_embeddings: bool
    """Whether the output layer uses the input embedding's weights."""
    add_bias: bool = False
    """Whether the dense layers have biases."""
    init_std: Annotated[float, Field(gt=0)] = 0.02
    """Standard deviation of the initial weights; the two layers that write to the residual stream
    use init_std / sqrt(2 * num_layers)."""
    logit_scale: Annotated[float, Field(gt=0)] = 1.0
    """Factor on the logits (Cohere's 0.0625)."""
    z_loss: Annotated[float, Field(gt=0)] | None = None
    """Coefficient of logsumexp(logits)^2, added to each token's loss (PaLM's is 1e-4; arXiv
    2204.02311); absent: none. Reported by itself, not within the loss."""
    mup: MupConfig | None = None
    """Width transfer; absent: standard parametrisation."""
    moe: MoeConfig | None = None
    """Mixture of experts; absent: a dense model."""
    transformer_overrides: dict[str, str] = {}
    """Other fields of megatron-core's TransformerConfig, by name. For experts; checked for name and
    type."""
