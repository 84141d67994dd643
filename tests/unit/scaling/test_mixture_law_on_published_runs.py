"""The law of size, tokens and mixture on runs that others have published."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from megatron_codemix.scaling.law import FloatArray, Inputs
from megatron_codemix.scaling.laws.chinchilla import Chinchilla
from megatron_codemix.scaling.laws.mixture_and_scale import MixtureAndScaleLaw
from megatron_codemix.scaling.readers import overtraining, regmix
from tests.helpers.scaling_runs import published_runs

CODE_IN_REDPAJAMA = 0.0488
"""GitHub's share of RedPajama's tokens (github.com/sangmichaelxie/doremi,
configs/rp_baseline.json). C4 has none."""


def take(inputs: Inputs, rows: np.ndarray) -> Inputs:
    return {name: column[rows] for name, column in inputs.items()}


def rms(errors: FloatArray) -> float:
    return float(np.sqrt(np.mean(errors**2)))


@pytest.mark.parametrize(
    ("own", "kin", "worth"), [("github", "stackexchange", 0.18), ("stackexchange", "github", 0.20)]
)
def test_one_law_for_three_sizes_and_hundreds_of_mixtures(own: str, kin: str, worth: float) -> None:
    """RegMix: 1.3M to 1.1B parameters, 1B and 25B tokens, the code's share from 0 to 1. Nine
    parameters predict the mixtures that were held out."""
    frame = regmix.read(published_runs("regmix")).frame
    law = MixtureAndScaleLaw([own, kin, "rest"])
    shares = [frame[f"share.{name}"].to_numpy() for name in (own, kin)]
    inputs = {
        "parameters": frame["parameters_without_embedding"].to_numpy(),
        "tokens": frame["tokens"].to_numpy(),
        f"share_{own}": shares[0],
        f"share_{kin}": shares[1],
        "share_rest": 1 - shares[0] - shares[1],
    }
    losses = frame[f"loss_nats.{own}"].to_numpy()
    is_larger = frame["set"].isin(["test_60m", "test_1B"]).to_numpy()
    is_fitted = (frame["set"] == "train_1m").to_numpy() | (is_larger & (frame.index % 2 == 0))
    found = law.fit(take(inputs, is_fitted), losses[is_fitted])
    predicted = law.predict(found.parameters, inputs)
    for name, most in (("test_1m", 0.035), ("test_60m", 0.06), ("test_1B", 0.025)):
        rows = ~is_fitted & (frame["set"] == name).to_numpy()
        assert rms(np.log(predicted[rows] / losses[rows])) < most, name
        assert spearmanr(predicted[rows], losses[rows]).statistic > 0.97, name
    # A token of questions about programs is worth a fifth of a token of programs, and back.
    tau = dict(zip(law.parameter_names, found.parameters, strict=True))
    assert tau[f"tau_{kin}"] == pytest.approx(worth, abs=0.05)
    assert tau["tau_rest"] < 0.01
    # Three sizes, of which two saw the same tokens: what size and tokens leave is not known.
    assert "E" in found.at_bounds


def corpora(evaluation: str) -> tuple[Inputs, FloatArray]:
    """C4 and RedPajama: mixtures with 0 and 4.88% code, 69 runs of 11M to 6.9B parameters."""
    table = overtraining.read(published_runs("overtraining")).frame
    frame = table[table["training_set"].isin(["c4_original", "rpj"])]
    code = np.where(frame["training_set"] == "rpj", CODE_IN_REDPAJAMA, 0.0)
    inputs = {
        "parameters": frame["parameters_total"].to_numpy(),
        "tokens": frame["tokens"].to_numpy(),
        "share_code": code,
        "share_text": 1 - code,
    }
    return inputs, frame[f"loss_nats.{evaluation}"].to_numpy()


def errors_at_large(
    law: MixtureAndScaleLaw, inputs: Inputs, losses: FloatArray
) -> tuple[float, float]:
    """Root mean square of the relative errors above 412M parameters, of fits to the models up to
    it: (of the law, of Chinchilla's for each mixture)."""
    small = inputs["parameters"] < 5e8
    together = law.fit(take(inputs, small), losses[small]).parameters
    alone = np.empty(len(losses))
    for share in np.unique(inputs["share_code"]):
        rows = inputs["share_code"] == share
        one = Chinchilla().fit(take(inputs, small & rows), losses[small & rows]).parameters
        alone[rows] = Chinchilla().predict(one, take(inputs, rows))
    predicted = law.predict(together, inputs)
    return (
        rms(np.log(predicted / losses)[~small]),
        rms(np.log(alone / losses)[~small]),
    )


def test_text_loss_of_two_corpora_is_predicted_as_well_as_by_a_fit_for_each() -> None:
    inputs, losses = corpora("c4_val")
    together, alone = errors_at_large(MixtureAndScaleLaw(["text", "code"]), inputs, losses)
    assert together < 0.04
    assert together < 1.1 * alone


def test_code_loss_of_a_corpus_that_was_cleared_of_code_is_not() -> None:
    """C4 leaves out every page with a curly bracket. Its code loss levels off far above that of a
    corpus with code, and a law with one E for both cannot know it."""
    inputs, losses = corpora("paloma_dolma_100_programing_languages")
    together, alone = errors_at_large(MixtureAndScaleLaw(["code", "text"]), inputs, losses)
    assert alone < 0.05
    assert together > 3 * alone
