"""Configurations: what is refused and how it is said, and that writing and reading give the same."""

import pytest

from deepr_hw import config as cfg
from deepr_hw.config import dump_config, load_config, shipped_configs


@pytest.mark.parametrize("name", shipped_configs())
def test_shipped_configs_survive_a_round_trip(name, tmp_path):
    config = load_config(name)
    path = tmp_path / "config.toml"
    path.write_text(dump_config(config))
    assert load_config(path) == config


@pytest.mark.parametrize(("override", "message"), [
    ("training.epoch=3", r"training\.epoch: unknown key; did you mean epochs"),
    ("trainin.epochs=3", r"trainin: unknown key; did you mean training"),
    ("training.epochs=three", r"training\.epochs = 'three': expected integer"),
    ("training.epochs=2.5", r"training\.epochs = 2\.5: expected integer"),
    ("training.epochs=true", r"training\.epochs = True: expected integer"),
    ("training.epochs=0", r"training\.epochs = 0: is at least 1"),
    ("training.learning_rate=nan", r"training\.learning_rate = nan: is not finite"),
    ("training.learning_rate=-1", r"training\.learning_rate = -1\.0: is positive"),
    ("training.method=deepr", r"training\.method = 'deepr': expected one of deep_r"),
    ("network.hidden=300", r"network\.hidden = 300: expected a list of integers"),
    ("network.hidden=[0]", r"network\.hidden = \[0\]: every width"),
    ("network.hidden=['a']", r"network\.hidden = 'a': expected integer"),
    ("network.bias=1", r"network\.bias = 1: expected true or false"),
    ("budget.density=1.5", r"budget\.density = 1\.5: lies in 0\.\.1"),
    ("budget.global=0", r"budget\.global = 0: is at least 1"),
    ("quantization.weight_bits=9", r"quantization\.weight_bits = 9: lies in 2\.\.8"),
    ("quantization.warmup_epochs=60", r"leaves no quantized epoch"),
    ("epochs=3", r"write section\.key=value"),
    ("training.epochs", r"write section\.key=value"),
])
def test_refuses_with_the_key(override, message):
    with pytest.raises(ValueError, match=message):
        load_config("digits", [override])


def test_overrides_take_effect():
    config = load_config("digits", ["training.epochs=3", "budget.global=700", "data.name=mnist", "network.bias=true"])
    assert (config.training.epochs, config.budget.total, config.budget.per_layer) == (3, 700, None)
    assert (config.data.name, config.network.bias) == ("mnist", True)


def test_two_budgets_of_one_rank_are_refused(tmp_path):
    path = tmp_path / "two.toml"
    path.write_text("[budget]\nglobal = 3\ndensity = 0.1\n")
    with pytest.raises(ValueError, match=r"budget\.global and budget\.density say the same"):
        load_config(path)


@pytest.mark.parametrize(("text", "message"), [
    ("", "empty"), ("[budget", "not TOML"), ("[data]\nname = 'mnist'\n", r"\[budget\]: missing"),
    ("budget = 3", "budget = 3: is a section"),
])
def test_refuses_unsound_files(tmp_path, text, message):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_config(path)


def test_a_missing_file_names_what_ships():
    with pytest.raises(FileNotFoundError, match="mnist_paper"):
        load_config("nowhere.toml")


def test_every_key_of_every_section_is_written():
    text = dump_config(cfg.Config(cfg.BudgetConfig(total=5)))
    assert "global = 5" in text
    assert "per_layer" not in text
