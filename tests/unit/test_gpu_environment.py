"""What tests/gpu sets before torch is loaded."""

import os
from types import SimpleNamespace

import pytest

from tests.gpu import conftest

CONNECTION = {"CUDA_DEVICE_MAX_CONNECTIONS": "1"}


@pytest.mark.parametrize(
    ("given", "added"),
    [
        ({}, {"PYTORCH_ALLOC_CONF": "expandable_segments:True", **CONNECTION}),
        ({"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:False"}, CONNECTION),
    ],
)
def test_tests_on_the_gpu_have_the_environment_of_a_training(
    given: dict, added: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the environment says something of it; other tests do without."""
    for marks, expected in (("", given), ("gpu", {**given, **added})):
        environment = dict(given)
        monkeypatch.setattr(os, "environ", environment)
        conftest.pytest_configure(SimpleNamespace(option=SimpleNamespace(markexpr=marks)))
        assert environment == expected
