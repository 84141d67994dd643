"""`megatron_codemix.data`: what it exports, and at what cost."""

import subprocess
import sys

import pytest

import megatron_codemix.data as public


def test_every_exported_name_is_there_and_nothing_else() -> None:
    assert sorted(public.__all__) == sorted(public._MODULE_OF)
    for name in public.__all__:
        found = getattr(public, name)
        assert getattr(found, "__name__", name) == name


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Shard'"):
        public.Shard  # noqa: B018


def test_what_is_not_used_is_not_loaded() -> None:
    code = (
        "import sys; from megatron_codemix.data import quantise_weights;"
        "print([name for name in sys.modules if name == 'torch' or name.endswith('.dataset')])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "[]\n", result.stderr
