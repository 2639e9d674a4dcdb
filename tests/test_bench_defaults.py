"""The table of the defaults: its rows run on untouched defaults, and its verdicts are those of hand arithmetic."""

import numpy as np

from bench import defaults
from deepr_hw.train.config import Config, config_from


def test_a_small_table_runs(monkeypatch, capsys):
    seen: list[Config] = []

    def remember(table):
        seen.append(config_from(table))
        return seen[-1]

    monkeypatch.setattr(defaults, "config_from", remember)
    monkeypatch.setattr(
        defaults,
        "SETS",
        {"wine": (2, lambda: defaults.load_tabular("wine")), "hapt": (2, lambda: defaults.load_archive("nowhere.npz"))},
    )
    monkeypatch.setattr("sys.argv", ["defaults", "--seeds", "2", "--sets", "wine,hapt"])
    defaults.main()
    shown = capsys.readouterr().out
    assert "hapt: not at hand, left out" in shown
    for row in ("deep_r 2 %", "deep_r 10 %", "rigl 1 %", "fixed 5 %", "dense", "5 % beside the dense network"):
        assert row in shown
    assert len(seen) == 2 * (4 + 6)
    standard = config_from({"budget": {"density": 0.01}})
    for config in seen:
        assert (config.data, config.quantization) == (standard.data, standard.quantization)
        assert config.training.l1 == config.training.batch_size == "auto"
        assert (config.training.learning_rate, config.training.idle) == (0.01, 20)


def test_verdicts_are_those_of_hand_arithmetic():
    def found(ours, rigl, dense):
        rows = {f"{rival} {d} %": [50.0, 50.0] for rival in ("set", "fixed") for d in (1, 5)}
        return {
            **rows,
            **{f"deep_r {d} %": ours for d in (1, 5)},
            **{f"rigl {d} %": rigl for d in (1, 5)},
            "dense": dense,
        }

    lines = defaults.verdicts(
        {"a": found([80.0, 90.0], [70.0, 70.0], [80.0, 80.0]), "b": found([60.0, 60.0], [61.0, 61.0], [70.0, 70.0])}
    )
    assert lines[0] == (
        "1 %: DEEP R 72.50 on average, rigl 65.50, set 50.00, fixed 50.00; least ahead of the best of them on b: -1.00"
    )
    assert lines[2] == "5 % beside the dense network: least on b, -10.00"


def test_the_sets_are_the_same_every_time():
    first, second = defaults.load_cov(), defaults.load_cov()
    np.testing.assert_array_equal(first.x_test, second.x_test)
    assert (len(first.x_train), len(first.x_test), first.n_in, first.n_classes) == (12_000, 4_000, 54, 7)
    spread = first.x_train.std(axis=0)
    assert spread.max() / spread.min() > 1e4
