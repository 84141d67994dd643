"""The configuration tree: what a user may ask of one run (one phase of a study).

Every scalar reaches these models as text and is typed by its field (see `loader`), so a field's
type decides what `200B`, `3e-4` or `no` mean. Scientific choices have no default; absent is `None`.
The models are frozen: what follows from a configuration is worked out in `plan`, never written
back.
"""

from megatron_codemix.config.schema.data import (
    DataConfig,
    FillInTheMiddleConfig,
    SourceConfig,
    TokenizerConfig,
)
from megatron_codemix.config.schema.fields import MAX_TOKENS, PositiveTokens, Section, Tokens
from megatron_codemix.config.schema.mixture import (
    ConstantMixtureConfig,
    CosineMixtureConfig,
    LinearMixtureConfig,
    MixtureChangeConfig,
    MixtureConfig,
    MixtureStepConfig,
    StagesMixtureConfig,
    StepMixtureConfig,
    Weights,
)
from megatron_codemix.config.schema.model import ModelConfig, MoeConfig, MupConfig
from megatron_codemix.config.schema.optimizer import (
    AdamWConfig,
    MuonConfig,
    OptimizerConfig,
)
from megatron_codemix.config.schema.precision import (
    AnyPrecisionConfig,
    Fp8Config,
    ModelFormat,
    PrecisionConfig,
    Scaling,
)
from megatron_codemix.config.schema.run import (
    BackendConfig,
    CheckpointConfig,
    InitFromConfig,
    LayoutConfig,
    LoggingConfig,
    RampUpConfig,
    RunConfig,
    SpikeConfig,
    SurvivalConfig,
    TrainConfig,
    ValidationConfig,
    WandbConfig,
)
from megatron_codemix.config.schema.schedule import (
    ConstantSchedule,
    CosineSchedule,
    LinearSchedule,
    RateStepConfig,
    ScheduleConfig,
    StepSchedule,
    WsdSchedule,
)

__all__ = [
    "MAX_TOKENS",
    "AdamWConfig",
    "AnyPrecisionConfig",
    "BackendConfig",
    "CheckpointConfig",
    "ConstantMixtureConfig",
    "ConstantSchedule",
    "CosineMixtureConfig",
    "CosineSchedule",
    "DataConfig",
    "FillInTheMiddleConfig",
    "Fp8Config",
    "InitFromConfig",
    "LayoutConfig",
    "LinearMixtureConfig",
    "LinearSchedule",
    "LoggingConfig",
    "MixtureChangeConfig",
    "MixtureConfig",
    "MixtureStepConfig",
    "ModelConfig",
    "ModelFormat",
    "MoeConfig",
    "MuonConfig",
    "MupConfig",
    "OptimizerConfig",
    "PositiveTokens",
    "PrecisionConfig",
    "RampUpConfig",
    "RateStepConfig",
    "RunConfig",
    "Scaling",
    "ScheduleConfig",
    "Section",
    "SourceConfig",
    "SpikeConfig",
    "StagesMixtureConfig",
    "StepMixtureConfig",
    "StepSchedule",
    "SurvivalConfig",
    "TokenizerConfig",
    "Tokens",
    "TrainConfig",
    "ValidationConfig",
    "WandbConfig",
    "Weights",
    "WsdSchedule",
]
