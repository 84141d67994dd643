"""The page on corpora says of the rules what the command says."""

import re
from pathlib import Path

import pytest

from megatron_codemix.cli.main import main

PAGE = Path(__file__).parents[4] / "docs" / "corpora.md"


def test_the_page_has_the_rules_as_the_command_lists_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["corpus", "filter", "--list-rules"]) == 0
    listed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    [block] = re.findall(r"<!-- list-rules -->\n```text\n(.*?)\n```", PAGE.read_text(), re.DOTALL)
    assert block.splitlines() == listed
