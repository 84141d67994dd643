"""Runs of a ladder over sizes, budgets and shares of code, made up from known laws."""

import numpy as np
import pandas as pd

from megatron_codemix.scaling.laws.mixture_and_scale import MixtureAndScaleLaw
from megatron_codemix.scaling.table import RunTable

SIZES = 1e7 * 2.0 ** np.arange(5)
TOKENS = 1e9 * 2.0 ** np.arange(4)
SHARES = (0.0, 0.25, 0.5)
NOISE = 0.002
# E, A, B, alpha, beta, nu and tau of the other source: the losses on code and on text.
CODE = np.array([0.8, 150.0, 300.0, 0.30, 0.28, 0.5, 0.2])
TEXT = np.array([1.7, 400.0, 400.0, 0.34, 0.28, 0.7, 0.3])


def law_of(own: str) -> MixtureAndScaleLaw:
    return MixtureAndScaleLaw((own, "text" if own == "code" else "code"))


def ladder_table(seeds: int = 1, noise: float = NOISE) -> RunTable:
    """5 sizes x 4 budgets x 3 shares of code, with known constants."""
    rng = np.random.default_rng(3)
    rows = [
        (size, tokens, share, seed)
        for seed in range(seeds)
        for share in SHARES
        for size in SIZES
        for tokens in TOKENS
    ]
    n, d, code, seed = (np.array(column) for column in zip(*rows, strict=True))
    inputs = {"parameters": n, "tokens": d, "share_code": code, "share_text": 1 - code}
    frame = pd.DataFrame(
        {
            "name": [f"code{100 * c:g}/{s:g}-{t:g}-{e}" for s, t, c, e in rows],
            "parameters_total": n,
            "tokens": d,
            "seed": seed,
            "share.code": code,
            "share.text": 1 - code,
            "training": [f"{c:g}-{s:g}-{e}" for s, t, c, e in rows],
        }
    )
    for own, constants in (("code", CODE), ("text", TEXT)):
        clean = law_of(own).predict(constants, inputs)
        frame[f"loss_nats.{own}"] = clean * np.exp(noise * rng.standard_normal(len(n)))
    return RunTable.of_frame(frame, "ladder")
