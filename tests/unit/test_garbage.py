"""No search for garbage within a block, and those outside of it as before."""

import gc

import pytest

from megatron_codemix.garbage import no_search_for_garbage


@pytest.mark.parametrize("was_enabled", [True, False])
def test_it_is_as_before_behind_the_block(was_enabled: bool) -> None:
    before = gc.isenabled()
    (gc.enable if was_enabled else gc.disable)()
    try:
        with no_search_for_garbage():
            assert not gc.isenabled()
        assert gc.isenabled() is was_enabled
    finally:
        (gc.enable if before else gc.disable)()
