"""The same network as an adder graph, one sample per cycle: da4ml's Verilog through the same synthesis as the engine.

    python -m bench.unrolled                       64-32-10 inside K = 660 and 784-300-100-10 inside K = 3552
    python -m bench.unrolled --seconds 3600        give the generator more time

Needs da4ml (pip install da4ml). Both are counted on ECP5; LUT x microseconds takes 100 MHz for both.
"""

import argparse
import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np

from deepr_hw import reference
from deepr_hw.export.rtl.schedule import required_geometry, schedule
from deepr_hw.ir import IntNet, SparseLinear
from deepr_hw.ir.fixed import Format
from deepr_hw.sim import synth
from tests.mnist_shaped import shaped
from tests.random_nets import random_codes

NETWORKS = (((64, 32, 10), (500, 160)), ((784, 300, 100, 10), (2352, 900, 300)))
CLOCK_MHZ = 100


def _dense(layer: SparseLinear) -> np.ndarray:
    weight = np.zeros((layer.n_in, layer.n_out))
    weight[layer.matrix.in_idx, layer.matrix.out_idx] = layer.matrix.code
    return weight


def _requantized(v: Any, layer: SparseLinear) -> Any:
    """Half to even from truncation: floor(v + 1/2 - ulp + ulp * lowest bit of floor(v)), saturated."""
    assert isinstance(layer.y_format, Format)
    n, ulp = layer.n_out, 2.0**-layer.shift
    v = v * ulp
    lowest = v.quantize(np.zeros(n, int), np.ones(n, int), np.zeros(n, int), "WRAP", "TRN")
    sign, bits = int(layer.y_format.signed), layer.y_format.bits
    v = v + (0.5 - ulp) + lowest * ulp
    return v.quantize(np.full(n, sign), np.full(n, bits - sign), np.zeros(n, int), "SAT", "TRN")


def _generate(net: IntNet, folder: Path, out: Any) -> None:
    from da4ml.codegen import VerilogModel
    from da4ml.trace import FixedVariableArrayInput, HWConfig, comb_trace

    n, signed = net.layers[0].n_in, int(net.x_format.signed)
    inputs = FixedVariableArrayInput(n, HWConfig(1, -1, -1))
    v = inputs.quantize(np.full(n, signed), np.full(n, 8 - signed), np.zeros(n, int))
    for layer in net.layers:
        v = v @ _dense(layer)
        if layer.y_format is not None:
            v = _requantized(v, layer)
    graph = comb_trace(inputs, v)
    x = random_codes(net, 100)
    logits = np.asarray(graph.predict(x.astype(np.float64)), np.int64)
    VerilogModel(graph, "unrolled", folder, latency_cutoff=5, register_layers=1).write()
    out.put(int(np.count_nonzero(logits != reference.logits(net, x))))


def generate(net: IntNet, folder: Path, seconds: float) -> int | None:
    """Logits of 100 samples that differ from the reference, or None where the generator takes longer."""
    context = multiprocessing.get_context("spawn")
    out = context.Queue()
    child = context.Process(target=_generate, args=(net, folder, out))
    child.start()
    child.join(seconds)
    if child.is_alive():
        child.terminate()
        return None
    return int(out.get(timeout=10))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300, help="for the generator (default: %(default)s)")
    parser.add_argument("--lanes", type=int, default=8)
    args = parser.parse_args()
    for widths, budget in NETWORKS:
        net = shaped(widths, budget, args.lanes)
        plan = schedule(net, args.lanes)
        engine = synth.engine_netlist(required_geometry(net, plan), "ecp5-45k", synth.SCAN).area
        print(
            f"{widths}, K = {sum(budget)}: engine, {args.lanes} lanes: {engine.lut} LUT, {plan.interval:.0f} cycles, "
            f"{engine.lut * plan.interval / CLOCK_MHZ:.0f} LUT x us",
            flush=True,
        )
        folder, start = Path(f"build/unrolled/{widths[0]}"), time.perf_counter()
        wrong = generate(net, folder.resolve(), args.seconds)
        if wrong is None:
            print(f"  unrolled: the generator is not done after {args.seconds:.0f} s", flush=True)
            continue
        took = time.perf_counter() - start
        sources = sorted(path for path in (folder / "src").rglob("*.v") if "wrapper" not in path.name)
        area = synth.synthesize(sources, "unrolled", {}, "ecp5-85k").area
        print(
            f"  unrolled: {took:.0f} s, {wrong} wrong logits, {area.lut} LUT, {area.ff} FF, 1 cycle, "
            f"{area.lut / CLOCK_MHZ:.0f} LUT x us, {area.lut / sum(budget):.1f} LUT per K",
            flush=True,
        )


if __name__ == "__main__":
    main()
