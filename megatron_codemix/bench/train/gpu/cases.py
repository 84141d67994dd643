"""The rows of the benchmark: which model, sequence and precision."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from megatron_codemix.config.schema import (
    AnyPrecisionConfig,
    BackendConfig,
    Fp8Config,
    ModelConfig,
    PrecisionConfig,
)
from megatron_codemix.errors import ConfigError

VOCABULARY = 49_152
"""A multiple of 1,024, to which our tables are padded and the peer's are not."""


def _llama(layers: int, width: int, mlp: int, heads: int, groups: int | None = None) -> ModelConfig:
    return ModelConfig(
        num_layers=layers,
        hidden_size=width,
        ffn_hidden_size=mlp,
        num_attention_heads=heads,
        num_query_groups=groups,
        vocabulary_size=VOCABULARY,
        activation="swiglu",
        normalization="rmsnorm",
        tie_embeddings=False,
        add_bias=False,
    )


MODELS = {
    "160m": _llama(12, 768, 2048, 12),
    "470m": _llama(18, 1280, 3328, 10),
    "1b": _llama(22, 2048, 5632, 32, groups=4),  # TinyLlama's
    "2.8b": _llama(32, 2560, 6912, 20),
    "470m-256k": ModelConfig(  # the first paper's, as in examples/models/470m.yaml
        num_layers=16,
        hidden_size=1024,
        ffn_hidden_size=2816,
        num_attention_heads=16,
        vocabulary_size=256_000,
        block="parallel",
        activation="swiglu",
        normalization="layernorm_no_bias",
        rope_interleaved=True,
        tie_embeddings=True,
        add_bias=False,
    ),
}
"""By the name that --models takes."""

WITH_PEER = ("160m", "470m", "1b", "2.8b")
"""Those that `bench/train/plain.py` can build too."""

SEQUENCES = (2048, 4096, 8192)

PRECISIONS: dict[str, AnyPrecisionConfig] = {
    "bf16": PrecisionConfig(kind="bf16"),
    "torch_scaled_mm": Fp8Config(recipe="torch_scaled_mm", rule="tensorwise"),
    "torch_scaled_mm-delayed": Fp8Config(recipe="torch_scaled_mm", rule="delayed"),
    "tensorwise": Fp8Config(recipe="tensorwise"),
    "blockwise": Fp8Config(recipe="blockwise"),
    "delayed": Fp8Config(recipe="delayed"),
    "mxfp8": Fp8Config(recipe="mxfp8"),
}
"""By the name that --precisions takes; the last four are Transformer Engine's."""

DEFAULT = "default"
VARIANTS: dict[str, BackendConfig] = {
    DEFAULT: BackendConfig(),
    "graphs": BackendConfig(cuda_graphs="microbatch"),
}
"""By the name that --variants takes: how a step is computed, the same numbers being learned. Only
the first is measured unless others are asked for; the goals are for it."""

Kind = Literal["step", "loop"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row."""

    kind: Kind
    """`step`: our step, in bf16 beside the peer's. `loop`: the trainer's loop beside bare steps."""
    model: str
    sequence: int
    precision: str
    variant: str = DEFAULT

    @property
    def name(self) -> str:
        parts = f"{self.model}, {self.sequence}, {self.precision}"
        parts += f", {self.variant}" if self.variant != DEFAULT else ""
        return parts if self.kind == "step" else f"loop: {parts}"

    @property
    def backend(self) -> BackendConfig:
        """Of the variant; its device is the suite's to choose."""
        return VARIANTS[self.variant]

    @property
    def is_recorded(self) -> bool:
        """Whether its steps are from CUDA graphs."""
        return self.backend.cuda_graphs != "none"

    def beside(self, *, precision: str | None = None, variant: str | None = None) -> "Case":
        """The row that this one is compared with."""
        return replace(self, precision=precision or self.precision, variant=variant or self.variant)

    @property
    def shape(self) -> ModelConfig:
        return MODELS[self.model]

    @property
    def number_formats(self) -> AnyPrecisionConfig:
        return PRECISIONS[self.precision]

    @property
    def has_peer(self) -> bool:
        """Whether plain PyTorch, in bf16, is measured with it."""
        is_plain = self.precision == "bf16" and self.variant == DEFAULT
        return self.kind == "step" and is_plain and self.model in WITH_PEER

    def as_dict(self) -> dict[str, str | int]:
        """What every row of the report begins with."""
        return {
            "name": self.name,
            "kind": self.kind,
            "model": self.model,
            "sequence": self.sequence,
            "precision": self.precision,
            "variant": self.variant,
        }


LOOP = Case(kind="loop", model="470m", sequence=4096, precision="bf16")


def select_cases(
    models: str | None,
    sequences: str | None,
    precisions: str | None,
    only: Sequence[str] | None,
    variants: str | None = None,
) -> list[Case]:
    """The rows of what is named, separated by commas; None is all, but of the variants the default.
    The loop is measured where its model, sequence and precision are among them. only: kinds.

    Raises ConfigError with every name that is not there.
    """
    problems: list[str] = []
    chosen = [
        _chosen("--models", models, list(MODELS), problems),
        _chosen("--sequences", sequences, [str(each) for each in SEQUENCES], problems),
        _chosen("--precisions", precisions, list(PRECISIONS), problems),
        _chosen("--variants", variants or DEFAULT, list(VARIANTS), problems),
    ]
    kinds = _chosen("--only", ",".join(only) if only else None, ["step", "loop"], problems)
    if problems:
        raise ConfigError(problems)
    steps = [
        Case(
            kind="step",
            model=model,
            sequence=int(sequence),
            precision=precision,
            variant=variant,
        )
        for model in chosen[0]
        for sequence in chosen[1]
        for precision in chosen[2]
        for variant in chosen[3]
    ]
    loops = [LOOP.beside(variant=variant) for variant in chosen[3]]
    loops = [loop for loop in loops if replace(loop, kind="step") in steps]
    found = [*(steps if "step" in kinds else []), *(loops if "loop" in kinds else [])]
    if not found:
        raise ConfigError(
            [
                f"--only loop: it is measured with --models {LOOP.model} --sequences "
                f"{LOOP.sequence} --precisions {LOOP.precision}; leave these out or name them"
            ]
        )
    return found


def _chosen(option: str, text: str | None, known: list[str], problems: list[str]) -> list[str]:
    if text is None:
        return known
    named = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [name for name in named if name not in known]
    if unknown or not named:
        what = f"no {', '.join(map(repr, unknown))}" if unknown else "nothing is named"
        problems.append(f"{option}: {what}; there are {', '.join(known)}")
    return [name for name in known if name in named]
