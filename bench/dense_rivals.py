"""The same training step as other tools take it: dense matrices, with masks where a budget is wanted.

Each ``make`` returns a function ``run(n_steps)``. All get the data as float32 ready for use, and plain SGD.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

Run = Callable[[int], float]
"""Takes a number of steps; returns connections replaced per step (nan where nothing is rewired or counted)."""

ETA = 0.1
"""Learning rate of every contestant."""


def _masks(sizes: Sequence[int], density: float, rng: np.random.Generator) -> list[np.ndarray]:
    return [(rng.random((a, b)) < density).astype(np.float32) for a, b in pairwise(sizes)]


def make_torch(kind: str, sizes: Sequence[int], density: float, batch: int, x: np.ndarray, y: np.ndarray) -> Run:
    """PyTorch on one thread. kind: dense, mask, mask+fakequant, deepr (masked DEEP R with fake quantization)."""
    import torch

    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    masks = [torch.from_numpy(m.T.copy()) for m in _masks(sizes, density, rng)]
    weights = [torch.randn(b, a) / a**0.5 for a, b in pairwise(sizes)]
    if kind != "dense":
        weights = [w * m for w, m in zip(weights, masks, strict=True)]
    weights = [w.requires_grad_() for w in weights]
    budgets = [int(m.sum()) for m in masks]
    signs = [torch.sign(torch.randn_like(w)) for w in weights]
    data, labels = torch.from_numpy(x.astype(np.float32) / 256), torch.from_numpy(y)
    fake = torch.fake_quantize_per_tensor_affine
    quantized = kind in ("mask+fakequant", "deepr")
    l1, amplitude = 1e-5, 5e-6

    def loss_of(order: "torch.Tensor") -> "torch.Tensor":
        h = data[order]
        for i, w in enumerate(weights):
            if kind in ("mask", "mask+fakequant"):
                w = w * masks[i]
            if quantized:
                w = fake(w, 2**-6, 0, -128, 127)
            h = h @ w.t()
            if i + 1 < len(weights):
                h = torch.relu(h)
                if quantized:
                    h = fake(h, 2**-5, 0, 0, 255)
        return torch.nn.functional.cross_entropy(h, labels[order])

    @torch.no_grad()
    def rewire(w: "torch.Tensor", i: int) -> None:
        active = masks[i] > 0
        theta = w * signs[i] - ETA * (signs[i] * w.grad + l1) + amplitude * torch.randn_like(w)
        alive = active & (theta >= 0)
        w.copy_(torch.where(alive, signs[i] * theta, torch.zeros(())))
        dormant = (~alive).flatten().nonzero().squeeze(1)
        n = budgets[i] - int(alive.sum())
        chosen = dormant[torch.randperm(dormant.numel())[:n]]
        masks[i].copy_(alive)
        masks[i].view(-1)[chosen] = 1.0

    optimizer = torch.optim.SGD(weights, lr=ETA)
    generator = torch.Generator().manual_seed(0)

    def run(n_steps: int) -> float:
        for _ in range(n_steps):
            order = torch.randint(len(data), (batch,), generator=generator)
            optimizer.zero_grad(set_to_none=True)
            loss_of(order).backward()
            if kind == "deepr":
                for i, w in enumerate(weights):
                    rewire(w, i)
            else:
                optimizer.step()
        return float("nan")

    return run


def make_numpy_mask(sizes: Sequence[int], density: float, batch: int, x: np.ndarray, y: np.ndarray) -> Run:
    """A lean dense + mask step with preallocated arrays and sgemm: the strictest dense baseline. No quantization."""
    rng = np.random.default_rng(0)
    masks = _masks(sizes, density, rng)
    weights = [m * rng.standard_normal(m.shape, np.float32) / np.float32(m.shape[0] ** 0.5) for m in masks]
    grads = [np.empty_like(w) for w in weights]
    data = x.astype(np.float32) / 256
    eye = np.eye(sizes[-1], dtype=np.float32)

    def run(n_steps: int) -> float:
        for _ in range(n_steps):
            order = rng.integers(0, len(data), batch)
            inputs = [data[order]]
            for i, w in enumerate(weights):
                h = inputs[-1] @ w
                inputs.append(np.maximum(h, 0, out=h) if i + 1 < len(weights) else h)
            z = np.exp(inputs[-1] - inputs[-1].max(axis=1, keepdims=True))
            d = (z / z.sum(axis=1, keepdims=True) - eye[y[order]]) / np.float32(batch)
            for i in range(len(weights) - 1, -1, -1):
                np.matmul(inputs[i].T, d, out=grads[i])
                d = (d @ weights[i].T) * (inputs[i] > 0) if i else d
                grads[i] *= masks[i]
                grads[i] *= np.float32(ETA)
                weights[i] -= grads[i]
        return float("nan")

    return run


def make_scipy(sizes: Sequence[int], density: float, batch: int, x: np.ndarray, y: np.ndarray) -> Run:
    """DEEP R on scipy.sparse: CSR products, NumPy gradient at the connections, keys kept sorted with NumPy."""
    from scipy.sparse import csr_array

    rng = np.random.default_rng(0)
    shapes = list(pairwise(sizes))
    keys = [np.sort(rng.choice(a * b, max(1, round(density * a * b)), replace=False)) for a, b in shapes]
    theta = [
        np.abs(rng.standard_normal(k.size, np.float32)) / np.float32(a**0.5)
        for k, (a, _) in zip(keys, shapes, strict=True)
    ]
    sign = [rng.choice(np.array((-1, 1), np.float32), k.size) for k in keys]
    data = x.astype(np.float32) / 256
    eye = np.eye(sizes[-1], dtype=np.float32)

    def matrix(i: int) -> "csr_array":
        a, b = shapes[i]
        codes = np.clip(np.rint(theta[i] * sign[i] * 64), -128, 127) / np.float32(64)
        indptr = np.searchsorted(keys[i], np.arange(a + 1) * b)
        return csr_array((codes, keys[i] % b, indptr), shape=(a, b))

    def rewire(i: int, grad: np.ndarray) -> None:
        theta[i] -= np.float32(ETA) * (sign[i] * grad + np.float32(1e-5))
        theta[i] += np.float32(5e-6) * rng.standard_normal(theta[i].size, np.float32)
        alive = theta[i] >= 0
        n = alive.size - np.count_nonzero(alive)
        if n == 0:
            return
        kept, new = keys[i][alive], np.empty(0, np.int64)
        while new.size < n:
            drawn = rng.integers(0, shapes[i][0] * shapes[i][1], n - new.size)
            place = np.minimum(np.searchsorted(kept, drawn), max(kept.size - 1, 0))
            new = np.unique(np.concatenate([new, drawn[kept[place] != drawn] if kept.size else drawn]))
        order = np.argsort(np.concatenate([kept, new]), kind="stable")
        keys[i] = np.concatenate([kept, new])[order]
        theta[i] = np.concatenate([theta[i][alive], np.zeros(n, np.float32)])[order]
        sign[i] = np.concatenate([sign[i][alive], rng.choice(np.array((-1, 1), np.float32), n)])[order]

    def run(n_steps: int) -> float:
        for _ in range(n_steps):
            order = rng.integers(0, len(data), batch)
            inputs, matrices = [np.ascontiguousarray(data[order].T)], []
            for i in range(len(shapes)):
                matrices.append(matrix(i))
                h = matrices[i].T @ inputs[-1]
                inputs.append(np.maximum(h, 0) if i + 1 < len(shapes) else h)
            z = np.exp(inputs[-1] - inputs[-1].max(axis=0))
            d = (z / z.sum(axis=0) - eye[y[order]].T) / np.float32(batch)
            for i in range(len(shapes) - 1, -1, -1):
                source, target = np.divmod(keys[i], shapes[i][1])
                grad = np.einsum("kb,kb->k", inputs[i][source], d[target])
                d = (matrices[i] @ d) * (inputs[i] > 0) if i else d
                rewire(i, grad)
        return float("nan")

    return run
