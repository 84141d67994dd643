"""A found layout as a configuration file that extends the one it was found for."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from megatron_codemix.config.loader import load_tree, merge, read_overrides
from megatron_codemix.config.schema import LayoutConfig, RunConfig
from megatron_codemix.config.tree import is_given
from megatron_codemix.errors import ConfigError
from megatron_codemix.planner.assumptions import complete


def layout_settings(base: Path, layout: LayoutConfig) -> dict[str, Any]:  # Any: values of fields
    """Fields of `layout` that the file `base` must be given to have it: those that it sets, and
    those that are not as they are by default."""
    tree = load_tree(base)
    return {
        name: value
        for name, value in layout.model_dump(mode="json").items()
        if value != LayoutConfig.model_fields[name].default or is_given(tree, f"layout.{name}")
    }


def settings_text(settings: Mapping[str, Any]) -> str:  # Any: values of fields
    """Of fields of `layout`, as a command line takes them."""
    return " ".join(f"layout.{name}={_setting(value)}" for name, value in settings.items())


def _setting(value: Any) -> str:  # Any: a field's value
    """As `key=value` takes it."""
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"[{','.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def layout_file(
    base: Path, target: Path, overrides: Sequence[str], config: RunConfig, comment: Sequence[str]
) -> str:
    """Text of a file at `target` that extends `base`, and is `config`.

    overrides: changes to `base` that were asked for; the layout of `config` goes before theirs.
    Raises ConfigError where a file that extends cannot say them.
    """
    asked = read_overrides({}, overrides)
    own = {key: value for key, value in asked.items() if key != "layout"}
    own["layout"] = layout_settings(base, config.layout)
    if complete(merge(load_tree(base), own), str(target)).config != config:
        raise ConfigError(
            [
                "--write: a file that extends another changes sections key by key, and an override "
                f"replaces a whole one ({', '.join(overrides)}); make that change in {base} first"
            ]
        )
    extends = os.path.relpath(base, target.parent)
    lines = [f"# {line}" for line in comment]
    content = yaml.safe_dump(_plain({"extends": extends, **own}), sort_keys=False, width=10**6)
    return "\n".join([*lines, content])


def require_new_file(path: Path, option: str) -> None:
    """Raises ConfigError where no new file can be made at `path`: something is there already, which
    would be lost, or its folder is missing or takes no files.

    option: that names `path` on the command line.
    """
    if path.is_dir():
        raise ConfigError([f"{option}: {path}: is a folder; give a new file in it"])
    if path.exists():
        raise ConfigError(
            [f"{option}: {path}: exists, and would be lost; give a new name, or remove it"]
        )
    if not path.parent.is_dir():
        raise ConfigError(
            [f"{option}: {path}: there is no folder {path.parent}; make it, or give another file"]
        )
    try:
        with tempfile.TemporaryFile(dir=path.parent):  # os.access lets root write into /proc
            pass
    except OSError as error:
        raise ConfigError(
            [
                f"{option}: {path}: the folder {path.parent} takes no new file ({error.strerror}); "
                "give another file"
            ]
        ) from error


def _plain(value: Any) -> Any:  # Any: a value of a Tree; keys there know their place
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return value
