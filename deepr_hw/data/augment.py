"""Random small deformations of images: shift, rotation, scale, shear, and a smooth elastic field.

    source = centre + A (pixel - centre) + t + field(pixel),   value bilinear, 0 outside

The field is bilinear between independent normal displacements on a 5 x 5 grid of control points.
Source: Simard, Steinkraus, Platt, ICDAR 2003 (there the field is Gaussian-filtered noise).
"""

import numpy as np

from deepr_hw.kernel.jit import REORDERS, kernel
from deepr_hw.kernel.noise import next_u64

_GRID = 5


@kernel
def uniform(state):
    """Uniform float in -1..1."""
    return float(next_u64(state) >> np.uint64(11)) * 2.0**-52 - 1.0


@kernel
def _normal(state):
    """Roughly N(0, 1): the sum of six uniforms, scaled; at most 4.2 sigma."""
    total = 0.0
    for _ in range(6):
        total += uniform(state)
    return total * np.sqrt(0.5)


@kernel
def augment(images, order, out, shift, rotation, scale, elastic, state):
    """Fill ``out[order[i]]`` with a deformed copy of ``images[order[i]]``, for every i.

    images, out : (n, height, width) uint8
    shift       : pixels, at most, in each direction
    rotation    : degrees at most
    scale       : relative change of size and shear at most, e.g. 0.1
    elastic     : standard deviation of the field's control points, in pixels
    """
    height, width = images.shape[1], images.shape[2]
    middle_y, middle_x = np.float32((height - 1) / 2), np.float32((width - 1) / 2)
    grid_y, grid_x = np.float32((_GRID - 1) / max(height - 1, 1)), np.float32((_GRID - 1) / max(width - 1, 1))
    field = np.zeros((2, _GRID, _GRID), np.float32)
    rows = np.zeros((2, _GRID), np.float32)
    padded = np.zeros((height + 3) * (width + 3), np.float32)
    where, part = np.zeros(width, np.uint32), np.zeros((2, width), np.float32)
    for number in order:
        for y in range(height):
            for x in range(width):
                padded[(y + 1) * (width + 3) + x + 1] = images[number, y, x]
        angle = np.deg2rad(rotation) * uniform(state)
        grow_y, grow_x, shear = scale * uniform(state), scale * uniform(state), scale * uniform(state)
        cosine, sine = np.cos(angle), np.sin(angle)
        ayy, ayx = np.float32(cosine * (1 + grow_y)), np.float32(sine + shear)
        axy, axx = np.float32(-sine), np.float32(cosine * (1 + grow_x))
        ty, tx = middle_y + np.float32(shift * uniform(state)), middle_x + np.float32(shift * uniform(state))
        if elastic > 0:
            for axis in range(2):
                for j in range(_GRID):
                    for i in range(_GRID):
                        field[axis, j, i] = elastic * _normal(state)
        for y in range(height):
            dy = np.float32(y) - middle_y
            position = np.float32(y) * grid_y
            j = min(int(position), _GRID - 2)
            for axis in range(2):
                for i in range(_GRID):
                    rows[axis, i] = field[axis, j, i] + (position - np.float32(j)) * (
                        field[axis, j + 1, i] - field[axis, j, i]
                    )
            _find_row(where, part, ayy * dy + ty, ayx, axy * dy + tx, axx, middle_x, rows, grid_x, elastic > 0, height)
            _sample_row(out, number, y, padded, where, part)


@kernel(fastmath=REORDERS)
def _find_row(where, part, y, step_y, x, step_x, middle, rows, grid, elastic, height):
    """Where the pixels of one row come from: place in the padded image (one zero before, two behind) and the fractions
    ``part`` (2, width) beyond it, along a line that meets (y, x) at pixel ``middle``, displaced by ``rows`` (2, 5)."""
    width = where.size
    for i in range(width):
        dx = np.float32(i) - middle
        part[0, i] = y + step_y * dx + np.float32(1)
        part[1, i] = x + step_x * dx + np.float32(1)
    if elastic:
        for i in range(width):
            position = np.float32(i) * grid
            j = min(np.int32(position), np.int32(_GRID - 2))
            f = position - np.float32(j)
            part[0, i] += rows[0, j] + f * (rows[0, j + 1] - rows[0, j])
            part[1, i] += rows[1, j] + f * (rows[1, j + 1] - rows[1, j])
    zero, bottom, right = np.float32(0), np.float32(height + 1), np.float32(width + 1)
    for i in range(width):
        sy = part[0, i] if part[0, i] > zero else zero  # NaN becomes 0 too: no place outside of the image is read
        sx = part[1, i] if part[1, i] > zero else zero
        sy, sx = min(sy, bottom), min(sx, right)
        top, left = np.uint32(np.int32(sy)), np.uint32(np.int32(sx))
        where[i] = np.uint32(top * np.uint32(width + 3) + left)
        part[0, i] = sy - np.float32(top)
        part[1, i] = sx - np.float32(left)


@kernel(fastmath=REORDERS)
def _sample_row(out, number, y, padded, where, part):
    """Bilinear values of the padded image at ``where`` + ``part``, rounded, into row ``y`` of image ``number``."""
    below = np.uint64(where.size + 3)
    for i in range(where.size):
        k, fy, fx = np.uint64(where[i]), part[0, i], part[1, i]
        upper = padded[k] + fx * (padded[k + np.uint64(1)] - padded[k])
        lower = padded[k + below] + fx * (padded[k + below + np.uint64(1)] - padded[k + below])
        out[number, y, i] = np.uint8(np.int32(upper + fy * (lower - upper) + np.float32(0.5)))
