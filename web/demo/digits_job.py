"""Reading handwritten digits by attention alone: stored digits are keys, their labels values, nothing is trained.

    probabilities = softmax(cosine(drawn digit, 1 500 stored digits) / 0.01) @ one-hot labels

The same class runs natively (`python digits_job.py` prints the result as JSON) and, loaded into Pyodide, in the page.
"""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import numpy.typing as npt

import ruvector_attention as ra

STORED = 1500
NEAREST = 10
DIGITS = 10
DIM = 64
TRIED, LEAST_RIGHT = 60, 0.95  # digits that a mechanism is tried on, and the share that it must read
#: Cosine attention. A mechanism gets those of them that are among its settings.
SETTINGS: dict[str, Any] = {
    "dim": DIM,
    "normalize": True,
    "scale": 1.0,
    "temperature": 0.01,
    "projections": False,
    "num_heads": 2,
}
#: Settings that the digits themselves decide.
FIXED = ["dim", "kdim", "vdim", "num_kv_heads", "projections"]


class DigitReader:
    """1 500 stored digits, 297 held out, and the mechanism that reads one from the other."""

    def __init__(self, seed: int = 0) -> None:
        self.stored, self.held_out = ra.datasets.load_digits().split(STORED, seed=seed)
        self.one_hot = np.eye(DIGITS, dtype=np.float32)[self.stored.labels]
        self.configure()

    def configure(self, mechanism: str = "scaled_dot_product", **settings: Any) -> dict[str, Any]:
        """Read with this mechanism from now on; returns its settings, completed."""
        chosen = self._settings_for(mechanism) | settings
        attention: Any = ra.create(mechanism, **chosen)  # that it has weights, candidates() finds out
        heads = chosen.get("num_heads", 1)
        # Each head sees a part of the picture and has a vote of its own, as wide as the head: (n_key, heads * width)
        width = DIM // heads if "num_heads" in chosen else DIGITS
        if width < DIGITS:
            most = DIM // DIGITS
            raise ra.InvalidConfigError(f"num_heads is {heads}; expected at most {most}, to vote on ten digits")
        self.heads = heads
        self.values = np.tile(np.pad(self.one_hot, ((0, 0), (0, width - DIGITS))), heads)
        self.attention = attention
        config: dict[str, Any] = attention.get_config()
        return config

    def candidates(self) -> list[str]:
        """The mechanisms that can do it as they are: query, keys and values in, probabilities out, and right ones."""
        kept = self.attention.config.to_dict()
        mechanism = self.attention.name
        found = []
        for name in ra.mechanisms():
            try:
                self.configure(name)
                probabilities = self._probabilities(self.held_out.images[:TRIED])
                self.classify(self.held_out.images[0])
            except (ra.AttentionError, TypeError, AttributeError):
                continue  # other inputs, no weights, or settings that this job has no answer for
            right = (probabilities.argmax(axis=-1) == self.held_out.labels[:TRIED]).mean()
            if np.allclose(probabilities.sum(axis=-1), 1.0, atol=1e-3) and right >= LEAST_RIGHT:
                found.append(name)
        self.configure(mechanism, **kept)
        return found

    def form(self) -> dict[str, list[str]]:
        """Which settings a form shows first, and which it leaves out."""
        return {"first": [name for name in SETTINGS if name not in FIXED], "left_out": FIXED}

    def classify(self, digit: npt.NDArray[Any]) -> dict[str, Any]:
        """What one digit of 64 values (0 to 16) is taken for, and which stored digits it looked at."""
        query = np.asarray(digit, dtype=np.float32).reshape(1, DIM)
        probabilities = self._probabilities(query)[0]
        weights = self.attention.attention_weights(query, self.stored.images).reshape(-1, STORED).mean(axis=0)
        nearest = np.argsort(weights)[::-1][:NEAREST]
        return {
            "digit": int(probabilities.argmax()),
            "probabilities": probabilities,
            "nearest": nearest.astype(np.int32),
            "weights": weights[nearest],
            "seconds": self._seconds_per_call(query),
            "backend": ra.backend(),
        }

    def evaluate(self) -> dict[str, Any]:
        """The 297 held-out digits in one call."""
        start = time.perf_counter()
        probabilities = self._probabilities(self.held_out.images)
        seconds = time.perf_counter() - start
        predicted = probabilities.argmax(axis=-1)
        correct = int((predicted == self.held_out.labels).sum())
        return {
            "mechanism": self.attention.name,
            "correct": correct,
            "total": len(self.held_out),
            "accuracy": correct / len(self.held_out),
            "seconds": seconds,
            "seconds_per_query": self._seconds_per_call(self.held_out.images[:1]),
            "backend": ra.backend(),
            "predicted": predicted.astype(np.int32),
        }

    def bank(self) -> dict[str, Any]:
        """The stored digits, to be drawn."""
        return {
            "images": self.stored.images.astype(np.uint8),
            "labels": self.stored.labels.astype(np.int32),
            "held_out": self.held_out.images.astype(np.uint8),
            "held_out_labels": self.held_out.labels.astype(np.int32),
        }

    def _settings_for(self, mechanism: str) -> dict[str, Any]:
        described = next((m for m in ra.describe()["mechanisms"] if m["name"] == mechanism), None)
        known = {setting["name"] for setting in described["config"]} if described else set()
        return {name: value for name, value in SETTINGS.items() if name in known}

    def _probabilities(self, query: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(n_query, 64) -> (n_query, 10), the heads' votes averaged"""
        votes = self.attention.forward(query, self.stored.images, self.values)
        by_head: npt.NDArray[np.float32] = votes.reshape(len(query), self.heads, -1)[..., :DIGITS]
        return np.asarray(by_head.mean(axis=1))

    def _seconds_per_call(self, query: npt.NDArray[np.float32], at_least: float = 0.003) -> float:
        """Repeated until a browser's coarse clock can tell."""
        calls, start, elapsed = 0, time.perf_counter(), 0.0
        while elapsed < at_least:
            self.attention.forward(query, self.stored.images, self.values)
            calls += 1
            elapsed = time.perf_counter() - start
        return elapsed / calls


def main() -> None:
    reader = DigitReader()
    reader.evaluate()  # the first call wakes threads and caches
    result = reader.evaluate()
    result["predicted"] = result["predicted"].tolist()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
