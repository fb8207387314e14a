"""The golden cases of training's losses and miners, for make_vectors.py: torch and pytorch-metric-learning, in float64.

They are tests/vectors/training/<part>.json. A case is {"name", "config", "inputs", "value", "gradients", "source"};
`value` is a number, or with reduction="none" an array; `gradients` are torch's autograd of it, or of its sum, by input.
Those of the miner hold "embeddings", "labels" and the "triplets" (anchor, positive, negative) that are semi-hard.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from make_vectors import Case, Maker

FORMULA = "torch, float64: the formula"


class TrainingMaker:
    def __init__(self, maker: Maker) -> None:
        self.maker, self.torch = maker, maker.torch
        self.functional = maker.torch.nn.functional
        self.random = maker.np.random.default_rng(20180706)  # its own draws: other cases come and go
        self.cases: dict[str, list[Case]] = {}

    def draw(self, *shape: int) -> Any:
        return self.maker.np.round(self.random.standard_normal(shape), 3).astype(self.maker.np.float32)

    def add(
        self, part: str, name: str, config: Case, source: str, of: Callable[..., Any], constant: str = "", **inputs: Any
    ) -> None:
        """`of` makes the value of the inputs as tensors; the gradient of the one called `constant` is not asked for."""
        leaves = {key: self.torch.from_numpy(array.astype("float64")).requires_grad_() for key, array in inputs.items()}
        value = of(**leaves)
        wanted = [key for key in inputs if key != constant]
        found = self.torch.autograd.grad(value.sum(), [leaves[key] for key in wanted])
        written = self.maker.written
        self.cases.setdefault(part, []).append(
            {
                "name": name,
                "config": config,
                "inputs": {key: written(array, 7) for key, array in inputs.items()},
                "value": float(f"{value.item():.12g}") if value.ndim == 0 else written(value),
                "gradients": {key: written(grad) for key, grad in zip(wanted, found, strict=True)},
                "source": source,
            }
        )

    def make(self) -> dict[str, list[Case]]:
        self.info_nce()
        self.info_nce_in_batch()
        self.triplet()
        self.local_contrastive()
        self.distillation()
        self.semi_hard()
        return self.cases

    def cosines(self, rows: Any, candidates: Any) -> Any:
        return self.functional.cosine_similarity(rows[..., None, :], candidates, dim=-1)

    def info_nce(self) -> None:
        from pytorch_metric_learning.losses import (  # type: ignore[import-not-found, unused-ignore]
            NTXentLoss,
            SupConLoss,
        )

        torch, t = self.torch, 0.2
        for name, lead, negatives in (("own-negatives", (4,), (4, 6, 5)), ("shared-negatives", (4,), (6, 5)),
                                      ("one", (), (6, 5)), ("leading-dimensions", (2, 3), (2, 3, 4, 5))):  # fmt: skip
            for reduction in ("mean", "sum", "none"):

                def entropy(anchor: Any, positives: Any, negatives: Any, reduction: str = reduction) -> Any:
                    near = self.cosines(anchor, positives[..., None, :])
                    logits = torch.cat([near, self.cosines(anchor, negatives)], -1) / t
                    classes = torch.zeros(logits.shape[:-1], dtype=torch.long)
                    # torch wants the classes behind the first axis of a batch
                    logits = logits.movedim(-1, 1) if logits.ndim > 1 else logits
                    return self.functional.cross_entropy(logits, classes, reduction=reduction)

                arrays = {"anchor": self.draw(*lead, 5), "positives": self.draw(*lead, 5),
                          "negatives": self.draw(*negatives)}  # fmt: skip
                config = {"temperature": t, "reduction": reduction}
                source = "torch.nn.functional.cross_entropy of cosine_similarity, float64"
                self.add("info_nce", f"{name}-{reduction}", config, source, entropy, **arrays)
        for several, loss in (("each", NTXentLoss), ("together", SupConLoss)):

            def metric(anchor: Any, positives: Any, negatives: Any, loss: Any = loss) -> Any:
                n, n_positive, n_negative = len(anchor), positives.shape[1], negatives.shape[1]
                rows = torch.cat([anchor, positives.flatten(0, 1), negatives.flatten(0, 1)])
                a1, a2 = (torch.arange(n).repeat_interleave(count) for count in (n_positive, n_negative))
                p, neg = n + torch.arange(n * n_positive), n * (1 + n_positive) + torch.arange(n * n_negative)
                return loss(temperature=t)(rows, indices_tuple=(a1, p, a2, neg))

            arrays = {"anchor": self.draw(3, 4), "positives": self.draw(3, 2, 4), "negatives": self.draw(3, 5, 4)}
            source = f"pytorch_metric_learning.losses.{loss.__name__}, float64"
            self.add("info_nce", several, {"temperature": t, "several": several}, source, metric, **arrays)

    def info_nce_in_batch(self) -> None:
        from pytorch_metric_learning.losses import NTXentLoss

        torch, t = self.torch, 0.1

        def all_rows(anchor: Any, positives: Any) -> Any:
            labels = torch.arange(len(anchor)).repeat(2)
            return NTXentLoss(temperature=t)(torch.cat([anchor, positives]), labels)

        def across(anchor: Any, positives: Any) -> Any:
            logits, classes = self.cosines(anchor, positives) / t, torch.arange(len(anchor))
            return sum(self.functional.cross_entropy(x, classes) for x in (logits, logits.T)) / 2

        for name, rows, of, source in (
            ("all", 7, all_rows, "pytorch_metric_learning.losses.NTXentLoss, float64"),
            ("across", 7, across, "torch.nn.functional.cross_entropy both ways, float64"),
            ("all", 2, all_rows, "pytorch_metric_learning.losses.NTXentLoss, float64"),
        ):
            config = {"temperature": t, "in_batch": name}
            arrays = {"anchor": self.draw(rows, 4), "positives": self.draw(rows, 4)}
            self.add("info_nce", f"in-batch-{name}-{rows}", config, source, of, **arrays)

    def triplet(self) -> None:
        torch = self.torch
        distances = {
            "euclidean": None,
            "squared_euclidean": lambda x, y: ((x - y) ** 2).sum(-1),
            "cosine": lambda x, y: 1 - self.functional.cosine_similarity(x, y, dim=-1),
        }
        for name, function in distances.items():
            for reduction in ("mean", "sum", "none"):

                def of(anchor: Any, positive: Any, negative: Any, f: Any = function, how: str = reduction) -> Any:
                    if f is None:
                        return torch.nn.TripletMarginLoss(0.5, eps=0, reduction=how)(anchor, positive, negative)
                    loss = torch.nn.TripletMarginWithDistanceLoss(distance_function=f, margin=0.5, reduction=how)
                    return loss(anchor, positive, negative)

                config = {"margin": 0.5, "distance": name, "reduction": reduction}
                source = f"torch.nn.TripletMargin{'' if function is None else 'WithDistance'}Loss, float64"
                arrays = {key: self.draw(6, 4) for key in ("anchor", "positive", "negative")}
                self.add("triplet", f"{name}-{reduction}", config, source, of, **arrays)

    def local_contrastive(self) -> None:
        torch = self.torch

        def margin(anchor: Any, positives: Any, negatives: Any) -> Any:
            near, far = ((anchor[:, None] - x).norm(dim=-1) for x in (positives, negatives))
            return ((near**2).mean(-1) + (3 - far).clamp(min=0).square().mean(-1)).mean()

        def temperature(anchor: Any, positives: Any, negatives: Any) -> Any:
            near, far = (self.cosines(anchor, x) / 0.3 for x in (positives, negatives))
            of_all = torch.logaddexp(near, far.logsumexp(-1, keepdim=True))
            return (of_all - near).mean()

        for name, of, config in (
            ("margin", margin, {"margin": 3.0}),
            ("temperature", temperature, {"temperature": 0.3}),
        ):
            arrays = {"anchor": self.draw(4, 5), "positives": self.draw(4, 2, 5), "negatives": self.draw(4, 6, 5)}
            self.add("local_contrastive", name, config, FORMULA, of, **arrays)

    def distillation(self) -> None:
        torch, functional = self.torch, self.functional
        for t in (1.0, 4.0):

            def logits(student: Any, teacher: Any, t: float = t) -> Any:
                s = functional.log_softmax(student / t, -1)
                return t**2 * functional.kl_div(s, functional.softmax(teacher / t, -1), reduction="batchmean")

            arrays = {"student": self.draw(5, 7), "teacher": self.draw(5, 7)}
            source = "torch.nn.functional.kl_div, float64"
            self.add("distillation", f"temperature-{t:g}", {"temperature": t}, source, logits, "teacher", **arrays)

        def relation(student: Any, teacher: Any) -> Any:
            s, t = (x @ x.mT / x.shape[-1] ** 0.5 / 1.5 for x in (student, teacher))
            terms = functional.kl_div(functional.log_softmax(s, -1), functional.softmax(t, -1), reduction="none")
            return terms.sum(-1).mean()

        arrays = {"student": self.draw(2, 5, 3), "teacher": self.draw(2, 5, 6)}
        config: Case = {"temperature": 1.5}
        self.add("relation_distillation", "widths", config, "torch kl_div, float64", relation, "teacher", **arrays)
        weights = [torch.softmax(torch.from_numpy(self.draw(2, 3, 6)), -1).numpy() for _ in range(2)]
        weights[1][..., 2] = 0
        maps: dict[str, Callable[..., Any]] = {
            "kl": lambda student, teacher: functional.kl_div(student.log(), teacher, reduction="none").sum(-1),
            "mse": lambda student, teacher: functional.mse_loss(student, teacher),
        }
        for name, of in maps.items():
            config = {"divergence": name, "reduction": "none" if name == "kl" else "mean"}
            arrays = dict(zip(("student", "teacher"), weights, strict=True))
            source = f"torch.nn.functional.{'kl_div' if name == 'kl' else 'mse_loss'}, float64"
            self.add("attention_distillation", name, config, source, of, "teacher", **arrays)

    def semi_hard(self) -> None:
        from pytorch_metric_learning.distances import LpDistance  # type: ignore[import-not-found, unused-ignore]
        from pytorch_metric_learning.miners import TripletMarginMiner  # type: ignore[import-not-found, unused-ignore]

        rows, labels = self.draw(14, 3), self.random.integers(0, 4, 14)
        miner = TripletMarginMiner(0.7, "semihard", distance=LpDistance(normalize_embeddings=False))
        wide = self.torch.from_numpy(rows.astype("float64"))
        triplets = self.torch.stack(miner(wide, self.torch.from_numpy(labels)), -1)
        case = {"embeddings": self.maker.written(rows, 7), "labels": self.maker.written(labels)}
        case |= {"triplets": self.maker.written(triplets), "config": {"margin": 0.7}}
        source = "pytorch_metric_learning.miners.TripletMarginMiner, float64"
        self.cases["hard_negative"] = [{"name": "semi-hard", **case, "source": source}]
