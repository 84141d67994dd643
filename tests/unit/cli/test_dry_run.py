"""What a dry run prints, as a person reads it."""

import json

import pytest

from megatron_codemix.cli.dry_run import print_plan

PLAN = {
    "out": "runs/new",
    "is_complete": False,
    "file_bytes": 1 << 20,
    "text_bytes": {"code": 2048, "text": 3},
    "families": ["lists", "graphs"],
    "translations": [],
    "options": {"side": "train", "limits": {"rows": 7, "keep_first": ()}},
    "from_this_machine": {},
}


def test_each_entry_has_its_label_and_every_size_its_unit(capsys: pytest.CaptureFixture[str]):
    print_plan(PLAN, as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "out               runs/new",
        "is complete       no",
        "file bytes        1.0 MiB",
        "text bytes        code: 2.0 KiB",
        "                  text: 3 B",
        "families          lists",
        "                  graphs",
        "translations      none",
        "options           side: train",
        "                  limits: rows 7, keep_first none",
        "from this machine none",
    ]


def test_json_is_the_plan(capsys: pytest.CaptureFixture[str]):
    plan = PLAN | {"options": {"side": "train"}}
    print_plan(plan, as_json=True)
    assert json.loads(capsys.readouterr().out) == plan
