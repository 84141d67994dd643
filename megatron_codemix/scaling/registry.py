"""The laws by the names that `--law` takes."""

from collections.abc import Callable, Mapping, Sequence

from megatron_codemix.config.problems import suggestion
from megatron_codemix.errors import ConfigError
from megatron_codemix.scaling.law import Law
from megatron_codemix.scaling.laws.chinchilla import Chinchilla
from megatron_codemix.scaling.laws.data_constrained import DataConstrained
from megatron_codemix.scaling.laws.downstream import ErrorOfLoss, LadderChain, SigmoidOfLoss
from megatron_codemix.scaling.laws.envelope import Envelope
from megatron_codemix.scaling.laws.isoflop import IsoFlop
from megatron_codemix.scaling.laws.mixing import MixingLaw
from megatron_codemix.scaling.laws.mixture_and_scale import MixtureAndScaleLaw
from megatron_codemix.scaling.laws.overtraining import OverTraining
from megatron_codemix.scaling.laws.regmix import RegMixLaw

Factory = Callable[[Sequence[str]], Law]
"""From the names of the mixture's sources, the evaluation's own first; laws without a mixture take
no notice of them."""

LAWS: Mapping[str, Factory] = {
    "chinchilla": lambda sources: Chinchilla(),
    "isoflop": lambda sources: IsoFlop(),
    "envelope": lambda sources: Envelope(),
    "data-constrained": lambda sources: DataConstrained(),
    "overtraining": lambda sources: OverTraining(),
    "error-of-loss": lambda sources: ErrorOfLoss(),
    "sigmoid-of-loss": lambda sources: SigmoidOfLoss(),
    "ladder-chain": lambda sources: LadderChain(),
    "mixing": MixingLaw,
    "mixture-and-scale": MixtureAndScaleLaw,
    "regmix": RegMixLaw,
}


def build_law(name: str, sources: Sequence[str] = ()) -> Law:
    """Raises ConfigError that names the laws there are."""
    factory = LAWS.get(name)
    if factory is None:
        hint = suggestion(name, list(LAWS))
        raise ConfigError([f"no law {name!r}{hint}; there are: {', '.join(LAWS)}"])
    return factory(sources)


def sources_of(inputs: Sequence[str]) -> tuple[str, ...]:
    """Names of sources among a law's inputs: "share_code" -> "code"."""
    return tuple(name.removeprefix("share_") for name in inputs if name.startswith("share_"))
