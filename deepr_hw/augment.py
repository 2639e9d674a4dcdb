"""Random small deformations of images: shift, rotation, scale, shear, and a smooth elastic field.

    source = centre + A (pixel - centre) + t + field(pixel),   value bilinear, 0 outside

The field is bilinear between independent normal displacements on a 5 x 5 grid of control points.
Source: Simard, Steinkraus, Platt, ICDAR 2003 (there the field is Gaussian-filtered noise).
"""

import numpy as np

from .jit import kernel
from .noise import next_u64

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
    padded = np.zeros((height + 3, width + 3), np.float32)
    for number in order:
        padded[1 : height + 1, 1 : width + 1] = images[number]
        result = out[number]
        angle = np.deg2rad(rotation) * uniform(state)
        grow_y, grow_x, shear = scale * uniform(state), scale * uniform(state), scale * uniform(state)
        cosine, sine = np.cos(angle), np.sin(angle)
        ayy, ayx = np.float32(cosine * (1 + grow_y)), np.float32(sine + shear)
        axy, axx = np.float32(-sine), np.float32(cosine * (1 + grow_x))
        ty, tx = middle_y + np.float32(shift * uniform(state)), middle_x + np.float32(shift * uniform(state))
        if elastic > 0:
            for i in range(field.size):
                field.ravel()[i] = elastic * _normal(state)
        for y in range(height):
            dy = np.float32(y) - middle_y
            position = np.float32(y) * grid_y
            j = min(int(position), _GRID - 2)
            rows[:] = field[:, j] + (position - np.float32(j)) * (field[:, j + 1] - field[:, j])
            _sample_row(padded, result[y], ayy * dy + ty, ayx, axy * dy + tx, axx, middle_x, rows, grid_x)


@kernel(fastmath={"contract", "reassoc"})
def _sample_row(padded, result, y, step_y, x, step_x, middle, rows, grid):
    """One row of a deformed image: bilinear values of ``padded`` (one zero before, two behind) along a line that starts
    from (y, x) at pixel ``middle`` and is displaced by ``rows`` (2, 5)."""
    one, half = np.float32(1), np.float32(0.5)
    last_y, last_x = np.float32(padded.shape[0] - 2), np.float32(padded.shape[1] - 2)
    for i in range(result.size):
        dx = np.float32(i) - middle
        position = np.float32(i) * grid
        j = min(np.int32(position), np.int32(_GRID - 2))
        f = position - np.float32(j)
        sy = y + step_y * dx + rows[0, j] + f * (rows[0, j + 1] - rows[0, j]) + one
        sx = x + step_x * dx + rows[1, j] + f * (rows[1, j + 1] - rows[1, j]) + one
        sy = min(max(sy, np.float32(0)), last_y)
        sx = min(max(sx, np.float32(0)), last_x)
        top, left = np.int32(sy), np.int32(sx)
        fy, fx = sy - np.float32(top), sx - np.float32(left)
        upper = padded[top, left] + fx * (padded[top, left + 1] - padded[top, left])
        lower = padded[top + 1, left] + fx * (padded[top + 1, left + 1] - padded[top + 1, left])
        result[i] = np.uint8(upper + fy * (lower - upper) + half)
