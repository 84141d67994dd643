"""From loss to what a task measures: error by an exponential, accuracy by a sigmoid, and the
OLMo ladder's chain from size and tokens to accuracy."""

import numpy as np

from megatron_codemix.scaling.law import FloatArray, Inputs, Solution
from megatron_codemix.scaling.laws.chinchilla import Chinchilla
from megatron_codemix.scaling.minimise import Box
from megatron_codemix.scaling.searched import Problem, SearchedLaw, linear_part

_RATES = np.geomspace(0.1, 10.0, 16)
"""Of the exponential, per nat; starts."""
_RATE_EDGES = (1e-3, 50.0)
_SMALLEST = 1e-6


class ErrorOfLoss(SearchedLaw):
    """Err = epsilon - k exp(-gamma L) by least squares: the error falls from epsilon, that of a
    guess, as the loss falls."""

    name = "error-of-loss"
    title = "Error of loss: Err = epsilon - k exp(-gamma L)"
    source = "Gadre et al. 2024, arXiv 2403.08540, eq. 5"
    inputs = ("loss_nats",)
    target = "error"
    parameter_names = ("epsilon", "k", "gamma")
    vary = ("loss_nats",)

    def predict(self, parameters: FloatArray, inputs: Inputs) -> FloatArray:
        """Error, 0 to 1, for each row."""
        epsilon, k, gamma = parameters
        error: FloatArray = epsilon - k * np.exp(-gamma * inputs["loss_nats"])
        return error

    def problem(self, inputs: Inputs, target: FloatArray) -> Problem:
        """Searches epsilon, the logarithm of the fall at the runs' mean loss, and gamma."""
        centre = inputs["loss_nats"].mean()
        x = inputs["loss_nats"] - centre

        def residuals(search: FloatArray) -> tuple[FloatArray, FloatArray]:
            epsilon, k, gamma = search.T[..., None]
            fall = np.exp(k - gamma * x)
            columns = [np.ones_like(fall), -fall, fall * x]
            return epsilon - fall - target, np.stack(columns, axis=-1)

        def natural(search: FloatArray) -> FloatArray:
            found = search.copy()
            found[..., 1] = np.exp(search[..., 1] + search[..., 2] * centre)
            return found

        def searched(parameters: FloatArray) -> FloatArray:
            search = parameters.copy()
            search[..., 1] = np.log(parameters[..., 1]) - parameters[..., 2] * centre
            return search

        fall = np.exp(-_RATES[:, None] * x)
        columns = np.stack([np.ones_like(fall), -fall], axis=-1)
        linear = linear_part(columns, target, np.array([target.min(), 1e-3]))
        low, high = _RATE_EDGES
        return Problem(
            residuals=residuals,
            starts=np.column_stack([linear[:, 0], np.log(linear[:, 1]), _RATES]),
            box=Box(np.array([0.0, np.log(_SMALLEST), low]), np.array([2.0, np.log(10.0), high])),
            natural=natural,
            searched=searched,
        )


class SigmoidOfLoss(SearchedLaw):
    """Accuracy = b + a / (1 + exp(-k (L - L0))) with a below 0, by least squares: b at no loss,
    a + b, that of a guess, at a high one. As in the source a perfect score at no loss counts as one
    more point: without it b is not determined by models that are far from perfect."""

    name = "sigmoid-of-loss"
    title = "Accuracy of task loss: b + a / (1 + exp(-k (L - L0)))"
    source = "Bhagia et al. 2024, arXiv 2412.04403, eq. 3"
    inputs = ("bits_per_byte",)
    target = "accuracy"
    parameter_names = ("a", "k", "L0", "b")
    vary = ("bits_per_byte",)

    def predict(self, parameters: FloatArray, inputs: Inputs) -> FloatArray:
        """Accuracy, 0 to 1, for each row."""
        a, k, middle, b = parameters
        accuracy: FloatArray = b + a / (1 + np.exp(-k * (inputs["bits_per_byte"] - middle)))
        return accuracy

    def problem(self, inputs: Inputs, target: FloatArray) -> Problem:
        """Searches the parameters themselves."""
        losses = np.append(inputs["bits_per_byte"], 0.0)
        scores = np.append(target, 1.0)

        def residuals(search: FloatArray) -> tuple[FloatArray, FloatArray]:
            a, k, middle, b = search.T[..., None]
            rise = 1 / (1 + np.exp(np.clip(-k * (losses - middle), -700, 700)))
            slope = a * rise * (1 - rise)
            columns = [rise, slope * (losses - middle), -slope * k, np.ones_like(rise)]
            return b + a * rise - scores, np.stack(columns, axis=-1)

        middles = np.quantile(losses[:-1], [0.0, 0.5, 1.0])
        k, middle = (grid.ravel() for grid in np.meshgrid([1.0, 3.0, 8.0, 20.0], middles))
        guess = min(float(target.min()), 0.99)
        edge = np.ones_like(k)
        high_loss = 3 * float(losses.max())
        return Problem(
            residuals=residuals,
            starts=np.column_stack([(guess - 1) * edge, k, middle, edge]),
            box=Box(np.array([-1.0, 1e-2, 0.0, 0.0]), np.array([0.0, 100.0, high_loss, 1.0])),
            natural=np.copy,
            searched=np.copy,
            anchors=1,
        )


class LadderChain:
    """Two steps in one law: a Chinchilla law for the task's loss (bits per byte of the right
    answers), then the sigmoid from that loss to accuracy. Only the fit needs the measured task
    loss; a prediction needs size and tokens."""

    name = "ladder-chain"
    title = "Accuracy of size and tokens through the task's loss: Chinchilla's law, then a sigmoid"
    source = "Bhagia et al. 2024, arXiv 2412.04403, eq. 2 and 3"
    inputs = ("parameters", "tokens", "bits_per_byte")
    target = "accuracy"

    def __init__(self) -> None:
        self.loss, self.score = Chinchilla(), SigmoidOfLoss()
        self.parameter_names = (*self.loss.parameter_names, *self.score.parameter_names)
        self._split = len(self.loss.parameter_names)

    def fit(self, inputs: Inputs, target: FloatArray) -> Solution:
        """Raises FitError where one of the steps cannot be fitted."""
        loss = self.loss.fit(inputs, inputs["bits_per_byte"])
        score = self.score.fit(inputs, target)
        return Solution(
            parameters=np.concatenate([loss.parameters, score.parameters]),
            objective=score.objective,
            starts=min(loss.starts, score.starts),
            agreeing_starts=min(loss.agreeing_starts, score.agreeing_starts),
            at_bounds=loss.at_bounds + score.at_bounds,
            is_least_squares=score.is_least_squares,
        )

    def refit(
        self, inputs: Inputs, target: FloatArray, weights: FloatArray, start: FloatArray
    ) -> FloatArray:
        """See `Refits`. Both steps see the same resample."""
        first, second = start[: self._split], start[self._split :]
        loss = self.loss.refit(inputs, inputs["bits_per_byte"], weights, first)
        return np.hstack([loss, self.score.refit(inputs, target, weights, second)])

    def predict(self, parameters: FloatArray, inputs: Inputs) -> FloatArray:
        """Accuracy, 0 to 1, for each row."""
        loss = self.loss.predict(parameters[: self._split], inputs)
        return self.score.predict(parameters[self._split :], {"bits_per_byte": loss})
