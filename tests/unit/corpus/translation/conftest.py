"""One engine for all tests of the translation."""

from collections.abc import Iterator

import pytest

from megatron_codemix.corpus.synthesis.translation.engine import Engine
from megatron_codemix.errors import UnavailableError


@pytest.fixture(scope="session")
def javascript_engine() -> Iterator[Engine]:
    try:
        one = Engine()
    except UnavailableError as error:
        pytest.skip(str(error))
    with one:
        yield one
