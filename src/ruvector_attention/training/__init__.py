"""Training: losses, optimizers, schedules and miners over plain arrays.

>>> from ruvector_attention import training
>>> training.create_part("adam", learning_rate=0.01)
Adam(learning_rate=0.01)
>>> training.parts("schedule")
['curriculum', 'learning_rate', 'temperature']
"""

from .clipping import clip_by_global_norm, global_norm
from .contrastive import InfoNCELoss, LocalContrastiveLoss
from .distillation import AttentionDistillationLoss, DistillationLoss, RelationDistillationLoss
from .losses import Loss, LossResult, TripletLoss
from .mining import HardNegativeMiner, InBatchMiner
from .objectives import EWCLoss, MultiObjectiveLoss
from .optimizer import Optimizer
from .optimizers import SGD, Adam, AdamW, RiemannianAdam
from .part import TrainingPart, create_part, describe_parts, get_part, parts, register_part
from .regularization import (
    NormPenalty,
    OrthogonalityRegularization,
    SpectralRegularization,
    laplacian,
    norm_penalty,
    orthogonality,
)
from .schedules import (
    CurriculumScheduler,
    CurriculumStage,
    LearningRateSchedule,
    Schedule,
    TemperatureAnnealing,
    default_curriculum,
)

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "AttentionDistillationLoss",
    "CurriculumScheduler",
    "CurriculumStage",
    "DistillationLoss",
    "EWCLoss",
    "HardNegativeMiner",
    "InBatchMiner",
    "InfoNCELoss",
    "LearningRateSchedule",
    "LocalContrastiveLoss",
    "Loss",
    "LossResult",
    "MultiObjectiveLoss",
    "NormPenalty",
    "Optimizer",
    "OrthogonalityRegularization",
    "RelationDistillationLoss",
    "RiemannianAdam",
    "Schedule",
    "SpectralRegularization",
    "TemperatureAnnealing",
    "TrainingPart",
    "TripletLoss",
    "clip_by_global_norm",
    "create_part",
    "default_curriculum",
    "describe_parts",
    "get_part",
    "global_norm",
    "laplacian",
    "norm_penalty",
    "orthogonality",
    "parts",
    "register_part",
]
