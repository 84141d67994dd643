"""What layers keep in a checkpoint beside their parameters (`_extra_state`): scales of FP8.

Every linear layer has an entry, empty where there is nothing to keep; Transformer Engine's norms
and attention have one too, always empty. Checkpoints hold those of the linear layers alone, so they
do not tell whose layers wrote them.
"""

from typing import Any

import torch

_EXTRA = "._extra_state"


def of_linear_layers(sharded: dict[str, Any]) -> dict[str, Any]:
    """A model's sharded state without the entries of other layers."""
    return {name: place for name, place in sharded.items() if not _is_left_out(name)}


def _is_left_out(name: str) -> bool:
    if not name.endswith(_EXTRA):
        return False
    return not name.removesuffix(_EXTRA).rpartition(".")[2].startswith("linear_")


def understood(loaded: dict[str, Any], model: torch.nn.Module) -> dict[str, Any]:
    """The loaded state as `model`'s own layers write it: an entry that is missing, or that layers
    of another kind have left, is what the layer has now. Scales then begin anew."""
    own = {name: state for name, state in model.state_dict().items() if name.endswith(_EXTRA)}
    strange = {
        name: state
        for name, state in own.items()
        if name not in loaded or not isinstance(loaded[name], type(state))
    }
    return {**loaded, **strange}
