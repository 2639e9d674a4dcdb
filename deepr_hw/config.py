"""What a training run is: one TOML file, checked on the way in, written back next to its results.

Unknown keys, wrong types and impossible values are refused with the key's name; a misspelt key gets the near ones.
"""

import dataclasses
import difflib
import json
import math
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .scaling import SCALES

SHIPPED = Path(__file__).parent / "configs"
DENSE_METHODS = ("magnitude", "gradual", "l1", "soft_deep_r")
METHODS = ("deep_r", "fixed", "set", "rigl", *DENSE_METHODS)
OPTIMIZERS = ("sgd", "momentum", "adam")
SCHEDULES = ("step", "cosine")
INITS = ("fan_in", "n_in")
AUTO = "auto"
"""Value of a key that a rule settles from the data and the budget."""
DEVICES = {  # memory that can hold connections: bytes, and where the figure comes from
    "spinnaker2-core": (65_536, "64 KB of a core's memory, code not counted"),
    "ice40-up5k": (15_360, "30 block RAMs of 4 kbit; the single-port RAM not counted"),
    "ecp5-25k": (114_688, "56 block RAMs of 18 kbit, 16 of them usable in words of 32 bits"),
    "ecp5-45k": (221_184, "108 block RAMs of 18 kbit, 16 of them usable in words of 32 bits"),
    "ecp5-85k": (425_984, "208 block RAMs of 18 kbit, 16 of them usable in words of 32 bits"),
}
_AMOUNTS = ("total", "per_layer", "density", "per_output", "bytes", "device")


def _require(ok: bool, key: str, value: object, rule: str) -> None:
    if not ok:
        raise ValueError(f"{key} = {value!r}: {rule}")


@dataclass(frozen=True)
class DataConfig:
    """``[data]``: what ``deepr_hw.data.load`` takes, how many training samples are held out for validation, and how
    values become codes (``scaling.py``)."""

    name: str = "digits"
    validation: int = 0
    scale: str = "auto"

    def __post_init__(self) -> None:
        _require(self.name != "", "data.name", self.name, "names a data set or a path")
        _require(self.validation >= 0, "data.validation", self.validation, "counts samples, so it can't be negative")
        _require(self.scale in SCALES, "data.scale", self.scale, f"expected one of {', '.join(SCALES)}")


@dataclass(frozen=True)
class NetworkConfig:
    """``[network]``: widths of the hidden layers; the ends follow from the data.

    init : theta at first, ``|N(0, 1)|`` divided by the root of ``fan_in``: a layer's connections per output, at
           least 1, so that the signal keeps its size; or of ``n_in``: its inputs, as the paper's authors do
    """

    hidden: tuple[int, ...] = (300, 100)
    bias: bool = True
    init: str = "fan_in"

    def __post_init__(self) -> None:
        _require(self.init in INITS, "network.init", self.init, f"expected one of {', '.join(INITS)}")
        _require(all(n >= 1 for n in self.hidden), "network.hidden", list(self.hidden), "every width is at least 1")


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
        for first, second in (("bytes", "device"), ("total", "density"), ("per_layer", "density"),
                              ("per_layer", "per_output"), ("density", "per_output")):
            if getattr(self, first) is not None and getattr(self, second) is not None:
                raise ValueError(f"budget.{_file_key(first)} and budget.{second} say the same in two ways: give one")
        for name, low in (("total", 1), ("per_layer", 0), ("density", 0), ("per_output", 0), ("bytes", 1), ("lanes", 1),
                          ("tiles", 1)):
            value = getattr(self, name)
            for entry in value if isinstance(value, tuple) else () if value is None else (value,):
                _require(entry >= low, f"budget.{_file_key(name)}", value, f"is at least {low}")
                _require(name != "density" or entry <= 1, "budget.density", value, "lies in 0..1")
        _require(self.tiles is None or len(self.tiles) == 2, "budget.tiles", self.tiles, "is [inputs, outputs]")
        _require(self.device is None or self.device in DEVICES, "budget.device", self.device,
                 f"expected one of {', '.join(DEVICES)}")


@dataclass(frozen=True)
class TrainingConfig:
    """``[training]``: the method and its schedule. The defaults are ours and train data of any kind; the settings of
    the paper's authors are in ``configs/mnist_paper.toml``.

    method          : how connections come and go (``methods.py``); all but deep_r are there to compare with
    drop            : share of the connections that set and rigl replace at first
    rewire_every    : steps between two rewirings of rigl
    optimizer       : what turns the gradient into a direction: ``sgd``, ``momentum`` or ``adam``
    momentum, beta2 : decay per step of the first moment (momentum, adam) and of the second (adam)
    learning_rate   : eta at its highest
    schedule        : ``step``: epoch e uses ``learning_rate * decay**e``; ``cosine``: half a wave down to 0, per step
    warmup          : epochs over which eta first rises from 0
    l1              : alpha, the weight of the L1 prior; ``auto`` follows from first weights and schedule
                      (``steps.make_prior``) and is 0 for methods in which no connection dies
    idle            : how often, in units of the mean first weight, a connection whose gradient is exactly 0 all the run
                      is shrunk to 0 (deep_r only; not in the paper): what leads nowhere frees its slot
    l1_end          : alpha of the last epoch, reached in equal steps from ``l1``; without it alpha stays
    temperature     : T; noise of standard deviation sqrt(2 eta T) per step
    label_smoothing : share of each target that is spread over all classes
    patience        : stop after so many epochs without a better validation accuracy; 0 never stops
    """

    method: str = "deep_r"
    drop: float = 0.3
    rewire_every: int = 100
    epochs: int = 10
    batch_size: int = 32
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
    patience: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (("method", METHODS), ("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            value = getattr(self, name)
            _require(value in known, f"training.{name}", value, f"expected one of {', '.join(known)}")
        for name in ("epochs", "batch_size", "rewire_every"):
            _require(getattr(self, name) >= 1, f"training.{name}", getattr(self, name), "is at least 1")
        for name in ("learning_rate", "decay"):
            _require(getattr(self, name) > 0, f"training.{name}", getattr(self, name), "is positive")
        _require(not isinstance(self.l1, str) or self.l1 == AUTO, "training.l1", self.l1,
                 f"expected a number or {AUTO}")
        for name in ("warmup", "temperature", "patience", "seed", "idle", *(() if self.l1 == AUTO else ("l1",))):
            _require(getattr(self, name) >= 0, f"training.{name}", getattr(self, name), "can't be negative")
        _require(self.l1_end is None or self.l1_end >= 0, "training.l1_end", self.l1_end, "can't be negative")
        for name in ("momentum", "beta2", "label_smoothing", "drop"):
            _require(0 <= getattr(self, name) < 1, f"training.{name}", getattr(self, name), "lies in 0..1, 1 excluded")
        _require(self.method != "soft_deep_r" or self.optimizer == "sgd", "training.optimizer", self.optimizer,
                 "soft_deep_r is defined for sgd only")
        _require(self.method != "soft_deep_r" or self.l1 != AUTO, "training.l1", self.l1,
                 "soft_deep_r needs a number, theta_min = -T (1 - p) / (l1 p)")

    @property
    def dense(self) -> bool:
        """Whether the method holds a value for every position and meets the budget only at the end."""
        return self.method in DENSE_METHODS


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
        for name in ("weight_bits", "activation_bits"):
            _require(2 <= getattr(self, name) <= 8, f"quantization.{name}", getattr(self, name), "lies in 2..8")
        for name in ("warmup_epochs", "calibrate_epochs", "calibrate_every"):
            _require(getattr(self, name) >= 0, f"quantization.{name}", getattr(self, name), "can't be negative")
        _require(self.samples >= 1, "quantization.samples", self.samples, "is at least 1")


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
        _require(self.every >= 1, "augmentation.every", self.every, "is at least 1")
        for f in dataclasses.fields(self):
            _require(getattr(self, f.name) >= 0, f"augmentation.{f.name}", getattr(self, f.name), "can't be negative")

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
        _require(q.warmup_epochs < t.epochs, "quantization.warmup_epochs", q.warmup_epochs,
                 f"leaves no quantized epoch of training.epochs = {t.epochs}")
        _require(t.patience == 0 or self.data.validation > 0, "training.patience", t.patience,
                 "early stopping needs data.validation samples")


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
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not TOML ({error})") from None
    if not table:
        raise ValueError(f"{path}: the file is empty")
    for override in overrides:
        _apply(table, override)
    return config_from(table)


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
    except tomllib.TOMLDecodeError:
        value = text.strip()
    section = table.setdefault(sections[0], {})
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
    missing = [key for key, f in fields.items() if f.name not in values and f.default is dataclasses.MISSING
               and f.default_factory is dataclasses.MISSING]
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
            _require(math.isfinite(value), name, value, "is not finite")
            return float(value)
        if typing.get_origin(option) is tuple and isinstance(value, list | tuple):
            return tuple(_convert(entry, typing.get_args(option)[0], name) for entry in value)
    raise ValueError(f"{name} = {value!r}: expected {_describe(hint)}")


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
            if value is not None:  # JSON's numbers, strings, booleans and lists are TOML's too
                lines.append(f"{_file_key(f.name)} = {json.dumps(value)}")
        lines.append("")
    return "\n".join(lines)
