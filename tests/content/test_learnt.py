from pathlib import Path

import numpy as np

from recsys.content.learnt import Arrays, digest_arrays, digest_contents, learn_once


def test_what_is_kept_is_not_learnt_again(tmp_path: Path) -> None:
    calls: list[int] = []

    def learn() -> Arrays:
        calls.append(1)
        return {"a": np.arange(6.0).reshape(2, 3).T, "b": np.frombuffer(b"text", dtype=np.uint8)}

    results = [learn_once(tmp_path, "key", learn) for _ in range(2)]
    assert len(calls) == 1
    for name in ("a", "b"):
        np.testing.assert_array_equal(results[0][name], results[1][name])
    learn_once(tmp_path, "other", learn)
    learn_once(None, "key", learn)
    assert len(calls) == 3


def test_a_damaged_file_is_learnt_again(tmp_path: Path) -> None:
    learn_once(tmp_path, "key", lambda: {"a": np.ones(2)})
    (tmp_path / "key.safetensors").write_bytes(b"half")
    np.testing.assert_array_equal(learn_once(tmp_path, "key", lambda: {"a": np.zeros(2)})["a"], 0)
    np.testing.assert_array_equal(learn_once(tmp_path, "key", lambda: {"a": np.ones(2)})["a"], 0)


def test_contents_have_digests_by_what_they_hold(tmp_path: Path) -> None:
    for name, text in (("a", "one"), ("b", "one"), ("c", "two")):
        (tmp_path / name).write_text(text)
    same = [digest_contents([tmp_path / name, None], {"seed": 1}) for name in "ab"]
    assert same[0] == same[1]
    others = {
        digest_contents([tmp_path / "c", None], {"seed": 1}),
        digest_contents([None, tmp_path / "a"], {"seed": 1}),
        digest_contents([tmp_path / "a", None], {"seed": 2}),
        digest_contents(["one", None], {"seed": 1}),
        digest_contents([tmp_path / "gone", None], {"seed": 1}),
    }
    assert len(others | set(same)) == 6


def test_arrays_have_digests_by_name_type_and_shape() -> None:
    one = {"a": np.zeros(4, dtype=np.float32)}
    digests = {
        digest_arrays(arrays)
        for arrays in (
            one,
            {"b": one["a"]},
            {"a": one["a"].reshape(2, 2)},
            {"a": one["a"].astype(np.int32)},
        )
    }
    assert len(digests) == 4
