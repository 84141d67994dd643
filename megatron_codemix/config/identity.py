"""The identity of a run: a hash of everything that decides what is learned, and of nothing else.

Layout, checkpointing, logging, back end and the place of files are left out: they decide how it
ran. The parent's identity is part of a child's, so the hash covers the whole chain (a Merkle tree).
"""

from collections.abc import Mapping, Sequence, Set
from typing import Any

from megatron_codemix.config.schema import RunConfig, Section
from megatron_codemix.files import hash_json

HASHED_SECTIONS = ("model", "optimizer", "schedule", "train", "precision")
"""Sections that decide what is learned with every field."""
SAMPLE_OPTIONS = ("packing", "fill_in_the_middle")
"""Options of a source that decide what its samples are."""


def run_identity(
    config: RunConfig,
    *,
    mixture: Mapping[str, Any],  # Any: JSON values
    tokenizer_hash: str,
    manifest_hashes: Mapping[str, str],
    parent_identity: str | None,
) -> str:
    """Identity (64 hex digits).

    mixture: the record of the run's mixture plan.
    manifest_hashes: content hash of the training shard of each source that the plan reads.
    """
    knots = [units for segment in mixture["segments"] for _, units in segment["knots"]]
    names = sorted({name for units in knots for name in units})
    return hash_json(
        {
            **{section: _asked(getattr(config, section)) for section in HASHED_SECTIONS},
            "tokenizer": tokenizer_hash,
            "data": {
                "sequence_length": config.data.sequence_length,
                "mixture": dict(mixture),
                "sources": {name: manifest_hashes[name] for name in names},
                "restart": config.data.restart,
                **_asked_only(config, names),
            },
            "parent": parent_identity,
            "load": _asked(config.init_from, without={"run"}) if config.init_from else None,
        }
    )


def _asked(section: Section, without: Set[str] = frozenset()) -> dict[str, Any]:  # Any: JSON values
    """The fields that have another value than their default, and `kind`. A field that is added
    later, with what was always done as its default, changes no identity.

    Numbers, not their spelling: "0.5M" and "500K" are one value.
    """
    dump = section.model_dump()
    inner = {name: value for name, value in section if isinstance(value, Section)}
    return {
        name: _asked(inner[name]) if name in inner else dump[name]
        for name, field in type(section).model_fields.items()
        if name not in without and (name == "kind" or dump[name] != field.default)
    }


def _asked_only(config: RunConfig, names: Sequence[str]) -> dict[str, object]:
    """Options that change what is learned where they are set. Left out where they are not: a run
    without one learns what it learned before the option existed, and keeps its identity."""
    asked: dict[str, object] = {}
    if config.data.document_mask:
        asked["document_mask"] = True
    dumped = {name: config.data.sources[name].model_dump() for name in names}
    options = {
        name: {option: source[option] for option in SAMPLE_OPTIONS if source[option] is not None}
        for name, source in dumped.items()
    }
    if any(options.values()):
        asked["source_options"] = {name: found for name, found in options.items() if found}
    return asked
