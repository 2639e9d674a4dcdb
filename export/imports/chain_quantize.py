"""A chain of dense layers in real numbers as an ``IntNet``.

The step of an ``IntNet``'s codes need not be a power of two in the units of the original: only ratios count. With input
step s_x and weight step s_w the accumulator's step is s_x * s_w, and the next layer's input step may be that times any
power of two. So weight codes are kept as they are, whatever their scale, and only the steps between layers move, to a
neighbouring power of two times the accumulator's (not at all where the original's ratios are powers of two already).
Zero points go into the biases.
"""

from dataclasses import replace

import numpy as np

from deepr_hw.ir import Budget, IntNet, SparseLinear, sparse_linear
from deepr_hw.ir.affine import Affine
from deepr_hw.ir.fixed import MAX_FRAC, Format, signed_bits

from .dense_chain import Chain, Dense, Imported, Quantizer

_ALIKE = 4
"""Features whose ranges are at least this part of that of all together share a step: it costs them 2 of 8 bits."""


def to_intnet(
    chain: Chain,
    calibration: np.ndarray | None = None,
    x_unit: float | None = None,
    provenance: dict[str, str] | None = None,
    class_labels: tuple[str, ...] = (),
    task: str | None = None,
) -> Imported:
    """The chain as an ``IntNet``.

    calibration : (n, ...) input values; needed where activations are not quantized, and then also decides how far a
                  step between layers moves. Of (n, features) whose ranges differ, each feature gets a unit of its
                  own; with more axes, as images have, all share one
    x_unit      : value per uint8 input code, e.g. 1 / 255 for pixels; replaces the original's input quantizer
    task        : None: ``regression`` where there is one output and nothing behind it, else ``classification``

    Raises ``ValueError`` naming the layer that needs a calibration set, more than 8 bits or more than 32-bit sums, or
    that holds what is no number; or for a calibration set of another size or a task that the output contradicts.
    """
    for layer in chain.layers:
        if not (np.isfinite(layer.weight).all() and np.isfinite(layer.bias).all()):
            raise ValueError(f"{layer.name}: weights or biases contain NaN or infinity")
    n_in = chain.layers[0].weight.shape[0]
    if calibration is not None and int(np.prod(np.shape(calibration)[1:])) != n_in:
        raise ValueError(
            f"{chain.layers[0].name}: takes {n_in} features, the data has {int(np.prod(np.shape(calibration)[1:]))}"
        )
    notes: list[str] = []
    if x_unit is not None:
        chain = chain.without_input_scale()
    elif (
        calibration is not None
        and np.ndim(calibration) == 2
        and chain.quantizer is None
        and chain.layers[0].codes is None
    ):
        chain = _with_own_steps(chain, calibration, notes)
    seen = None if calibration is None else chain.evaluate(calibration)
    entry = _entry(chain, seen, x_unit, notes)
    bits, signed, zero = _format_for(entry, "input", notes)
    unit, frac = entry.step, _nominal(entry.step)
    x_format, x_zero = Format(bits, signed, frac), zero
    layers: list[SparseLinear] = []
    for i, layer in enumerate(chain.layers):
        notes += [f"{layer.name}: {note}" for note in layer.notes]
        last = i == len(chain.layers) - 1
        sums = None if seen is None else seen[i + 1]
        target = None if last else _target(layer, sums, notes)
        codes, step = _weight_codes(layer, target.step / unit if target else None, notes)
        acc_unit = unit * step
        bias = _bias_codes(layer, acc_unit, notes) - zero * codes.sum(axis=0)
        w_format = Format(
            min(8, max(2, signed_bits(int(codes.min(initial=0)), int(codes.max(initial=0))))), True, _nominal(step)
        )
        y_format = None
        if target is None:
            _drop_last_quantizer(layer, notes)
        else:
            shift = _shift(target, acc_unit, layer, sums, notes)
            bits, signed, zero = _format_for(target, layer.name, notes)
            bias = bias + zero * 2.0**shift
            unit = acc_unit * 2.0**shift
            y_format = Format(bits, signed, _in_range(x_format.frac + w_format.frac - shift, layer))
        layers.append(_sparse(layer, codes, bias, x_format, w_format, y_format))
        x_format = y_format or x_format
    if chain.ending:
        notes.append(f"{chain.ending} behind the logits left out")
    about = {
        **(provenance or {}),
        "input_unit": repr(entry.step),
        "input_zero": str(x_zero),
        "logit_unit": repr(acc_unit),
        "import_notes": "; ".join(notes),
    }
    budget = Budget("per_layer", tuple(layer.matrix.n_connections for layer in layers))
    net = IntNet(
        tuple(layers),
        budget,
        class_labels,
        about,
        _input_map(chain, entry.step, x_zero, layers[0].x_format),
        _task(chain, task),
    )
    if net.task == "regression":
        factor = np.array([acc_unit * 2.0**net.logit_frac])
        net = replace(net, output_map=Affine(np.zeros(1, np.float32), factor.astype(np.float32)))
    return Imported(net, acc_unit, tuple(notes))


def _with_own_steps(chain: Chain, calibration: np.ndarray, notes: list[str]) -> Chain:
    """``chain`` with an input quantizer whose 256 codes span what each feature takes; one that never changes gets the
    step of all. The steps go into the weights. Where one step serves all features well, the chain as it is."""
    x = np.clip(np.asarray(calibration, np.float64) * chain.scale + chain.offset, chain.low, chain.high)
    low, span = x.min(axis=0), np.ptp(x, axis=0)
    if (_ALIKE * span[span > 0] >= np.ptp(x)).all():
        return chain
    step = np.where(span > 0, span, max(float(np.ptp(x)), 1e-30)) / 255
    notes.append(f"input: quantized feature by feature with steps {step.min():g}..{step.max():g}")
    first = chain.layers[0]
    first = replace(first, weight=first.weight * step[:, None], bias=first.bias + low @ first.weight)
    return replace(
        chain,
        layers=(first, *chain.layers[1:]),
        quantizer=Quantizer(1.0, 0, 255),
        low=-np.inf,
        high=np.inf,
        scale=np.asarray(chain.scale) / step,
        offset=(np.asarray(chain.offset) - low) / step,
    )


def _task(chain: Chain, wanted: str | None) -> str:
    n_out = chain.layers[-1].weight.shape[1]
    if wanted == "regression" and chain.ending:
        raise ValueError(f"ends in {chain.ending}, so it is no regression")
    if wanted == "classification" and n_out == 1:
        raise ValueError("gives one number per sample, so it is no classification; say --task regression")
    return wanted or ("regression" if n_out == 1 and not chain.ending else "classification")


def _input_map(chain: Chain, x_unit: float, x_zero: int, x_format: Format) -> Affine:
    """From the original's values to codes: ``code = (value * scale + offset) / x_unit + x_zero``."""
    scale, offset = (np.atleast_1d(np.asarray(a, np.float64)).ravel() for a in (chain.scale, chain.offset))
    n = max(scale.size, offset.size)
    before = np.divide(-(offset + x_zero * x_unit), scale, out=np.zeros(n), where=np.broadcast_to(scale != 0, n))
    factor = np.broadcast_to(scale * x_format.step / x_unit, n)
    return Affine(before.astype(np.float32), factor.astype(np.float32))


def _entry(chain: Chain, seen: list[np.ndarray] | None, x_unit: float | None, notes: list[str]) -> Quantizer:
    scaled = np.any(np.asarray(chain.scale) != 1) or np.any(np.asarray(chain.offset) != 0)
    if x_unit is not None and scaled:  # a scale per feature: codes of what it gives, by the input's quantizer if any
        ends = [np.clip(end * chain.scale + chain.offset, chain.low, chain.high) for end in (0.0, 255 * x_unit)]
        seen = [np.concatenate([np.ravel(end) for end in ends])] if seen is None else seen
    elif x_unit is not None:
        if chain.quantizer is not None and chain.quantizer != Quantizer(x_unit, 0, 255):
            notes.append(f"input: step {chain.quantizer.step:g} replaced by {x_unit:g} over uint8 codes")
        return Quantizer(x_unit, 0, 255)
    if chain.quantizer is not None:
        return chain.quantizer.within(chain.low, chain.high)
    if seen is None:
        raise ValueError(
            "input: it is not quantized, so its range must come from a calibration set or the value of a uint8 code"
        )
    low, high = min(0.0, float(seen[0].min())), max(0.0, float(seen[0].max()))
    step = max(high - low, 1e-30) / 255
    zero = round(-low / step)
    notes.append(f"input: quantized with step {step:g} over {low:g}..{high:g}")
    return Quantizer(step, -zero, 255 - zero)


def _format_for(quantizer: Quantizer, name: str, notes: list[str]) -> tuple[int, bool, int]:
    """Bits, sign and zero point of a format that holds the quantizer's codes."""
    low, high = quantizer.lowest, quantizer.highest
    span = high - low + 1
    if span > 256 or span < 2:
        raise ValueError(f"{name}: activations with codes {low}..{high}; at most 8 bits are possible")
    bits = (span - 1).bit_length()
    full = span == 1 << bits
    if full and low in (0, -(span // 2)) and bits > (low < 0):
        return bits, low < 0, 0
    if -low == high and signed_bits(low, high) <= 8:
        notes.append(f"{name}: codes {low}..{high} saturate at {low - 1} here")
        return signed_bits(low, high), True, 0
    if low == 0:
        notes.append(f"{name}: codes 0..{high} saturate at {(1 << bits) - 1} here")
        return bits, False, 0
    if low % 2 and name != "input":  # there the zero point is added to what is rounded already
        notes.append(f"{name}: zero point {-low} is odd, so ties round the other way")
    if not full:
        notes.append(f"{name}: codes {low}..{high} saturate at {low + (1 << bits) - 1} here")
    return bits, False, -low


def _weight_codes(layer: Dense, aligned: float | None, notes: list[str]) -> tuple[np.ndarray, float]:
    """int64 codes in int8 and their step: the original's codes where it has some; else those on the grid of a power of
    two where the weights lie on it; else those with the least squared error, of the steps ``aligned * 2**-k`` (which
    spare the activations behind the layer a change of theirs) or, without ``aligned``, of many."""
    if layer.codes is not None and layer.step is not None and np.abs(layer.codes + 0.5).max(initial=0) < 128:
        return layer.codes, layer.step
    top = float(np.abs(layer.weight).max(initial=0)) or 1.0
    steps = top / 127 * np.linspace(0.4, 1.0, 31)
    if aligned is not None:
        steps = aligned * 2.0 ** (np.ceil(np.log2(top / 127 / aligned)) - np.arange(3))
    grid = 2.0 ** np.ceil(np.log2(top / 127.5))
    steps = np.r_[grid, steps] if (layer.weight / grid == np.rint(layer.weight / grid)).all() else steps
    errors = [np.square(np.clip(np.rint(layer.weight / s), -128, 127) * s - layer.weight).sum() for s in steps]
    step = float(steps[int(np.argmin(errors))])
    power = float(np.square(layer.weight).sum()) or 1.0
    if min(errors) > 0:
        notes.append(
            f"{layer.name}: weights quantized to 8 bits with one step {step:g}, "
            f"relative error {np.sqrt(min(errors) / power):.2g}"
        )
    return np.clip(np.rint(layer.weight / step), -128, 127).astype(np.int64), step


def _bias_codes(layer: Dense, acc_unit: float, notes: list[str]) -> np.ndarray:
    """Biases in whole accumulator steps, float64."""
    exact = layer.bias / acc_unit
    error = np.abs(np.rint(exact) - exact)
    if (error > 1e-6 * np.maximum(1, np.abs(exact))).any():  # float32 holds a whole number of steps that closely
        notes.append(
            f"{layer.name}: biases rounded to the accumulator's step {acc_unit:g}, by up to "
            f"{error.max() * acc_unit:.2g}"
        )
    return np.rint(exact)


def _drop_last_quantizer(layer: Dense, notes: list[str]) -> None:
    if layer.low != -np.inf or layer.high != np.inf:
        raise ValueError(f"{layer.name}: the last layer's output is clipped; logits are raw sums here")
    if layer.quantizer is not None:
        notes.append(f"{layer.name}: quantizer of the output left out, logits keep their full width")


def _target(layer: Dense, sums: np.ndarray | None, notes: list[str]) -> Quantizer:
    """The quantizer wanted behind a hidden layer: the original's, or one that the calibration set spans."""
    if layer.quantizer is not None:
        return layer.quantizer.within(layer.low, layer.high)
    low = 0 if layer.low >= 0 else -128
    if sums is None:
        raise ValueError(
            f"{layer.name}: its activations are not quantized, so their range must come from a calibration set"
        )
    values = np.abs(np.clip(sums, layer.low, layer.high))
    step = (float(values.max(initial=0)) or 1.0) / (low + 255)
    notes.append(f"{layer.name}: activations quantized to 8 bits")
    return Quantizer(step, low, low + 255)


def _shift(target: Quantizer, acc_unit: float, layer: Dense, sums: np.ndarray | None, notes: list[str]) -> int:
    """Right shift to the power of two next to the wanted step, or, of those around it, the one with the least error."""
    ratio = target.step / acc_unit
    near = round(np.log2(ratio))
    if 0 <= near <= 31 and abs(ratio * 2.0**-near - 1) < 1e-12:
        return near
    if sums is not None:
        values = np.clip(sums, layer.low, layer.high)
        wanted = values if layer.quantizer is None else layer.quantizer.codes(values) * layer.quantizer.step
        near = min(
            range(near - 3, near + 3),
            key=lambda s: float(
                np.square(replace(target, step=acc_unit * 2.0**s).codes(values) * acc_unit * 2.0**s - wanted).mean()
            ),
        )
    shift = min(31, max(0, near))
    notes.append(f"{layer.name}: activation step {target.step:g} became {acc_unit * 2.0**shift:g}")
    return shift


def _nominal(step: float) -> int:
    """frac of the power of two next to ``step``."""
    return int(np.clip(round(-np.log2(step)), -MAX_FRAC, MAX_FRAC))


def _in_range(frac: int, layer: Dense) -> int:
    if abs(frac) > MAX_FRAC:
        raise ValueError(f"{layer.name}: its output would have frac = {frac}, outside -{MAX_FRAC}..{MAX_FRAC}")
    return frac


def _sparse(
    layer: Dense, codes: np.ndarray, bias: np.ndarray, x_format: Format, w_format: Format, y_format: Format | None
) -> SparseLinear:
    n_in, n_out = codes.shape
    out_idx, in_idx = np.nonzero(layer.connected.T)
    if np.abs(bias).max(initial=0) >= 1 << 31:
        raise ValueError(f"{layer.name}: bias {np.abs(bias).max():.3g} in accumulator steps does not fit 32 bits")
    whole = bias.astype(np.int64) if bias.any() else None
    try:
        return sparse_linear(n_in, n_out, in_idx, out_idx, codes[in_idx, out_idx], whole, x_format, w_format, y_format)
    except ValueError as error:
        raise ValueError(f"{layer.name}: {error}") from None
