"""Data sets: MNIST, scikit-learn's digits and diabetes, folders of IDX files, ``.npz`` archives.

Values stay as they come; everything is checked here once, so that training and verification may rely on it.
``encoded`` turns them into the codes that a network takes.
"""

import gzip
import hashlib
import lzma
import math
import os
import urllib.error
import urllib.request
import zipfile
import zlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from deepr_hw import memory
from deepr_hw.files import make_folder, write_bytes
from deepr_hw.ir.affine import IDENTITY, REACH, Affine, encode
from deepr_hw.ir.fixed import Format
from deepr_hw.ir.tasks import BUILT_IN, EVEN, balanced_weights

from .scaling import fit_input, fit_output

MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist"
MNIST_SHA256 = {  # of the uncompressed files
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
_MOST_DIMENSIONS = 8
_ROLES = {"x_train": "train-images", "y_train": "train-labels", "x_test": "t10k-images", "y_test": "t10k-labels"}


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples as they came.

    x_train, x_test : (n, n_in) values, any real type
    y_train, y_test : (n,) int64, 0..n_classes-1; of a regression (n, n_out) float64 in the user's unit
    sample_shape    : shape of one sample before it was flattened, e.g. (28, 28)
    class_labels    : a name per class; of a regression a name per output, or empty
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    sample_shape: tuple[int, ...]
    class_labels: tuple[str, ...]

    @property
    def n_in(self) -> int:
        """Inputs of a sample."""
        return self.x_train.shape[1]

    @property
    def task(self) -> str:
        """``classification`` or ``regression``."""
        return "classification" if self.y_train.ndim == 1 else "regression"

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_labels)

    @property
    def n_out(self) -> int:
        """Outputs of a network for it: a logit per class, or one per target."""
        return self.n_classes if self.y_train.ndim == 1 else self.y_train.shape[1]


@dataclass(frozen=True, eq=False)
class CodedDataset(Dataset):
    """Samples as codes: ``x_train`` and ``x_test`` are (n, n_in) codes in ``x_format`` (its dtype), made by
    ``input_map`` from the values; ``output_map`` brings what a regression learns to the unit of ``y_train``.

    weights : (n,) float32 factor of each training sample's loss, of mean 1, or ``EVEN``
    """

    x_format: Format
    input_map: Affine
    output_map: Affine = IDENTITY
    weights: np.ndarray = field(default_factory=lambda: EVEN)

    @cached_property
    def goal(self) -> np.ndarray:
        """What the loss compares the outputs of training samples with: (n,) int64 labels, or (n, n_out) float32
        targets in natural units."""
        return self.y_train if self.task == "classification" else self.output_map.inverse(self.y_train)


def encoded(
    dataset: Dataset, scale: str = "auto", n_fit: int | None = None, class_weight: str = "none"
) -> CodedDataset:
    """``dataset`` as codes; their unit and that of a regression's targets are found on the first ``n_fit`` training
    samples (None: all), by ``scaling``, and so are the weights of ``class_weight = "balanced"``."""
    input_map, x_format = fit_input(dataset.x_train[:n_fit], dataset.sample_shape, scale)
    output_map = fit_output(dataset.y_train[:n_fit]) if dataset.task == "regression" else IDENTITY
    x_train, x_test = (encode(x, input_map, x_format) for x in (dataset.x_train, dataset.x_test))
    weights = EVEN
    if class_weight == "balanced":
        weights = balanced_weights(dataset.y_train[:n_fit], dataset.n_classes)[dataset.y_train].astype(np.float32)
    return CodedDataset(
        dataset.name,
        x_train,
        dataset.y_train,
        x_test,
        dataset.y_test,
        dataset.sample_shape,
        dataset.class_labels,
        x_format,
        input_map,
        output_map,
        weights,
    )


def load(source: str, task: str = "classification") -> Dataset:
    """The data set ``source``: ``mnist``, ``digits``, ``diabetes``, a folder of IDX files or an ``.npz`` file.

    task : whether its answers are labels or, for ``regression``, numbers to be predicted

    Raises ``ValueError`` naming array, index and value for unsound data, ``OSError`` for what can't be read.
    """
    if source in BUILT_IN:
        if task != BUILT_IN[source]:
            raise ValueError(f"data.task = {task!r}: {source} is a {BUILT_IN[source]}; set data.task to that")
        return _load_built_in(source)
    path = Path(source).expanduser()
    if path.is_dir():
        return shuffled(load_idx_folder(path, path.name, task))
    if path.suffix == ".npz" and path.is_file():
        return shuffled(load_npz(path, task))
    if path.exists():
        raise ValueError(f"{path}: expected a folder of IDX files or an .npz file")
    raise FileNotFoundError(
        2, f"no such data: expected {', '.join(BUILT_IN)}, a folder of IDX files or an .npz file", source
    )


def _load_built_in(name: str) -> Dataset:
    if name == "mnist":
        return load_idx_folder(find_mnist(), name)
    return load_digits() if name == "digits" else load_diabetes()


def shuffled(dataset: Dataset, seed: int = 0) -> Dataset:
    """``dataset`` with its training samples in another order, always the same one: training calibrates on the first
    samples and validates on the last, and users' files are often sorted by class."""
    order = np.random.default_rng(seed).permutation(len(dataset.y_train))
    return replace(dataset, x_train=dataset.x_train[order], y_train=dataset.y_train[order])


def mnist_at_hand() -> bool:
    """Whether MNIST can be loaded without a download."""
    return any(_find_idx(folder, "train-images") for folder in _mnist_folders())


def load_digits() -> Dataset:
    """scikit-learn's 8 x 8 digits of grey levels 0..16, always at hand: 1,437 training and 360 test samples, always the
    same."""
    from sklearn.datasets import load_digits as sklearn_digits

    x, y = sklearn_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    x, y, n_test = x.astype(np.uint8)[order], y[order], 360
    return make_dataset("digits", x[n_test:].reshape(-1, 8, 8), y[n_test:], x[:n_test].reshape(-1, 8, 8), y[:n_test])


def load_diabetes() -> Dataset:
    """scikit-learn's diabetes, always at hand: progression of the disease from 10 measurements, 354 training and 88
    test samples, always the same."""
    from sklearn.datasets import load_diabetes as sklearn_diabetes

    x, y = sklearn_diabetes(return_X_y=True, scaled=False)
    order, n_test = np.random.default_rng(0).permutation(len(y)), 88
    x, y = x[order], y[order]
    return make_dataset(
        "diabetes", x[n_test:], y[n_test:], x[:n_test], y[:n_test], np.array(["progression"]), "regression"
    )


def find_mnist() -> Path:
    """Folder with the four MNIST files: below ``DEEPR_DATA`` or in the user's cache, which is filled by a download.

    Raises ``OSError`` when there is no network, ``ValueError`` when a download does not have the known checksum.
    """
    for folder in _mnist_folders():
        if all(_find_idx(folder, role) for role in _ROLES.values()):
            return folder
    folder = make_folder(_mnist_folders()[-1])
    for name, expected in MNIST_SHA256.items():
        url = f"{MNIST_URL}/{name}.gz"
        try:
            with urllib.request.urlopen(url, timeout=60) as response:
                content = gzip.decompress(response.read())
        except (urllib.error.URLError, TimeoutError, EOFError, gzip.BadGzipFile) as error:
            raise OSError(
                f"MNIST is not at hand and can't be fetched from {url} ({error}): put its four IDX files "
                "into a folder mnist/ and name the folder above it in DEEPR_DATA"
            ) from None
        if hashlib.sha256(content).hexdigest() != expected:
            raise ValueError(f"{url}: SHA-256 differs from the known one, nothing was kept")
        write_bytes(folder / name, content)
    return folder


def _mnist_folders() -> list[Path]:
    named = os.environ.get("DEEPR_DATA")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "deepr_hw"
    return [Path(root) / "mnist" for root in ([named] if named else []) + [str(cache)]]


def _find_idx(folder: Path, role: str) -> Path | None:
    prefixes = (role, role.replace("t10k", "test"))
    return min((file for prefix in prefixes for file in folder.glob(f"{prefix}*")), default=None)


def load_idx_folder(folder: Path, name: str, task: str = "classification") -> Dataset:
    """A folder with ``train-images*``, ``train-labels*``, ``t10k-images*`` (or ``test-``) and ``t10k-labels*``, IDX
    files of unsigned bytes, plain or gzipped."""
    arrays = {}
    for key, role in _ROLES.items():
        path = _find_idx(folder, role)
        if path is None:
            raise FileNotFoundError(2, f"no IDX file {role}* in this folder", str(folder))
        arrays[key] = read_idx(path)
    try:
        return make_dataset(name, **arrays, task=task)
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from None


def read_idx(path: Path) -> np.ndarray:
    """The uint8 array in an IDX file: two zero bytes, type 8, number of dimensions, big-endian sizes, then the data.

    Read no further than the sizes in its head say. Raises ``ValueError`` naming the file, also where the array would
    not fit the memory.
    Source: the format's description on the MNIST page of LeCun, Cortes and Burges.
    """
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty")
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            head = file.read(4)
            sizes = file.read(4 * head[3]) if len(head) == 4 else b""
            if (
                len(head) < 4
                or head[:3] != b"\0\0\x08"
                or len(sizes) != 4 * head[3]
                or not 1 <= head[3] <= _MOST_DIMENSIONS
            ):
                raise ValueError(f"{path}: not an IDX file of unsigned bytes (starts with {head.hex(' ')})")
            shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
            n = math.prod(shape)
            memory.require(2 * n, f"{path}: shape {shape}")
            raw = file.read(n + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: not a whole gzip file ({error})") from None
    if len(raw) != n:
        more = "more" if len(raw) > n else len(raw)
        raise ValueError(f"{path}: shape {shape} needs {n} bytes, the file has {more}")
    return np.frombuffer(raw, np.uint8).reshape(shape)


def load_npz(path: Path, task: str = "classification") -> Dataset:
    """An ``.npz`` archive with ``x_train y_train x_test y_test`` and optionally ``class_labels``: names of the classes
    or, of a regression, of the outputs.

    Raises ``ValueError`` naming file and array, also where an array would not fit the memory.
    """
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty")
    try:
        _check_archive(path)
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in _ROLES}
            labels = archive["class_labels"] if "class_labels" in archive else None  # noqa: SIM401 - not a mapping
        return make_dataset(path.stem, **arrays, class_labels=labels, task=task)
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        KeyError,
        NotImplementedError,
        RuntimeError,
        ValueError,
    ) as error:  # the archive is damaged, encrypted, packed in a way that Python doesn't know
        raise ValueError(f"{path}: {error}") from None


def _check_archive(path: Path) -> None:
    """Look at the heads of the arrays. Raises ``ValueError`` naming the array that is missing, holds objects or does
    not fit the memory."""
    with zipfile.ZipFile(path) as archive:
        names, n_bytes = set(archive.namelist()), 0
        for key in (*_ROLES, "class_labels"):
            if f"{key}.npy" not in names:
                if key in _ROLES:
                    raise ValueError(f"array {key} is missing: expected x_train, y_train, x_test, y_test")
                continue
            with archive.open(f"{key}.npy") as file:
                major, _ = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(file)
            if dtype.hasobject:
                raise ValueError(
                    f"array {key} holds Python objects: expected numbers{', or text' if key == 'class_labels' else ''}"
                )
            n_bytes += math.prod(shape) * dtype.itemsize
            memory.require(n_bytes, f"array {key} of shape {shape}")


def make_dataset(
    name: str,
    x_train: np.ndarray,
    y_train: np.ndarray,
    x_test: np.ndarray,
    y_test: np.ndarray,
    class_labels: np.ndarray | None = None,
    task: str = "classification",
) -> Dataset:
    """Checked ``Dataset``. Raises ``ValueError`` naming the array, the place and the value."""
    for key, x, y in (("train", x_train, y_train), ("test", x_test, y_test)):
        _check_samples(f"x_{key}", x)
        check_targets(f"y_{key}", y, len(x)) if task == "regression" else _check_labels(f"y_{key}", y, len(x))
    if x_train.shape[1:] != x_test.shape[1:]:
        raise ValueError(f"x_train has samples of shape {x_train.shape[1:]}, x_test of {x_test.shape[1:]}")
    values = [x.reshape(len(x), -1) for x in (x_train, x_test)]
    if task == "regression":
        targets = [y.reshape(len(y), -1).astype(np.float64) for y in (y_train, y_test)]
        return _make_regression(name, values, targets, x_train.shape[1:], class_labels)
    if class_labels is not None and (class_labels.ndim != 1 or class_labels.size == 0):
        raise ValueError(f"class_labels: has shape {class_labels.shape}, expected a name for each class")
    n_classes = int(y_train.max()) + 1 if class_labels is None else len(class_labels)
    for key, y in (("y_train", y_train), ("y_test", y_test)):
        bad = np.flatnonzero(y >= n_classes)
        if bad.size:
            raise ValueError(
                f"{key}[{bad[0]}] = {int(y[bad[0]])}: label out of range, the classes are 0..{n_classes - 1}"
            )
    names = range(n_classes) if class_labels is None else class_labels
    return Dataset(
        name,
        values[0],
        y_train.astype(np.int64),
        values[1],
        y_test.astype(np.int64),
        x_train.shape[1:],
        tuple(map(str, names)),
    )


def _make_regression(
    name: str,
    values: list[np.ndarray],
    targets: list[np.ndarray],
    sample_shape: tuple[int, ...],
    names: np.ndarray | None,
) -> Dataset:
    n_out = [y.shape[1] for y in targets]
    if n_out[0] != n_out[1]:
        raise ValueError(f"y_train has {n_out[0]} targets per sample, y_test {n_out[1]}")
    if names is not None and np.shape(names) != (n_out[0],):
        raise ValueError(f"class_labels: has shape {np.shape(names)}, expected a name for each of {n_out[0]} targets")
    return Dataset(
        name,
        values[0],
        targets[0],
        values[1],
        targets[1],
        sample_shape,
        () if names is None else tuple(map(str, names)),
    )


def _check_samples(key: str, x: np.ndarray) -> None:
    if x.ndim < 2 or x.size == 0 or x.dtype.kind not in "uif":
        raise ValueError(f"{key}: expected numbers of shape (n, ...) with n > 0, got shape {x.shape} of {x.dtype}")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(x))[0])
        raise ValueError(f"{key}{list(place)} = {x[place]}: samples must be finite")


def _check_labels(key: str, y: np.ndarray, n: int) -> None:
    if y.shape != (n,) or y.dtype.kind not in "uif":
        raise ValueError(f"{key}: has shape {y.shape} of {y.dtype} for {n} samples, expected a number for each")
    bad = np.flatnonzero(~((y >= 0) & (y == np.floor(y)) & (y < 1 << 16)))
    if bad.size:
        raise ValueError(
            f"{key}[{bad[0]}] = {y[bad[0]]}: a label is a whole number from 0; numbers to be predicted "
            'need data.task = "regression"'
        )


def check_targets(key: str, y: np.ndarray, n: int) -> None:
    """Raise ``ValueError`` naming the array ``key`` for what can't be the targets of a regression on ``n`` samples."""
    if y.ndim not in (1, 2) or len(y) != n or y.size == 0 or y.dtype.kind not in "uif":
        raise ValueError(
            f"{key}: has shape {y.shape} of {y.dtype} for {n} samples, expected (n,) or (n, n_out) numbers"
        )
    bad = np.argwhere(~(np.abs(y.astype(np.float64)) <= REACH))
    if bad.size:
        place = tuple(int(i) for i in bad[0])
        raise ValueError(f"{key}{list(place)} = {y[place]}: targets lie in -2**100 to 2**100")
