"""The split: by origin alone, and nested in the fraction."""

from megatron_codemix.corpus.split import selection_position, split_of, split_position

ORIGINS = [f"packages/p{number}/file{number}.py" for number in range(20_000)]


def test_positions_are_recorded():
    # Golden: a change here moves every held-out set that exists.
    assert split_position("stdlib/ast.py") == 0.9140431658839462
    assert split_position("\u00e9") == 0.40974142282397485


def test_the_fraction_is_kept():
    held_out = sum(split_of(origin, 0.05) == "validation" for origin in ORIGINS)
    assert abs(held_out / len(ORIGINS) - 0.05) < 0.005  # 3 sigma of a binomial


def test_a_larger_fraction_holds_out_the_same_and_more():
    small = {origin for origin in ORIGINS if split_of(origin, 0.02) == "validation"}
    large = {origin for origin in ORIGINS if split_of(origin, 0.1) == "validation"}
    assert small < large


def test_selection_does_not_choose_the_split():
    first = sorted(ORIGINS, key=selection_position)[:4000]
    held_out = sum(split_of(origin, 0.05) == "validation" for origin in first)
    assert abs(held_out / len(first) - 0.05) < 0.011  # 3 sigma
