"""A model file, as a target of ladders and predictions."""

from dataclasses import dataclass
from pathlib import Path

from megatron_codemix.config.loader import build_section, load_tree
from megatron_codemix.config.parameters import count_parameters
from megatron_codemix.config.schema import ModelConfig
from megatron_codemix.errors import ConfigError
from megatron_codemix.resources import find_example
from megatron_codemix.scaling.rules import body_parameters

USUAL_SEQUENCE_LENGTH = 2048
"""Where the file names none: that of the published rules."""


@dataclass(frozen=True)
class ModelFile:
    model: ModelConfig
    sequence_length: int

    @property
    def counts(self) -> dict[str, int]:
        """Parameters, by the columns of a table of runs."""
        return {
            "parameters_total": count_parameters(self.model, self.model.vocabulary_size),
            "parameters_without_embedding": body_parameters(self.model),
        }


def read_model(path: Path) -> ModelFile:
    """The section `model` of a file, and its sequence length if it has one. Finds the packaged
    examples too. Raises ConfigError."""
    place = path
    if not path.exists() and path.parts[:1] == ("examples",):
        place = find_example(str(Path(*path.parts[1:]))) or path
    tree = load_tree(place)
    if not isinstance(tree.get("model"), dict):
        raise ConfigError([f"{path}: has no section 'model'; give a model file such as those in "
                           "examples/models"])  # fmt: skip
    model = build_section(ModelConfig, tree["model"], str(path))
    data = tree.get("data")
    length = data.get("sequence_length") if isinstance(data, dict) else None
    try:
        return ModelFile(model, int(length or USUAL_SEQUENCE_LENGTH))
    except ValueError as error:
        raise ConfigError([f"{path}: data.sequence_length: {length!r} is no number"]) from error
