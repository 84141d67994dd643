"""The coefficients of a router's losses as megatron-core has to be given them."""

from dataclasses import dataclass

from megatron_codemix.config.schema import LayoutConfig, MoeConfig


@dataclass(frozen=True)
class RouterCoefficients:
    """Of the balance loss, and of the z-loss if there is one."""

    balance: float
    router_z: float | None


def corrected_coefficients(moe: MoeConfig, layout: LayoutConfig) -> RouterCoefficients:
    """Coefficients with which megatron-core 0.16.1 adds the mean over all samples of the balance
    loss of a sample, and the mean over all tokens of the router's z-loss.

    Gradients are divided by the tokens of the whole batch, so it multiplies these losses by tokens
    first: by those of a rank's part of one sample, where those of the whole microbatch are meant
    (router.py, attach_and_log_load_balancing_loss, apply_z_loss). They would weigh less by the size
    of the microbatch (balance) and by the ranks that share a sample (both), so the layout would
    change what is learned.
    """
    ranks_of_sample = layout.context * (layout.tensor if layout.sequence_parallel else 1)
    z = moe.router_z_coefficient
    return RouterCoefficients(
        balance=moe.balance_coefficient * layout.microbatch_sequences * ranks_of_sample,
        router_z=None if z is None else z * ranks_of_sample,
    )
