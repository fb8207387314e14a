"""Distillation: a student learns what a teacher's logits, attention and embeddings say. The teacher is fixed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from ..arrays import ArrayLike
from ..config import Setting
from ..errors import NumericalInstabilityError
from .contrastive import soft_max
from .losses import Arguments, Array, Loss, LossConfig, LossResult, quiet, ratio
from .part import register_part


def _divergence(student: Array, teacher: Array) -> tuple[Array, Array]:
    """KL(softmax(teacher) || softmax(student)) of rows of logits, (...), and the gradient of the student's."""
    (of_student, share), (of_teacher, weights) = soft_max(student), soft_max(teacher)
    apart = (teacher - of_teacher) - (student - of_student)
    return (weights * apart).sum(axis=-1), share - weights


def _pair(student: ArrayLike, teacher: ArrayLike) -> tuple[Arguments, Array, Array]:
    given = Arguments(student=student, teacher=teacher)
    shape = given["student"].shape
    return given, given["student"], given.expect("teacher", given["teacher"].shape == shape, f"{shape}, as student")


@dataclass(frozen=True)
class DistillationConfig(LossConfig):
    temperature: Annotated[float, Setting("what logits are divided by", above=0)] = 2.0


@register_part
class DistillationLoss(Loss):
    """L = temperature^2 KL(softmax(teacher / temperature) || softmax(student / temperature)) of logits

    Shapes: student, teacher (..., n_class). value (...) with reduction="none".
    Raises: DimensionMismatchError, EmptyInputError, NumericalInstabilityError, UnsupportedError

    >>> value, gradients = DistillationLoss(temperature=1)(student=[[0.0, 0.0]], teacher=[[0.0, 100.0]])
    >>> round(value, 6), gradients["student"].tolist()
    (0.693147, [[0.5, -0.5]])
    """

    name = "distillation"
    paper = "Hinton et al., 2015, arXiv:1503.02531"
    Config = DistillationConfig
    config: DistillationConfig

    @quiet
    def __call__(self, student: ArrayLike, teacher: ArrayLike) -> LossResult:
        given, s, t = _pair(student, teacher)
        temperature = self.config.temperature
        values, grad = _divergence(s / temperature, t / temperature)
        return given.result(temperature**2 * values, self.config.reduction, {"student": temperature * grad})


@dataclass(frozen=True)
class AttentionDistillationConfig(LossConfig):
    divergence: Annotated[
        str, Setting("kl: KL(teacher || student); mse: mean squared difference", choices=("kl", "mse"))
    ] = "kl"


@register_part
class AttentionDistillationLoss(Loss):
    """L = sum_j t_ij log(t_ij / s_ij) of rows of attention weights, or with divergence="mse" mean_j (s_ij - t_ij)^2

    Shapes: student, teacher (..., n_query, n_key), as attention_weights gives them. value (..., n_query) with
            reduction="none".
    Raises: DimensionMismatchError, EmptyInputError, NumericalInstabilityError, UnsupportedError

    Weights need not sum to 1 and none is below 0. A key without the teacher's weight counts nothing; one that has it
    and none of the student's is infinitely far, and refused with divergence="kl".

    >>> value, gradients = AttentionDistillationLoss()(student=[[0.25, 0.75]], teacher=[[1.0, 0.0]])
    >>> round(value, 6), gradients["student"][0, 0]
    (1.386294, np.float32(-4.0))
    """

    name = "attention_distillation"
    paper = "Wang et al., 2020, arXiv:2002.10957; mse: Jiao et al., 2020, arXiv:1909.10351"
    Config = AttentionDistillationConfig
    config: AttentionDistillationConfig

    @quiet
    def __call__(self, student: ArrayLike, teacher: ArrayLike) -> LossResult:
        given, s, t = _pair(student, teacher)
        if self.config.divergence == "mse":
            values, grad = ((s - t) ** 2).mean(axis=-1), 2 * (s - t) / s.shape[-1]
        else:
            _refuse_weights("student", s, s < 0, "weights of at least 0")
            _refuse_weights("teacher", t, t < 0, "weights of at least 0")
            _refuse_weights("student", s, (s == 0) & (t > 0), "more than 0, where teacher has weight")
            grad = -ratio(t, s)
            values = (t * np.log(np.where(t > 0, -grad, 1))).sum(axis=-1)
        return given.result(values, self.config.reduction, {"student": grad})


def _refuse_weights(name: str, array: Array, bad: Array, expected: str) -> None:
    if bad.any():
        index = tuple(int(i) for i in np.argwhere(bad)[0])
        raise NumericalInstabilityError(f"{name} holds {array[index]} at index {index}; expected {expected}")


@dataclass(frozen=True)
class RelationDistillationConfig(LossConfig):
    temperature: Annotated[float, Setting("what relations are divided by", above=0)] = 1.0


@register_part
class RelationDistillationLoss(Loss):
    """L = KL(softmax(T T^T / r_T) || softmax(S S^T / r_S)) of rows, with r = sqrt(dim) * temperature of each

    What each row says of all others is taught, so the widths of student and teacher may differ.

    Shapes: student (..., n, dim_student), teacher (..., n, dim_teacher). value (..., n) with reduction="none".
    Raises: DimensionMismatchError, EmptyInputError, NumericalInstabilityError, UnsupportedError

    >>> loss = RelationDistillationLoss()
    >>> loss(student=[[1.0], [-1.0]], teacher=[[1.0, 0.0, 0.0, 1.0], [-1.0, 0.0, -1.0, 0.0]]).value > 0
    True
    """

    name = "relation_distillation"
    paper = "Wang et al., 2020, arXiv:2002.10957"
    Config = RelationDistillationConfig
    config: RelationDistillationConfig

    @quiet
    def __call__(self, student: ArrayLike, teacher: ArrayLike) -> LossResult:
        given = Arguments(False, student=student, teacher=teacher)
        s, t = given["student"], given["teacher"]
        given.expect("student", s.ndim > 1, "(..., n, dim)")
        rows = s.shape[:-1]
        given.expect("teacher", t.shape[:-1] == rows, f"{rows} and any dim behind, from student {s.shape}")
        factors = [1 / (np.sqrt(x.shape[-1]) * self.config.temperature) for x in (s, t)]
        relations = (factor * x @ x.swapaxes(-1, -2) for factor, x in zip(factors, (s, t), strict=True))
        values, grad = _divergence(*relations)
        return given.result(values, self.config.reduction, {"student": factors[0] * (grad + grad.swapaxes(-1, -2)) @ s})
