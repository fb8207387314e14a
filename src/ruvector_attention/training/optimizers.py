"""Optimizers: from parameters and gradients to better parameters, in place.

They follow torch.optim, and geoopt on the ball, step by step: with the same settings, to the last digits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np

from ..config import Setting
from ..errors import DimensionMismatchError, InvalidConfigError
from ..geometry import poincare
from .named_arrays import Array
from .optimizer import Optimizer, OptimizerConfig
from .part import register_part

#: Points end this share of the radius before the boundary, as geoopt's do: nearer to it no digit of a step is right.
MARGIN = 1e-5


@dataclass(frozen=True)
class SGDConfig(OptimizerConfig):
    learning_rate: Annotated[float, Setting("how far a step goes", above=0)] = 0.01
    momentum: Annotated[float, Setting("share of the last step that goes on", at_least=0, below=1)] = 0.0
    dampening: Annotated[float, Setting("share of a gradient that momentum leaves out", at_least=0, at_most=1)] = 0.0
    nesterov: Annotated[bool, Setting("the gradient of where momentum leads, approximately")] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and (not self.momentum or self.dampening):
            raise InvalidConfigError("nesterov is True; expected a momentum above 0 and no dampening with it")


@register_part
class SGD(Optimizer):
    """v = momentum * v + (1 - dampening) * g; parameter -= learning_rate * v, with g the gradient + decay * parameter

    The first v is g itself; with ``nesterov`` the step is along g + momentum * v. The same as torch.optim.SGD.

    >>> import numpy as np
    >>> weight = np.array([1.0, 2.0])
    >>> sgd = SGD(learning_rate=0.5)
    >>> sgd.add({"weight": weight})
    >>> sgd.step({"weight": [1.0, -1.0]})
    >>> weight
    array([0.5, 2.5])
    """

    name = "sgd"
    Config = SGDConfig
    paper = "Sutskever et al., 2013"
    keeps = ("momentum_buffer",)

    def _update(self, parameter: Array, gradient: Array, state: dict[str, Any], config: Any, rate: float) -> None:
        if config.weight_decay:
            gradient = gradient + config.weight_decay * parameter
        if config.momentum:
            buffer = state["momentum_buffer"]
            if state["step"] == 1:
                buffer[...] = gradient
            else:
                buffer *= config.momentum
                buffer += (1 - config.dampening) * gradient
            gradient = gradient + config.momentum * buffer if config.nesterov else buffer
        parameter -= rate * gradient


@dataclass(frozen=True)
class MomentsConfig(OptimizerConfig):
    """The settings of optimizers that keep running means of gradients and of their squares."""

    beta1: Annotated[float, Setting("share of the mean of gradients that a step keeps", at_least=0, below=1)] = 0.9
    beta2: Annotated[float, Setting("the same of the mean of their squares", at_least=0, below=1)] = 0.999
    epsilon: Annotated[float, Setting("added to the root that is divided by", above=0)] = 1e-8


@dataclass(frozen=True)
class AdamConfig(MomentsConfig):
    amsgrad: Annotated[bool, Setting("divide by the largest mean of squares so far (Reddi et al., 2018)")] = False


@register_part
class Adam(Optimizer):
    """parameter -= learning_rate * m / (sqrt(v) + epsilon), with m and v the running means of gradients and squares

    Both are divided by 1 - beta^step, since they begin at 0. ``weight_decay`` is a part of the gradient, as in
    torch.optim.Adam; decay that is not, is what AdamW has.

    >>> import numpy as np
    >>> weight = np.array([1.0, 2.0])
    >>> adam = Adam(learning_rate=0.5)
    >>> adam.add({"weight": weight})
    >>> adam.step({"weight": [3.0, -4.0]})
    >>> weight.round(6)
    array([0.5, 2.5])
    """

    name = "adam"
    Config = AdamConfig
    paper = "Kingma & Ba, 2015"
    keeps = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")
    decoupled: ClassVar[bool] = False

    def _kept_shape(self, key: str, parameter: Array, config: Any) -> tuple[int, ...]:
        return (0,) if key == "max_exp_avg_sq" and not config.amsgrad else parameter.shape

    def _update(self, parameter: Array, gradient: Array, state: dict[str, Any], config: Any, rate: float) -> None:
        if config.weight_decay and self.decoupled:
            parameter *= 1 - rate * config.weight_decay
        elif config.weight_decay:
            gradient = gradient + config.weight_decay * parameter
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        mean += (1 - config.beta1) * (gradient - mean)
        square *= config.beta2
        square += (1 - config.beta2) * np.square(gradient)
        if config.amsgrad:
            square = np.maximum(state["max_exp_avg_sq"], square, out=state["max_exp_avg_sq"])
        root = np.sqrt(square, out=np.empty_like(square))
        root /= math.sqrt(1 - config.beta2 ** state["step"])
        root += config.epsilon
        np.divide(mean, root, out=root)
        root *= rate / (1 - config.beta1 ** state["step"])
        parameter -= root


@dataclass(frozen=True)
class AdamWConfig(AdamConfig):
    weight_decay: Annotated[
        float, Setting("pull towards 0: a step multiplies parameters by 1 - learning_rate * this", at_least=0)
    ] = field(default=0.01, kw_only=True)


@register_part
class AdamW(Adam):
    """parameter = (1 - learning_rate * weight_decay) * parameter - the step of Adam

    The decay does not pass through the means, so that it is as strong for parameters of large gradients. The same as
    torch.optim.AdamW.
    """

    name = "adamw"
    Config = AdamWConfig
    paper = "Loshchilov & Hutter, 2019"
    decoupled = True


@dataclass(frozen=True)
class RiemannianAdamConfig(MomentsConfig):
    curvature: Annotated[float, Setting("curvature of the space, below 0", below=0)] = -1.0


@register_part
class RiemannianAdam(Optimizer):
    """x = exp_x(-learning_rate * m / (sqrt(v) + epsilon)), with m in the tangent space and v one number for a point

    For points of the Poincaré ball of radius 1/sqrt(c), curvature -c, in the last axis. The gradient is divided by
    lambda_x^2, which makes it one of the curved space; v is the mean of its squared length there; m is carried along
    with the point. Points never leave the ball, and end 1e-5 of its radius before the boundary. The same as geoopt's
    RiemannianAdam on PoincareBallExact.

    >>> import numpy as np
    >>> point = np.array([[0.5, 0.0]])
    >>> adam = RiemannianAdam(learning_rate=0.1)
    >>> adam.add({"point": point})
    >>> adam.step({"point": [[-1.0, 0.0]]})  # towards the boundary, by a distance of 0.1
    >>> point.round(4)
    array([[0.5366, 0.    ]])
    """

    name = "riemannian_adam"
    Config = RiemannianAdamConfig
    paper = "Bécigneul & Ganea, 2019"
    keeps = ("exp_avg", "exp_avg_sq")
    needs_points = True

    def _kept_shape(self, key: str, parameter: Array, config: Any) -> tuple[int, ...]:
        if parameter.ndim == 0:
            raise DimensionMismatchError("a parameter is a single number; expected points, (..., dim)")
        return (*parameter.shape[:-1], 1) if key == "exp_avg_sq" else parameter.shape

    def _update(self, parameter: Array, gradient: Array, state: dict[str, Any], config: Any, rate: float) -> None:
        k = config.curvature
        # in float64 throughout: near the boundary lambda is large, and so is what rounding costs
        point = poincare.project_to_ball(parameter.astype(np.float64), k, MARGIN)
        gradient = gradient.astype(np.float64) + config.weight_decay * point
        gradient /= poincare.conformal_factor(point, k) ** 2
        mean = state["exp_avg"].astype(np.float64)
        mean = config.beta1 * mean + (1 - config.beta1) * gradient
        square = state["exp_avg_sq"]
        square *= config.beta2
        square += (1 - config.beta2) * poincare.inner_product(point, gradient, gradient, k)[..., None]
        root = np.sqrt(square.astype(np.float64) / (1 - config.beta2 ** state["step"])) + config.epsilon
        moved = poincare.exp_map(point, -rate / (1 - config.beta1 ** state["step"]) * mean / root, k)
        parameter[...] = poincare.project_to_ball(moved, k, MARGIN)
        state["exp_avg"][...] = poincare.transport(point, parameter.astype(np.float64), mean, k)
