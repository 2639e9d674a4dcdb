"""The C that makes codes of values: the reference's, whatever the compiler does to float."""

import json
import platform
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from deepr_hw import reference
from deepr_hw.evidence import verify
from deepr_hw.export.rtl import c_encoder
from deepr_hw.export.rtl import image as rtl_image
from deepr_hw.ir.affine import Affine, as_float32
from tests.random_nets import random_net
from tests.test_units import with_silent_features, with_unit

X86 = platform.machine() in ("x86_64", "AMD64")
COMPILERS = [
    ("-std=c99", "-O0"),
    ("-std=gnu11", "-O3", "-march=native", "-ffp-contract=fast", "-funroll-loops"),
    *([("-std=gnu99", "-O2", "-mfpmath=387"), ("-std=c99", "-O2", "-mfpmath=387")] if X86 else []),
]


def values_near_borders(net, seed):
    """Around every border of two codes: on it as nearly as float32 can tell, and the neighbours of that."""
    fmt = net.x_format
    borders = np.arange(fmt.lo - 1, fmt.hi + 2)[:, None] + np.full(net.n_in, 0.5)
    on = net.input_map.inverse(np.ldexp(borders, -fmt.frac))
    random = verify.random_samples(net, 100, seed).values
    return np.concatenate([on, np.nextafter(on, np.float32(-np.inf)), np.nextafter(on, np.float32(np.inf)), random])


@pytest.mark.parametrize("flags", COMPILERS, ids=" ".join)
@pytest.mark.parametrize("seed", range(5))
def test_codes_are_the_same_under_every_compiler_setting(flags, seed, tmp_path):
    rng = np.random.default_rng(seed)
    net = random_net(seed) if seed == 4 else with_unit(random_net(seed), rng, per_feature=seed != 1)
    x = values_near_borders(net, seed)
    np.testing.assert_array_equal(c_encoder.encode(net, x, tmp_path, flags), net.encode(x))


def test_refuses_a_compiler_that_may_reorder(tmp_path):
    with pytest.raises(RuntimeError, match="-ffast-math may change"):
        c_encoder.encode(random_net(0), np.zeros((1, random_net(0).n_in)), tmp_path, ("-O2", "-ffast-math"))


def test_says_that_there_is_no_compiler(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="no C compiler"):
        c_encoder.encode(random_net(0), np.zeros((1, random_net(0).n_in)), tmp_path)


@pytest.mark.parametrize("per_feature", [False, True])
def test_the_folder_of_a_board_has_program_and_numbers(per_feature, tmp_path):
    net = with_unit(random_net(2), np.random.default_rng(2), per_feature)
    rtl_image.export(net, tmp_path, lanes=2)
    x = values_near_borders(net, 0)
    about = json.loads((tmp_path / "manifest.json").read_text())["input"]
    offset, factor = (np.array(about[name], np.float32) for name in ("offset", "factor"))
    assert offset.size == factor.size == (net.n_in if per_feature else 1)
    steps = np.ldexp((as_float32(x) - offset) * factor, about["frac"])
    low = -(1 << about["bits"] - 1) if about["signed"] else 0
    codes = np.clip(np.rint(steps), low, low + (1 << about["bits"]) - 1)
    np.testing.assert_array_equal(codes, net.encode(x))

    (tmp_path / "main.c").write_text("""#include "deepr_encode.h"
#include <stdio.h>
int main(void) {
    float values[DEEPR_N_IN];
    unsigned char bytes[DEEPR_N_IN];
    while (fread(values, sizeof values, 1, stdin) == 1) {
        deepr_encode(values, (void *)bytes);
        fwrite(bytes, 1, DEEPR_N_IN, stdout);
    }
    return 0;
}
""")
    subprocess.run(["cc", *c_encoder.FLAGS, "-o", "main", "main.c", "deepr_encode.c"], cwd=tmp_path, check=True)
    done = subprocess.run([tmp_path / "main"], input=x.tobytes(), capture_output=True, check=True)
    np.testing.assert_array_equal(np.frombuffer(done.stdout, np.uint8), codes.astype(int).astype(np.uint8).ravel())
    text = (tmp_path / "README.md").read_text()
    assert f"frac = {about['frac']}, limits {low}.." in text


def test_the_folder_says_how_to_read_a_regression(tmp_path):
    net = replace(random_net(2), task="regression", output_map=Affine(np.float32([-3.7]), np.float32([0.21])))
    rtl_image.export(net, tmp_path, lanes=2)
    about = json.loads((tmp_path / "manifest.json").read_text())["logits"]
    logits = reference.logits(net, verify.random_samples(net, 20).codes)
    offset, factor = (np.array(about[name], np.float32) for name in ("offset", "factor"))
    np.testing.assert_array_equal((np.float32(logits * 2.0 ** -about["frac"]) - offset) * factor, net.decode(logits))
    assert "value = (logit" in (tmp_path / "README.md").read_text()


def test_not_a_number_becomes_the_lowest_code(tmp_path):
    net = random_net(7)
    codes = c_encoder.encode(net, np.full((1, net.n_in), np.nan), tmp_path)
    assert (codes == net.x_format.lo).all()


@pytest.mark.parametrize("flags", COMPILERS, ids=" ".join)
def test_an_infinity_says_nothing_where_the_factor_is_0(flags, tmp_path):
    net = with_silent_features(random_net(7))
    x = np.full((3, net.n_in), 1, np.float32) * np.array([[np.inf], [-np.inf], [1]], np.float32)
    codes = np.empty(x.shape, net.x_format.dtype)
    c_encoder.call_per_sample(c_encoder.board_files(net), "deepr_encode", x, codes, tmp_path, flags)
    assert (codes[:, ::2] == 0).all()
    np.testing.assert_array_equal(codes, net.encode(x))
