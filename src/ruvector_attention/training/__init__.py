"""Training: losses, optimizers, schedules and miners over plain arrays."""

from .contrastive import InfoNCELoss, LocalContrastiveLoss
from .distillation import AttentionDistillationLoss, DistillationLoss, RelationDistillationLoss
from .losses import Loss, LossResult, TripletLoss
from .mining import HardNegativeMiner, InBatchMiner
from .objectives import EWCLoss, MultiObjectiveLoss
from .part import TrainingPart, create_part, parts, register_part
from .regularization import (
    NormPenalty,
    OrthogonalityRegularization,
    SpectralRegularization,
    laplacian,
    norm_penalty,
    orthogonality,
)

__all__ = [
    "AttentionDistillationLoss",
    "DistillationLoss",
    "EWCLoss",
    "HardNegativeMiner",
    "InBatchMiner",
    "InfoNCELoss",
    "LocalContrastiveLoss",
    "Loss",
    "LossResult",
    "MultiObjectiveLoss",
    "NormPenalty",
    "OrthogonalityRegularization",
    "RelationDistillationLoss",
    "SpectralRegularization",
    "TrainingPart",
    "TripletLoss",
    "create_part",
    "laplacian",
    "norm_penalty",
    "orthogonality",
    "parts",
    "register_part",
]
