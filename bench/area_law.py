"""Fits the area law of the engine on ECP5 and tries it on networks that it has not seen.

    python -m bench.area_law            yosys for every point (kept in the cache), some minutes at first

Prints the coefficients for deepr_hw/devices/area.py and, also for the networks left out of the fit, law and count.
"""

import json
from pathlib import Path

import numpy as np

from deepr_hw.devices import area
from deepr_hw.export.rtl.schedule import required_geometry, schedule
from deepr_hw.sim import synth
from tests.mnist_shaped import shaped

MNIST, SMALL, WIDE = (784, 300, 100, 10), (64, 32, 10), (256, 128, 10)
FITTED = [(MNIST, (2352, 900, 300), lanes) for lanes in (1, 2, 4, 8, 16)]
FITTED += [(SMALL, (500, 160), lanes) for lanes in (1, 4, 8)] + [(WIDE, (5000, 600), 2)]
LEFT_OUT = [((784, 128, 10), (7000, 700), 4), ((64, 40, 10), (250, 60), 8), ((100, 50, 4), (900, 100), 2)]


def point(widths: tuple[int, ...], budget: tuple[int, ...], lanes: int) -> dict[str, float]:
    """What yosys counts for a network of these widths, and what the law is told about it."""
    net = shaped(widths, budget, lanes)
    plan = schedule(net, lanes)
    geometry = required_geometry(net, plan)
    counted = synth.engine_netlist(geometry, "ecp5-85k", synth.SCAN).area
    law = area.predict(widths, budget, lanes, acc_bits=geometry.acc_bits)
    return {
        "lanes": lanes,
        "K": sum(budget),
        "acc_bits": geometry.acc_bits,
        "lut": counted.lut,
        "bram": counted.bram,
        "cycles": plan.interval,
        "law_lut": law.lut,
        "law_bram": law.bram,
        "law_cycles": law.cycles,
        "features": area.features(area.memories(widths, budget, lanes), lanes),
        "known": area.known_lut(area.memories(widths, budget, lanes), lanes, geometry.acc_bits),
    }


def main() -> None:
    fitted, left_out = ([point(*p) for p in points] for points in (FITTED, LEFT_OUT))
    x, y = np.array([p["features"] for p in fitted]), np.array([p["lut"] for p in fitted])
    weight = 1 / y  # relative errors count
    unknown = y - np.array([p["known"] for p in fitted])
    coefficients, *_ = np.linalg.lstsq(x * weight[:, None], unknown * weight, rcond=None)
    print("LUT = known + " + " + ".join(f"{c:.1f} {name}" for c, name in zip(coefficients, area.FEATURES, strict=True)))
    for title, points in (("fitted", fitted), ("left out", left_out)):
        print(title)
        for p in points:
            lut = float(np.dot(p["features"], coefficients) + p["known"])
            print(
                f"  {p['lanes']:2d} lanes, K = {p['K']:5d}: LUT {p['lut']:5.0f}, law {lut:5.0f} "
                f"({100 * (lut / p['lut'] - 1):+5.1f} %), in area.py {p['law_lut']:5.0f}; BRAM {p['bram']}, "
                f"law {p['law_bram']}; cycles {p['cycles']:.0f}, law {p['law_cycles']}"
            )
    Path("build/area").mkdir(parents=True, exist_ok=True)
    Path("build/area/law.json").write_text(
        json.dumps({"coefficients": coefficients.tolist(), "fitted": fitted, "left_out": left_out}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
