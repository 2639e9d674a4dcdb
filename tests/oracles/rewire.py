"""Rewiring as one reads it in the paper: what the compiled one is compared with."""

import numpy as np

from deepr_hw.sparse_set.connections import Connections


def rewire_numpy(connections: Connections, dead: np.ndarray, rng: np.random.Generator) -> None:
    """Replace the dead connections in place, each inside its group.

    dead : (K,) bool, theta < 0
    """
    partition = connections.partition
    shapes = partition.shapes
    matrix_of_source = np.repeat(np.arange(len(shapes)), [n_in for n_in, _ in shapes])
    source, matrix = connections.sources(), connections.matrices()
    held = list(
        zip(
            source[~dead].tolist(), connections.out_idx[~dead].tolist(), connections.weight[~dead].tolist(), strict=True
        )
    )
    occupied = {(s, o) for s, o, _ in held}
    groups = partition.groups(source, matrix, connections.out_idx)
    for g in groups[dead]:
        dormant = [
            (s, o)
            for s in range(matrix_of_source.size)
            for o in range(shapes[matrix_of_source[s]][1])
            if (s, o) not in occupied and partition.groups(s, matrix_of_source[s], o) == g
        ]
        position = dormant[rng.integers(len(dormant))]
        occupied.add(position)
        held.append((*position, float(rng.choice((0.0, -0.0)))))
    held.sort(key=lambda entry: entry[:2])
    connections.out_idx[:] = [o for _, o, _ in held]
    connections.weight[:] = np.array([w for _, _, w in held], np.float32)
    connections.indptr[1:] = np.cumsum(np.bincount([s for s, _, _ in held], minlength=connections.indptr.size - 1))
