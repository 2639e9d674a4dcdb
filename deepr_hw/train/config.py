"""What a training run is: one TOML file, checked on the way in, written back next to its results.

Unknown keys, wrong types and impossible values are refused with the key's name; a misspelt key gets the near ones.
"""

import dataclasses
import difflib
import json
import sys
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepr_hw.data.scaling import SCALES
from deepr_hw.devices.parts import DEVICES
from deepr_hw.ir.tasks import BUILT_IN, TASKS

from .methods import METHODS

SHIPPED = Path(__file__).parent.parent / "configs"
OPTIMIZERS = ("sgd", "momentum", "adam")
SCHEDULES = ("step", "cosine")
CLASS_WEIGHTS = ("none", "balanced")
INITS = ("fan_in", "n_in")
AUTO = "auto"
"""Value of a key that a rule settles from the data and the budget."""
AUTO_BATCH = (8, 32)
"""Smallest and largest batch that the rule gives; fewer than 8 samples are no faster."""
_AMOUNTS = ("total", "per_layer", "density", "per_output", "bytes", "device")


_MOST_LAYERS = 64
_EPOCHS, _STEPS = 10**6, 10**9
BOUNDS: dict[str, tuple[float, float]] = {  # smallest and largest value of every number, of each entry of a list
    "data.validation": (0, 1 << 32),
    "network.hidden": (1, 1 << 24),
    "budget.global": (1, 1 << 40),
    "budget.per_layer": (0, 1 << 40),
    "budget.density": (0, 1),
    "budget.per_output": (0, 1 << 32),
    "budget.bytes": (1, 1 << 48),
    "budget.lanes": (1, 4096),
    "budget.tiles": (1, 1 << 24),
    "training.drop": (0, 1),
    "training.rewire_every": (1, _STEPS),
    "training.epochs": (1, _EPOCHS),
    "training.batch_size": (1, 1 << 16),
    "training.momentum": (0, 1),
    "training.beta2": (0, 1),
    "training.learning_rate": (0, 1e30),
    "training.decay": (0, 1),
    "training.warmup": (0, _EPOCHS),
    "training.l1": (0, 10**6),
    "training.idle": (0, 10**6),
    "training.l1_end": (0, 10**6),
    "training.temperature": (0, 10**6),
    "training.label_smoothing": (0, 1),
    "training.patience": (0, _EPOCHS),
    "training.seed": (0, (1 << 63) - 1),
    "quantization.weight_bits": (2, 8),
    "quantization.activation_bits": (2, 8),
    "quantization.warmup_epochs": (0, _EPOCHS),
    "quantization.calibrate_epochs": (0, _EPOCHS),
    "quantization.calibrate_every": (0, _STEPS),
    "quantization.samples": (1, 1 << 32),
    "augmentation.shift": (0, 1000),
    "augmentation.rotation": (0, 180),
    "augmentation.scale": (0, 1),
    "augmentation.elastic": (0, 1000),
    "augmentation.every": (1, _EPOCHS),
}
_EXCLUDED = {
    "training.learning_rate": 0,
    "training.decay": 0,
    "training.momentum": 1,
    "training.beta2": 1,
    "training.label_smoothing": 1,
    "training.drop": 1,
}
"""An end of the range that is not in it."""


def _require(ok: bool, key: str, value: object, rule: str) -> None:
    if not ok:
        raise ValueError(f"{key} = {_shown(value)}: {rule}")


def _shown(value: object) -> str:
    """``value`` as it is shown in a line."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no integers of more than 4,300 digits
        return "a number without end"
    return text if len(text) <= 100 else f"{text[:60]}..."


def _require_bounds(section: str, config: Any) -> None:
    """Raise ``ValueError`` naming the key when a number of ``config`` is outside of ``BOUNDS``."""
    for f in dataclasses.fields(config):
        value, key = getattr(config, f.name), f"{section}.{_file_key(f.name)}"
        entries = value if isinstance(value, tuple) else (value,)
        if len(entries) > _MOST_LAYERS:
            raise ValueError(f"{key}: has {len(entries)} entries, at most {_MOST_LAYERS} are offered")
        for entry in entries:
            if isinstance(entry, int | float) and not isinstance(entry, bool):
                (low, high), excluded = BOUNDS[key], _EXCLUDED.get(key)
                rule = f"lies in {low:,}..{high:,}" + ("" if excluded is None else f", {excluded} excluded")
                _require(
                    low <= entry <= high and entry != excluded,
                    key,
                    list(value) if isinstance(value, tuple) else value,
                    rule,
                )


@dataclass(frozen=True)
class DataConfig:
    """``[data]``: what ``deepr_hw.data.load`` takes, whether its answers are labels (``classification``) or numbers
    (``regression``), how many training samples are held out for validation, and how values become codes
    (``scaling.py``).

    A path in a file is relative to the present folder or, if nothing is there, to the file's.
    """

    name: str = "digits"
    task: str = "classification"
    validation: int = 0
    scale: str = "auto"

    def __post_init__(self) -> None:
        _require(self.name != "", "data.name", self.name, "names a data set or a path")
        _require(self.task in TASKS, "data.task", self.task, f"expected one of {', '.join(TASKS)}")
        _require(self.scale in SCALES, "data.scale", self.scale, f"expected one of {', '.join(SCALES)}")
        _require_bounds("data", self)


@dataclass(frozen=True)
class NetworkConfig:
    """``[network]``: widths of the hidden layers; the ends follow from the data.

    init : the first connections. ``fan_in``: on complete paths, theta is ``|N(0, 1)|`` divided by the root of a layer's
           connections per output, at least 1, so that the signal keeps its size; ``n_in``: anywhere in their groups,
           divided by the root of the layer's inputs, as the paper's authors do
    """

    hidden: tuple[int, ...] = (300, 100)
    bias: bool = True
    init: str = "fan_in"

    def __post_init__(self) -> None:
        _require(self.init in INITS, "network.init", self.init, f"expected one of {', '.join(INITS)}")
        _require_bounds("network", self)


@dataclass(frozen=True)
class BudgetConfig:
    """``[budget]``: how many connections, and where they may be.

    total     : connections in the whole network (``global`` in the file)
    per_layer : connections in each layer
    density   : active fraction of all positions (one number) or of each layer's (a list)
    per_output: connections into every output (one number) or into every output of each layer (a list)
    bytes     : memory of a chip; as many connections as fit
    device    : the same by name, one of ``DEVICES``; an ECP5 with ``lanes`` 1, 2, 4, 8 or 16: what that engine holds
    lanes     : every lane of an engine holds as many, layer by layer (to within one slot)
    tiles     : crossbars of [inputs, outputs], each with its share
    """

    total: int | None = None
    per_layer: tuple[int, ...] | None = None
    density: float | tuple[float, ...] | None = None
    per_output: int | tuple[int, ...] | None = None
    bytes: int | None = None
    device: str | None = None
    lanes: int | None = None
    tiles: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if all(getattr(self, name) is None for name in _AMOUNTS):
            raise ValueError(f"budget: says nowhere how many; give one of {', '.join(map(_file_key, _AMOUNTS))}")
        for first, second in (
            ("bytes", "device"),
            ("total", "density"),
            ("per_layer", "density"),
            ("per_layer", "per_output"),
            ("density", "per_output"),
        ):
            if getattr(self, first) is not None and getattr(self, second) is not None:
                raise ValueError(f"budget.{_file_key(first)} and budget.{second} say the same in two ways: give one")
        _require_bounds("budget", self)
        _require(self.tiles is None or len(self.tiles) == 2, "budget.tiles", self.tiles, "is [inputs, outputs]")
        _require(
            self.device is None or self.device in DEVICES,
            "budget.device",
            self.device,
            f"expected one of {', '.join(DEVICES)}",
        )


@dataclass(frozen=True)
class TrainingConfig:
    """``[training]``: the method and its schedule. The defaults are ours and train data of any kind; the settings of
    the paper's authors are in ``configs/mnist_paper.toml``.

    method          : how connections come and go (``methods/``); all but deep_r are there to compare with
    drop            : share of the connections that set and rigl replace at first
    rewire_every    : steps between two rewirings of rigl
    batch_size      : samples per step; ``auto`` is 32, or less where the run would have few steps, down to 8
    optimizer       : what turns the gradient into a direction: ``sgd``, ``momentum`` or ``adam``
    momentum, beta2 : decay per step of the first moment (momentum, adam) and of the second (adam)
    learning_rate   : eta at its highest
    schedule        : ``step``: epoch e uses ``learning_rate * decay**e``; ``cosine``: half a wave down to 0, per step
    warmup          : epochs over which eta first rises from 0
    l1              : alpha, the weight of the L1 prior; ``auto`` follows from first weights and schedule
                      (``schedule.make_prior``) and is 0 for methods in which no connection dies
    idle            : how often, in units of the mean first weight, a connection whose gradient is exactly 0 all the run
                      is shrunk to 0 (deep_r only; not in the paper): what leads nowhere frees its slot
    l1_end          : alpha of the last epoch, reached in equal steps from ``l1``; without it alpha stays
    temperature     : T; noise of standard deviation sqrt(2 eta T) per step
    label_smoothing : share of each target that is spread over all classes
    class_weight    : ``balanced``: every class counts the same in the loss, however many samples it has; ``none``:
                      every sample does
    patience        : stop after so many epochs without a better validation accuracy; 0 never stops
    """

    method: str = "deep_r"
    drop: float = 0.3
    rewire_every: int = 100
    epochs: int = 30
    batch_size: int | str = AUTO
    optimizer: str = "adam"
    momentum: float = 0.9
    beta2: float = 0.999
    learning_rate: float = 0.01
    schedule: str = "cosine"
    decay: float = 0.8
    warmup: float = 0.0
    l1: float | str = AUTO
    idle: float = 20.0
    l1_end: float | None = None
    temperature: float = 2.5e-11
    label_smoothing: float = 0.0
    class_weight: str = "none"
    patience: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (
            ("method", METHODS),
            ("optimizer", OPTIMIZERS),
            ("schedule", SCHEDULES),
            ("class_weight", CLASS_WEIGHTS),
        ):
            value = getattr(self, name)
            _require(value in known, f"training.{name}", value, f"expected one of {', '.join(known)}")
        for name in ("l1", "batch_size"):
            value = getattr(self, name)
            _require(not isinstance(value, str) or value == AUTO, f"training.{name}", value, f"a number or {AUTO!r}")
        _require_bounds("training", self)
        if refused := METHODS[self.method].refusal(self):
            key, value, why = refused
            _require(False, f"training.{key}", value, why)

    @property
    def batch(self) -> int:
        """``batch_size`` once the data has settled it (``schedule.settled``)."""
        assert isinstance(self.batch_size, int)
        return self.batch_size

    @property
    def dense(self) -> bool:
        """Whether the method holds a value for every position and meets the budget only at the end."""
        return METHODS[self.method].dense


@dataclass(frozen=True)
class QuantizationConfig:
    """``[quantization]``: widths, and when the scales are found.

    warmup_epochs    : epochs in float before anything is quantized; 0 quantizes from the first step
    calibrate_epochs : the scales are found anew before each quantized epoch up to this one, then stay frozen
    calibrate_every  : inside the epochs before this one they are found anew after so many steps as well; 0: not
    samples          : training samples that the activation scales are found on
    """

    weight_bits: int = 8
    activation_bits: int = 8
    warmup_epochs: int = 0
    calibrate_epochs: int = 3
    calibrate_every: int = 100
    samples: int = 256

    def __post_init__(self) -> None:
        _require_bounds("quantization", self)


@dataclass(frozen=True)
class AugmentationConfig:
    """``[augmentation]`` of images; all 0 switches it off.

    shift    : pixels, at most
    rotation : degrees, at most
    scale    : relative change of size and shear, at most
    elastic  : standard deviation of a smooth displacement field, in pixels
    every    : epochs that share one set of deformed images; small networks train faster than images deform
    """

    shift: float = 0.0
    rotation: float = 0.0
    scale: float = 0.0
    elastic: float = 0.0
    every: int = 1

    def __post_init__(self) -> None:
        _require_bounds("augmentation", self)

    @property
    def wanted(self) -> bool:
        """Whether anything is to be deformed."""
        return any((self.shift, self.rotation, self.scale, self.elastic))


@dataclass(frozen=True)
class Config:
    """A whole run. ``load_config`` makes one from a file, ``dump_config`` writes it back."""

    budget: BudgetConfig
    data: DataConfig = field(default_factory=DataConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    quantization: QuantizationConfig = field(default_factory=QuantizationConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)

    def __post_init__(self) -> None:
        t, q = self.training, self.quantization
        _require(
            q.warmup_epochs < t.epochs,
            "quantization.warmup_epochs",
            q.warmup_epochs,
            f"leaves no quantized epoch of training.epochs = {t.epochs}",
        )
        _require(
            t.patience == 0 or self.data.validation > 0,
            "training.patience",
            t.patience,
            "early stopping needs data.validation samples",
        )
        _require(
            t.patience == 0 or not t.dense,
            "training.patience",
            t.patience,
            f"stops before the last epoch, at which {t.method} meets its budget; 0 goes on to it",
        )
        for key, neutral in (("label_smoothing", 0), ("class_weight", "none")):
            _require(
                self.data.task == "classification" or getattr(t, key) == neutral,
                f"training.{key}",
                getattr(t, key),
                "is for a classification; data.task is a regression",
            )


def shipped_configs() -> list[str]:
    """Names of the configurations that come with the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def load_config(source: str | Path, overrides: typing.Sequence[str] = ()) -> Config:
    """The configuration in file ``source`` (or the shipped one of that name) with ``overrides`` applied.

    overrides : ``section.key=value`` each, the value in TOML; a bare word is a string

    Raises ``ValueError`` naming the key for an unknown key, a wrong type or an impossible value, ``OSError`` when the
    file can't be read.
    """
    path = Path(source)
    if not path.exists() and str(source) in shipped_configs():
        path = SHIPPED / f"{source}.toml"
    if not path.exists():
        shipped = ", ".join(shipped_configs())
        raise FileNotFoundError(2, f"no such file, and not one of the shipped {shipped}", str(path))
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not TOML ({error})") from None
    if not table:
        raise ValueError(f"{path}: the file is empty")
    for override in overrides:
        _apply(table, override)
    return _with_absolute_data(config_from(table), path.parent)


def _with_absolute_data(config: Config, folder: Path) -> Config:
    """``config`` with the absolute path of its data, so that it means the same from every folder: relative to the
    present one or, if nothing is there, to ``folder``, which the configuration is in."""
    name = config.data.name
    if name in BUILT_IN:
        return config
    found = [path for path in (Path(name).expanduser(), folder / name) if path.exists()]
    if not found:
        return config
    return dataclasses.replace(config, data=dataclasses.replace(config.data, name=str(found[0].resolve())))


def config_from(table: dict[str, Any]) -> Config:
    """``Config`` from nested dictionaries as TOML gives them. Raises ``ValueError`` naming the key."""
    return _build(Config, table, "")


def _apply(table: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    *sections, key = name.strip().split(".")
    if not equals or len(sections) != 1:
        raise ValueError(f"override {override!r}: write section.key=value, e.g. training.epochs=3")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        value = text.strip()
    section = table.setdefault(sections[0], {})
    _require(isinstance(section, dict), sections[0], section, "is a section, not a value")
    if sections[0] == "budget" and key in map(_file_key, _AMOUNTS):  # the new amount replaces what the file says
        for other in map(_file_key, _AMOUNTS):
            section.pop(other, None)
    section[key] = value


def _file_key(name: str) -> str:
    """Key in the file of field ``name`` (``global`` is a word that Python keeps for itself)."""
    return "global" if name == "total" else name


def _build(cls: type, table: Any, where: str) -> Any:
    _require(isinstance(table, dict), where or "configuration", table, "is a section, not a value")
    fields = {_file_key(f.name): f for f in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    values = {}
    for key, value in table.items():
        name = f"{where}.{key}" if where else key
        if key not in fields:
            near = difflib.get_close_matches(key, fields) or sorted(fields)
            raise ValueError(f"{name}: unknown key; did you mean {' or '.join(near)}?")
        values[fields[key].name] = _convert(value, hints[fields[key].name], name)
    missing = [
        key
        for key, f in fields.items()
        if f.name not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ValueError(f"[{where + '.' if where else ''}{missing[0]}]: missing")
    return cls(**values)


def _convert(value: Any, hint: Any, name: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type, hint), value, name)
    for option in typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,):
        if option in (int, bool, str) and type(value) is option:
            return value
        if option is float and type(value) in (int, float):
            _require(abs(value) <= sys.float_info.max, name, value, "is not finite")
            return float(value)
        if typing.get_origin(option) is tuple and isinstance(value, list | tuple):
            return tuple(_convert(entry, typing.get_args(option)[0], name) for entry in value)
    raise ValueError(f"{name} = {_shown(value)}: expected {_describe(hint)}")


def _describe(hint: Any) -> str:
    if isinstance(hint, types.UnionType):
        return " or ".join(_describe(option) for option in typing.get_args(hint) if option is not type(None))
    if typing.get_origin(hint) is tuple:
        return f"a list of {_describe(typing.get_args(hint)[0])}s"
    return {int: "integer", float: "number", bool: "true or false", str: "string"}[hint]


def dump_config(config: Config) -> str:
    """``config`` as TOML text that ``load_config`` reads back to an equal one."""
    lines = []
    for section in dataclasses.fields(config):
        lines.append(f"[{section.name}]")
        for f in dataclasses.fields(getattr(config, section.name)):
            value = getattr(getattr(config, section.name), f.name)
            if value is not None:  # JSON's numbers, booleans and lists are TOML's too, and but for DEL its strings
                text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
                lines.append(f"{_file_key(f.name)} = {text}")
        lines.append("")
    return "\n".join(lines)
