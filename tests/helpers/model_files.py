"""The model files of the examples."""

from pathlib import Path

from megatron_codemix.config.loader import build_section, load_tree
from megatron_codemix.config.schema import ModelConfig

MODEL_FILES = {
    path.stem: path
    for path in sorted((Path(__file__).parents[2] / "examples" / "models").glob("*.yaml"))
}


def load_model(name: str) -> ModelConfig:
    path = MODEL_FILES[name]
    return build_section(ModelConfig, load_tree(path)["model"], str(path))
