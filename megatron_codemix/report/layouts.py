"""`layouts` of a report: how its phases were spread over processes."""

from collections.abc import Mapping, Sequence

from megatron_codemix.files import Json
from megatron_codemix.report.warnings import layout_words


def layouts(phases: Sequence[Mapping[str, Json]]) -> list[dict[str, Json]]:
    """Each layout that there was, with the phases that ran in it. phases: of the report."""
    found: dict[tuple[str, Json], list[str]] = {}
    for phase in phases:
        layout = phase["layout"]
        key = (layout_words(layout), layout["world_size"])
        found.setdefault(key, []).append(f"{phase['cell']}/{phase['name']}")
    return [
        {"layout": words, "world_size": processes, "phases": names}
        for (words, processes), names in found.items()
    ]
