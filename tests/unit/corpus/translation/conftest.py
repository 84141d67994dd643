"""One engine for all tests of the translation."""

from collections.abc import Iterator

import pytest

from megatron_codemix.corpus.synthesis.translation.engine import Engine


@pytest.fixture(scope="session")
def javascript_engine(isolation: None) -> Iterator[Engine]:
    with Engine() as one:
        yield one
