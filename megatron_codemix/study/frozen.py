"""A study as it was submitted, in one file: a job that reads it days later must not meet another
study because the file was edited meanwhile."""

from collections.abc import Mapping
from typing import Any

import yaml

from megatron_codemix.study.spec import StudySpec


def dump_study(spec: StudySpec) -> str:
    """The study with what it extends, its data folder and its scale filled in; `load_study` gives
    an equal one, wherever the file lies."""
    tree = _plain(spec.model_dump(mode="json"))
    return str(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=10**6))


def _plain(value: Any) -> Any:  # Any: the nested content of a study
    """Without keys that know their line, which YAML cannot write."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, str) else value
