"""Under `make test-native` these tests run against an instrumented build of the extension."""

import os
from pathlib import Path

import pytest

SANITIZED_BUILD = os.environ.get("CODEMIX_SANITIZED_BUILD")


@pytest.fixture(autouse=True, scope="session")
def _extension_is_the_instrumented_one() -> None:
    """A sanitizer run that loads the ordinary build by mistake would pass and prove nothing."""
    if SANITIZED_BUILD is not None:
        from megatron_codemix import _C

        assert Path(_C.__file__).is_relative_to(SANITIZED_BUILD), _C.__file__


@pytest.fixture(scope="session")
def gpt_dataset():
    """megatron-core's module of index builders in Python."""
    return _not_sanitized("megatron.core.datasets.gpt_dataset")


@pytest.fixture(scope="session")
def helpers():
    """megatron-core's index builders in C++."""
    return _not_sanitized("megatron.core.datasets.helpers")


def _not_sanitized(name: str):
    if SANITIZED_BUILD is not None:
        pytest.skip("torch is not run under the sanitizers; the numpy oracle is")
    from tests.helpers.megatron_core import import_megatron

    return import_megatron(name)
