"""What surrounds a mechanism: backends, threads, masks for heads, the builder, files, data, the JavaScript bridge."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest

import ruvector_attention as ra
from ruvector_attention import bridge, threads

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((6, 8)).astype(np.float32)


@pytest.fixture
def kept_backend() -> Iterator[str]:
    before = ra.backend()
    yield before
    ra.use_backend(before)


@pytest.fixture
def kept_threads() -> Iterator[None]:
    before = threads.threads()
    yield
    ra.set_threads(before)


def python(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RUVECTOR_ATTENTION_")}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment | env, capture_output=True, text=True, check=False
    )


# --- backends and threads


def test_the_backend_of_the_environment_runs() -> None:
    if wanted := os.environ.get("RUVECTOR_ATTENTION_BACKEND"):
        assert ra.backend() == wanted
    assert ra.backends()[-1] == "numpy"
    assert len(set(ra.backends())) == len(ra.backends())


def test_every_backend_gives_the_same_within_float32(kept_backend: str) -> None:
    keys = RANDOM.standard_normal((200, 8)).astype(np.float32)
    expected = oracle.attention(X, keys, keys)[0]
    for name in ra.backends():
        ra.use_backend(name)
        assert ra.backend() == name
        assert ra.describe()["backend"] == name
        oracle.assert_close(ra.ScaledDotProductAttention(dim=8)(X, keys, keys), expected)


def test_a_backend_that_is_not_there_is_refused_and_nothing_changes(kept_backend: str) -> None:
    with pytest.raises(ra.InvalidConfigError, match="backend 'avx1024' is not available here; expected one of"):
        ra.use_backend("avx1024")
    assert ra.backend() == kept_backend


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("RUVECTOR_ATTENTION_BACKEND", "avx1024", "backend 'avx1024' is not available here"),
        ("RUVECTOR_ATTENTION_THREADS", "none", "RUVECTOR_ATTENTION_THREADS is 'none'; expected an integer"),
        ("RUVECTOR_ATTENTION_THREADS", "0", "RUVECTOR_ATTENTION_THREADS is '0'; expected an integer"),
    ],
)
def test_a_wrong_environment_variable_is_told_at_import(variable: str, value: str, words: str) -> None:
    done = python("import ruvector_attention", **{variable: value})
    assert done.returncode != 0
    assert words in done.stderr


def test_the_environment_chooses_backend_and_threads() -> None:
    code = "import ruvector_attention as ra; print(ra.backend(), ra.threads.threads())"
    done = python(code, RUVECTOR_ATTENTION_BACKEND="numpy", RUVECTOR_ATTENTION_THREADS="3")
    assert done.stdout.split() == ["numpy", "3"]


@pytest.mark.parametrize("count", [0, -1, 1.5, "2", True, None])
def test_a_wrong_number_of_threads_is_refused(count: Any, kept_threads: None) -> None:
    with pytest.raises(ra.InvalidConfigError, match=r"threads is .*; expected an integer of at least 1"):
        ra.set_threads(count)


def test_a_mechanism_gives_the_same_bits_on_any_number_of_threads(kept_threads: None) -> None:
    x = RANDOM.standard_normal((4, 500, 32)).astype(np.float32)
    heads = ra.SelfAttention(dim=32, num_heads=4)
    outputs = []
    for count in (1, 2, 7):
        ra.set_threads(count)
        outputs.append(heads(x, causal=True))
    assert np.array_equal(outputs[0], outputs[1])
    assert np.array_equal(outputs[0], outputs[2])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_computes_on_threads_of_its_own(kept_threads: None) -> None:
    ra.set_threads(2)
    x = np.ones((800, 64), np.float32)
    attention = ra.ScaledDotProductAttention(dim=64)
    attention(x, x, x)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # and not what pytest does at the end of a test's time
        signal.alarm(200)  # one that waits for threads it does not have ends all the same
        code = 1
        try:
            code = 0 if np.array_equal(attention(x, x, x), x) else 1
        finally:
            os._exit(code)  # whatever comes, no second pytest
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_call_from_many_threads_at_once_gives_each_its_own() -> None:
    from concurrent.futures import ThreadPoolExecutor

    items = [RANDOM.standard_normal((3, 40, 16)).astype(np.float32) for _ in range(24)]
    attention = ra.ScaledDotProductAttention(dim=16)
    expected = [attention(*item) for item in items]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            found = list(pool.map(lambda item: attention(*item), items))
            assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


# --- masks and bias where there are heads


MASK_SHAPES = [(6,), (6, 6), (1, 6), (6, 1), (2, 6, 6), (2, 1, 6), (2, 4, 6, 6), (1, 4, 1, 6), (2, 1, 6, 6)]


@pytest.mark.parametrize("shape", MASK_SHAPES)
@pytest.mark.parametrize("kind", ["bool", "float", "bias"])
def test_a_mask_broadcasts_over_batch_and_heads(shape: tuple[int, ...], kind: str) -> None:
    x = RANDOM.standard_normal((2, 6, 8)).astype(np.float32)
    heads = ra.MultiHeadAttention(dim=8, num_heads=4, projections=False)
    split = x.reshape(2, 6, 4, 2).swapaxes(1, 2)
    given = RANDOM.random(shape) < 0.7 if kind == "bool" else RANDOM.standard_normal(shape).astype(np.float32)
    # three dimensions are those of the batch: they hold for every head
    wide = given[:, None] if given.ndim == 3 else given
    name = "bias" if kind == "bias" else "mask"
    output, weights = oracle.attention(split, split, split, **{name: wide})
    oracle.assert_close(heads(x, x, x, **{name: given}), output.swapaxes(1, 2).reshape(2, 6, 8))
    oracle.assert_close(heads.attention_weights(x, x, **{name: given}), weights)
    oracle.assert_close(heads.head_output(2, x, x, x, **{name: given}), output[:, 2])


@pytest.mark.parametrize(
    ("bias", "error"),
    [
        (np.ones((5, 5)), ra.DimensionMismatchError),
        (np.ones((3, 6, 6)), ra.DimensionMismatchError),
        (np.ones((0, 6)), ra.EmptyInputError),
        (np.ones(6, bool), ra.UnsupportedError),
        (np.ones(6, complex), ra.UnsupportedError),
        (np.full(6, np.nan), ra.NumericalInstabilityError),
        (np.full(6, np.inf), ra.NumericalInstabilityError),
        ([[1.0], [1.0, 2.0]], ra.DimensionMismatchError),
    ],
)
def test_a_bias_that_does_not_fit_is_named(bias: Any, error: type[ra.AttentionError]) -> None:
    with pytest.raises(error, match="bias"):
        ra.ScaledDotProductAttention(dim=8)(X, X, X, bias=bias)
    with pytest.raises(error, match="bias"):
        ra.ScaledDotProductAttention(dim=8).attention_weights(X, X, bias=bias)


def test_a_mask_that_holds_the_lowest_float64_removes_the_key() -> None:
    lowest = np.where(np.arange(6) == 1, np.finfo(np.float64).min, 0.0)
    weights = ra.ScaledDotProductAttention(dim=8).attention_weights(X, X, mask=lowest)
    assert not weights[:, 1].any()
    assert np.abs(weights.sum(axis=-1) - 1).max() <= 1e-6


def test_a_masked_array_is_refused_for_its_mask_would_be_lost() -> None:
    with pytest.raises(ra.UnsupportedError, match="keys is a masked array"):
        ra.ScaledDotProductAttention(dim=8)(X, np.ma.masked_less(X, 0), X)


@pytest.mark.parametrize("where", ["query and keys", "keys and values", "all"])
def test_inputs_may_share_memory(where: str) -> None:
    memory = RANDOM.standard_normal(120).astype(np.float32)
    q, k, v = {
        "query and keys": (memory[:48], memory[24:72], memory[72:]),
        "keys and values": (memory[:48], memory[24:72], memory[40:88]),
        "all": (memory[:48], memory[:48], memory[:48]),
    }[where]
    q, k, v = q.reshape(6, 8), k.reshape(6, 8), v.reshape(6, 8)
    oracle.assert_close(ra.ScaledDotProductAttention(dim=8)(q, k, v), oracle.attention(q, k, v)[0])


def test_a_head_that_is_not_an_integer_is_refused() -> None:
    heads = ra.MultiHeadAttention(dim=8, num_heads=2)
    for head in (True, 0.0, "0", None):
        with pytest.raises(ra.UnsupportedError, match=r"head is .*; expected an integer"):
            heads.head_output(head, X, X, X)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"dim": 10, "num_heads": 4}, "dim is 10; expected a multiple of num_heads = 4"),
        ({"dim": 12, "num_heads": 4, "num_kv_heads": 3}, "num_kv_heads is 3; expected a divisor of num_heads = 4"),
        ({"dim": 65, "num_heads": 65}, "num_heads is 65; expected at most 64"),
        ({"dim": 8, "num_heads": 0}, "num_heads is 0; expected at least 1"),
        ({"dim": 8, "num_heads": 2, "projections": False, "kdim": 5}, "kdim is 5; without projections expected 8"),
        ({"dim": 8, "num_heads": 2.5}, "num_heads is 2.5; expected an integer"),
    ],
)
def test_settings_that_contradict_one_another_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ra.InvalidConfigError, match=words):
        ra.MultiHeadAttention(**settings)


# --- batches, builder, files, data


def test_an_error_says_which_item_of_a_batch_it_was() -> None:
    attention = ra.ScaledDotProductAttention(dim=8)
    with pytest.raises(ra.DimensionMismatchError, match=r"item 1: keys is \(6, 7\)"):
        attention.forward_batch([(X, X, X), (X, X[:, :7], X)])
    with pytest.raises(ra.EmptyInputError, match="items is empty"):
        attention.forward_batch([])
    with pytest.raises(ra.UnsupportedError, match="item 0: 2 inputs came"):
        attention.forward_batch([(X, X)])
    with pytest.raises(ra.UnsupportedError, match="item 0: unknown 'msk'; did you mean 'mask'"):
        attention.forward_batch([{"query": X, "keys": X, "values": X, "msk": None}])


def test_the_builder_builds_what_create_does() -> None:
    built = ra.AttentionBuilder().type("multi_head", num_heads=2).hidden_dim(8).dropout(0.1).build()
    assert built.get_config() == ra.create("multi_head", dim=8, num_heads=2, dropout=0.1).get_config()
    with pytest.raises(ra.InvalidConfigError, match="the builder has no type"):
        ra.AttentionBuilder().hidden_dim(8).build()
    with pytest.raises(ra.InvalidConfigError, match="needs the setting 'dim'"):
        ra.AttentionBuilder().type("flash").build()


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    garbage, foreign = tmp_path / "garbage", tmp_path / "foreign"
    garbage.write_bytes(b"not at all" * 10)
    save_file({"x": np.ones(2, np.float32)}, foreign)
    with pytest.raises(ra.InvalidConfigError, match="is not a safetensors file"):
        ra.Attention.load_checkpoint(garbage)
    with pytest.raises(ra.InvalidConfigError, match="has no settings of a mechanism"):
        ra.Attention.load_checkpoint(foreign)
    with pytest.raises(FileNotFoundError):
        ra.Attention.load_checkpoint(tmp_path / "absent")


def test_a_checkpoint_of_another_mechanism_is_refused(tmp_path: Path) -> None:
    ra.FlashAttention(dim=8).save_checkpoint(tmp_path / "kept")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]  # nothing half-written is left beside it
    with pytest.raises(ra.InvalidConfigError, match="config is of type 'flash'; expected 'multi_head'"):
        ra.MultiHeadAttention.load_checkpoint(tmp_path / "kept")


def test_a_save_that_fails_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("the disk is full")

    path = tmp_path / "kept"
    ra.FlashAttention(dim=8).save_checkpoint(path)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", refuse)
        with pytest.raises(OSError, match="the disk is full"):
            ra.FlashAttention(dim=16).save_checkpoint(path)
    assert [found.name for found in tmp_path.iterdir()] == ["kept"]
    assert ra.FlashAttention.load_checkpoint(path).hidden_dim == 8


def test_digits_are_whole_and_their_split_follows_the_seed() -> None:
    digits = ra.datasets.load_digits()
    assert digits.images.shape == (1797, 64)
    assert (digits.images.min(), digits.images.max()) == (0, 16)
    assert np.bincount(digits.labels).min() >= 170
    stored, others = digits.split(1500, seed=4)
    again, _ = digits.split(1500, seed=4)
    assert np.array_equal(stored.images, again.images)
    both = np.concatenate([stored.images, others.images])
    assert np.array_equal(np.sort(both, axis=0), np.sort(digits.images, axis=0))


@pytest.mark.parametrize("seed", range(5))
def test_digits_are_read_whatever_the_shuffle(seed: int) -> None:
    stored, drawn = ra.datasets.load_digits().split(1500, seed=seed)
    attention = ra.ScaledDotProductAttention(dim=64, normalize=True, scale=1.0, temperature=0.01)
    read = attention(drawn.images, stored.images, np.eye(10)[stored.labels]).argmax(axis=1)
    assert (read == drawn.labels).mean() >= 0.98  # the seed of the demonstration alone is held to 99 %


# --- the bridge, as JavaScript calls it


def sent(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    flat = np.ascontiguousarray(array).reshape(-1)
    return {"$array": flat.tobytes(), "shape": list(array.shape), "dtype": flat.dtype.name}


def ask(verb: str, **arguments: Any) -> Any:
    answer = bridge.dispatch(verb, arguments)
    assert "error" not in answer, answer
    return answer["value"]


def test_the_bridge_creates_calls_and_releases() -> None:
    before = ask("describe")["handles"]
    handle = ask("create", name="scaled_dot_product", config={"dim": 8})["handle"]
    mask = sent(np.array([True, False, True, True, True, True]))
    found = ask("call", handle=handle, method="forward", args=[sent(X)] * 3, kwargs={"mask": mask})
    output = np.asarray(found["$array"], np.float32).reshape(found["shape"])
    oracle.assert_close(output, oracle.attention(X, X, X, mask=np.arange(6) != 1)[0])
    assert ask("release", handle=handle) is True
    assert ask("release", handle=handle) is False
    assert ask("describe")["handles"] == before


@pytest.mark.parametrize(
    ("method", "args", "error", "words"),
    [
        ("forward", [X, X[:, :7], X], "DimensionMismatchError", "keys is (6, 7)"),
        ("forward", [X, X * np.nan, X], "NumericalInstabilityError", "keys holds nan"),
        ("forward", [X], "TypeError", "missing"),
        ("forwrd", [], "UnsupportedError", "has no method 'forwrd'"),
        ("_setup", [], "UnsupportedError", "has no method '_setup'"),
        ("config", [], "UnsupportedError", "has no method 'config'"),
    ],
)
def test_the_bridge_answers_an_error_with_its_class(method: str, args: list[Any], error: str, words: str) -> None:
    handle = ask("create", name="scaled_dot_product", config={"dim": 8})["handle"]
    given = {"handle": handle, "method": method, "args": [sent(array) for array in args], "kwargs": {}}
    answer = bridge.dispatch("call", given)["error"]
    ask("release", handle=handle)
    assert answer["class"] == error
    assert words in answer["message"]
    gone = bridge.dispatch("call", given)["error"]
    assert gone["class"] == "OutOfBoundsError"


def test_the_bridge_describes_in_plain_json() -> None:
    described = json.loads(json.dumps(ask("describe")))
    assert [entry["name"] for entry in described["mechanisms"]] == ra.mechanisms()
    assert all(issubclass(getattr(ra, name), Exception) for name in described["errors"])
