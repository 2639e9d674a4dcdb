"""Configurations: what is refused and how it is said, and that writing and reading give the same."""

import dataclasses
import typing

import pytest

from deepr_hw.train import config as cfg
from deepr_hw.train.config import dump_config, load_config, shipped_configs


@pytest.mark.parametrize("name", shipped_configs())
def test_shipped_configs_survive_a_round_trip(name, tmp_path):
    config = load_config(name)
    path = tmp_path / "config.toml"
    path.write_text(dump_config(config))
    assert load_config(path) == config


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epoch=3", r"training\.epoch: unknown key; did you mean epochs"),
        ("trainin.epochs=3", r"trainin: unknown key; did you mean training"),
        ("training.epochs=three", r"training\.epochs = 'three': expected integer"),
        ("training.epochs=2.5", r"training\.epochs = 2\.5: expected integer"),
        ("training.epochs=true", r"training\.epochs = True: expected integer"),
        ("training.epochs=0", r"training\.epochs = 0: lies in 1\.\.1,000,000"),
        ("training.batch_size='many'", r"training\.batch_size = 'many': a number or 'auto'"),
        ("training.batch_size=0", r"training\.batch_size = 0: lies in 1\.\."),
        ("training.l1='none'", r"training\.l1 = 'none': a number or 'auto'"),
        ("training.l1=-1", r"training\.l1 = -1\.0: lies in 0\.\."),
        ("training.idle=-1", r"training\.idle = -1\.0: lies in 0\.\."),
        ("network.init='small'", r"network\.init = 'small': expected one of fan_in, n_in"),
        ("training.learning_rate=nan", r"training\.learning_rate = nan: is not finite"),
        ("training.learning_rate=-1", r"training\.learning_rate = -1\.0: lies in 0\.\."),
        ("training.method=deepr", r"training\.method = 'deepr': expected one of deep_r"),
        ("network.hidden=300", r"network\.hidden = 300: expected a list of integers"),
        ("network.hidden=[0]", r"network\.hidden = \[0\]: lies in 1\.\."),
        ("network.hidden=['a']", r"network\.hidden = 'a': expected integer"),
        ("network.bias=1", r"network\.bias = 1: expected true or false"),
        ("budget.density=1.5", r"budget\.density = 1\.5: lies in 0\.\.1"),
        ("budget.global=0", r"budget\.global = 0: lies in 1\.\."),
        ("quantization.weight_bits=9", r"quantization\.weight_bits = 9: lies in 2\.\.8"),
        ("quantization.warmup_epochs=100", r"leaves no quantized epoch"),
        ("training.learning_rate=0", r"training\.learning_rate = 0\.0: lies in 0\.\.1e\+30, 0 excluded"),
        ("augmentation.elastic=1e39", r"augmentation\.elastic = 1e\+39: lies in 0\.\.1,000"),
        ("augmentation.scale=1e40", r"augmentation\.scale = 1e\+40: lies in 0\.\.1"),
        ("network.hidden=[1_000_000_000_000]", r"network\.hidden = \[1000000000000\]: lies in 1\.\.16,777,216"),
        (f"network.hidden={[2] * 65}", r"network\.hidden: has 65 entries, at most 64"),
        (f"training.l1={10**400}", r"training\.l1 = 10*\.\.\.: is not finite"),
        (f"training.epochs=0x{'f' * 9000}", r"training\.epochs = a number without end: lies in"),
        ("epochs=3", r"write section\.key=value"),
        ("training.epochs", r"write section\.key=value"),
    ],
)
def test_refuses_with_the_key(override, message):
    with pytest.raises(ValueError, match=message):
        load_config("digits", [override])


def test_overrides_take_effect():
    config = load_config("digits", ["training.epochs=3", "budget.global=700", "data.name=mnist", "network.bias=true"])
    assert (config.training.epochs, config.budget.total, config.budget.per_layer) == (3, 700, None)
    assert (config.data.name, config.network.bias) == ("mnist", True)


def test_every_number_has_bounds():
    """A key without is a ``KeyError`` when the configuration is made; a bound without a key is dead."""
    keys = {
        f"{section.name}.{'global' if f.name == 'total' else f.name}": str(f.type)
        for section in dataclasses.fields(cfg.Config)
        for f in dataclasses.fields(typing.get_type_hints(cfg.Config)[section.name])
    }
    assert {key for key, hint in keys.items() if "int" in hint or "float" in hint} == cfg.BOUNDS.keys()


@pytest.mark.parametrize("name", ["mnist", "path/ä \U0001f600.npz", 'a "quoted" \\ name', "tab\t and del\x7f"])
def test_data_names_survive_a_round_trip(tmp_path, name):
    config = cfg.Config(cfg.BudgetConfig(total=5), cfg.DataConfig(name))
    (tmp_path / "config.toml").write_text(dump_config(config), encoding="utf-8")
    assert load_config(tmp_path / "config.toml") == config


def test_data_is_found_from_every_folder(tmp_path, monkeypatch):
    """Relative to the present folder, else to the configuration's; absolute from then on."""
    (tmp_path / "recipes" / "data").mkdir(parents=True)
    (tmp_path / "recipes" / "my.toml").write_text("[data]\nname = 'data'\n[budget]\nglobal = 9\n")
    monkeypatch.chdir(tmp_path)
    assert load_config("recipes/my.toml").data.name == str(tmp_path / "recipes" / "data")
    (tmp_path / "data").mkdir()
    assert load_config("recipes/my.toml").data.name == str(tmp_path / "data")
    assert load_config("recipes/my.toml", ["data.name=digits"]).data.name == "digits"
    assert load_config("recipes/my.toml", ["data.name=none.npz"]).data.name == "none.npz"


def test_two_budgets_of_one_rank_are_refused(tmp_path):
    path = tmp_path / "two.toml"
    path.write_text("[budget]\nglobal = 3\ndensity = 0.1\n")
    with pytest.raises(ValueError, match=r"budget\.global and budget\.density say the same"):
        load_config(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("[budget", "not TOML"),
        ("[data]\nname = 'mnist'\n", r"\[budget\]: missing"),
        ("budget = 3", "budget = 3: is a section"),
        ("a = " + 3000 * "[", "not TOML"),
        ("a = 1" + 5000 * "0", "not TOML"),
        ("training = 3", "training = 3: is a section"),
    ],
)
def test_refuses_unsound_files(tmp_path, text, message):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_config(path)


def test_an_override_of_a_section_that_is_a_value_is_refused(tmp_path):
    (tmp_path / "bad.toml").write_text("training = 3\n[budget]\nglobal = 3\n")
    with pytest.raises(ValueError, match="training = 3: is a section, not a value"):
        load_config(tmp_path / "bad.toml", ["training.epochs=3"])


def test_a_missing_file_names_what_ships():
    with pytest.raises(FileNotFoundError, match="mnist_paper"):
        load_config("nowhere.toml")


def test_every_key_of_every_section_is_written():
    text = dump_config(cfg.Config(cfg.BudgetConfig(total=5)))
    assert "global = 5" in text
    assert "per_layer" not in text
