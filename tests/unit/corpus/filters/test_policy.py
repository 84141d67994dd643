import pytest

from megatron_codemix.corpus.filters.policy import (
    Outcome,
    Policy,
    default_policy,
    load_policy,
    policy_names,
)
from megatron_codemix.corpus.filters.registry import RULES
from megatron_codemix.corpus.filters.rule import Drop
from megatron_codemix.errors import DataError
from tests.helpers.filter_documents import document


def names(policy: Policy) -> list[str]:
    return [rule.name for rule in policy.rules]


def rule(policy: Policy, name: str):
    return next(one for one in policy.rules if one.name == name)


def test_the_package_has_a_policy_for_every_kind_of_source():
    assert policy_names() == ["adjacent", "code", "markup", "none", "prose"]
    paper = {"floats", "contains_0x", "top_level_domains", "generated_by"}
    assert paper <= set(names(load_policy("code"))) & set(names(load_policy("markup")))
    assert {"data_files", "visible_text"} <= set(names(load_policy("markup")))
    assert {"gopher_quality", "gopher_repetition", "c4", "languages"} <= set(
        names(load_policy("prose"))
    )
    for name in policy_names():
        assert ("mask" in names(load_policy(name))) == (name != "none")


def test_every_rule_says_where_it_is_from_and_what_it_is_for():
    for name, one in RULES.items():
        assert one.name == name
        assert one.kind in ("code", "markup", "prose", "any")
        assert (
            one.source.startswith("arXiv")
            or "arXiv" in one.source
            or name
            in (
                "repair_encoding",
                "size",
            )
        )
        assert one.__doc__


def test_a_file_extends_a_policy(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "extends: code\n"
        "rules:\n"
        "  contains_0x: off\n"
        "  lines: {max_longest: 2000}\n"
        "  programming_languages: {keep: [code]}\n"
        "  size:\n"
    )
    (tmp_path / "more.yaml").write_text("extends: mine.yaml\nrules:\n  lines: {max_mean: 50}\n")
    mine = load_policy(str(tmp_path / "mine.yaml"))
    expected = [name for name in names(load_policy("code")) if name != "contains_0x"]
    assert names(mine) == [*expected, "programming_languages", "size"]
    assert rule(mine, "lines").max_longest == 2000
    assert rule(mine, "lines").max_mean == 100
    more = load_policy(str(tmp_path / "more.yaml"))
    assert names(more) == names(mine)
    assert (rule(more, "lines").max_longest, rule(more, "lines").max_mean) == (2000, 50)


def test_overrides_change_a_policy():
    policy = load_policy(
        "code", ["contains_0x=off", "lines.max_longest=2000", "generated_by.ignore_case=yes"]
    )
    assert "contains_0x" not in names(policy)
    assert rule(policy, "lines").max_longest == 2000
    assert rule(policy, "generated_by").ignore_case
    assert names(load_policy("none", ["size.min_characters=10"])) == ["size"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules: {float: }", r"mine.yaml:1: no rule 'float'; did you mean 'floats'\?"),
        ("rules:\n  floats: {max: 1}", r"mine.yaml:2: max: unknown"),
        (
            "rules:\n  floats: {max_floats: many}",
            r"mine.yaml:2: max_floats: expected a whole number",
        ),
        (
            "rules:\n  lines: {max_mean: -1}",
            "max_mean: must be greater than 0, got '-1' .rule lines.",
        ),
        ("rules: [floats]", "expected lines of 'rule: parameters', got a list"),
        ("rules:\n  floats: 3", "floats: expected parameters, 'on' or 'off', got '3'"),
        ("extend: code", r"mine.yaml:1: unknown key 'extend'; did you mean 'extends'\?"),
        ("extends: [code]", "extends: expected one policy, got a list"),
        (
            "extends: cod",
            r"policy 'cod': no such file, and none of adjacent, .*did you mean 'code'",
        ),
        ("extends: mine.yaml", "mine.yaml: extends itself"),
        ("rules:\n  programming_languages:", "keep: missing"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path, text, message):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(DataError, match=message):
        load_policy(str(tmp_path / "mine.yaml"))


def test_all_problems_are_told_at_once(tmp_path):
    (tmp_path / "mine.yaml").write_text("rules:\n  float:\n  floats: {max_floats: x}\n  size: 1\n")
    with pytest.raises(DataError) as error:
        load_policy(str(tmp_path / "mine.yaml"), ["nothing.at_all=1"])
    assert len(str(error.value).split("\n")) == 4


def test_sources_have_a_policy_by_their_name():
    assert [default_policy(name) for name in ("code", "text", "markup", "synthetic", "books")] == [
        "code", "prose", "markup", "none", None,
    ]  # fmt: skip


def test_the_first_rule_that_drops_a_document_is_the_reason():
    policy = load_policy("code")
    one = document("x = 0x1\n" + "1.5, " * 2000)
    assert policy.apply(one) == Drop("contains 0x", "x = 0x1 " + "1.5, " * 7 + "1")
    without = load_policy("code", ["contains_0x=off"])
    assert without.apply(one) == Drop("floats", "2000")


def test_changes_add_up():
    text = "# Jane <jane@company.com>\nname = 'd\u00c3\u00a9j\u00c3\u00a0 vu'\n"
    outcome = load_policy("code").apply(document(text))
    assert isinstance(outcome, Outcome)
    assert outcome.document.text == "# Jane <<EMAIL>>\nname = 'd\u00e9j\u00e0 vu'\n"
    assert outcome.counts == {"lines repaired": 1, "masked EMAIL": 1}
    assert outcome.document.metadata == {"encoding_repaired": 1, "masked": {"EMAIL": 1}}


def test_none_keeps_everything_as_it_is():
    one = document("0x1 jane@company.com " + "1.5 " * 5000, licence=None)
    assert load_policy("none").apply(one) == Outcome(one, {})


def test_json_tells_policies_apart_that_judge_differently():
    told = [
        load_policy(name, overrides).to_json()
        for name, overrides in (
            ("code", []),
            ("code", ["contains_0x=off"]),
            ("code", ["lines.max_mean=99"]),
            ("code", ["licences.allow=[MIT]"]),
            ("prose", []),
        )
    ]
    assert all(one != other for i, one in enumerate(told) for other in told[:i])
    assert load_policy("code").to_json() == told[0]
