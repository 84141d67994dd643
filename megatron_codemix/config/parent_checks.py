"""What a phase has in common with the one whose checkpoint it starts from."""

from collections.abc import Iterator

from megatron_codemix.config.schema import ModelConfig, RunConfig

SHAPE_FIELDS = (
    "num_layers",
    "hidden_size",
    "ffn_hidden_size",
    "num_attention_heads",
    "num_query_groups",
    "head_dim",
    "vocabulary_size",
    "block",
    "activation",
    "normalization",
    "qk_norm",
    "tie_embeddings",
    "add_bias",
    "moe.num_experts",
)
"""Fields of the model that decide the names and shapes of its weights."""


def check_like_parent(config: RunConfig, parent: RunConfig, parent_name: str) -> Iterator[str]:
    """What keeps the parent's weights, and its optimizer's state where that is loaded, from going
    into the run. parent_name: for the messages, such as `the parent runs/first`."""
    for name in SHAPE_FIELDS:
        own, theirs = _field(config.model, name), _field(parent.model, name)
        if own != theirs:
            yield (
                f"model.{name}: {own}, but {parent_name} has {theirs}; a phase goes on with its "
                "parent's model"
            )
    kinds = config.optimizer.kind, parent.optimizer.kind
    if config.init_from and config.init_from.load == "weights+optimizer" and kinds[0] != kinds[1]:
        yield (
            f"optimizer.kind: {kinds[0]}, but the state of {parent_name} is {kinds[1]}'s; set "
            "init_from.load=weights, or the parent's kind"
        )


def _field(model: ModelConfig, name: str) -> object:
    """Value of a field by its dotted name; None where its section is absent."""
    value: object = model
    for part in name.split("."):
        value = getattr(value, part, None)
    return value
