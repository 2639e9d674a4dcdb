"""The tables of the accuracy bench: every row is a valid run that keeps to the budget it is listed under."""

import pytest

from bench.accuracy import BUDGET3288, QUICK
from deepr_hw.sparse_set.budget import make_partition
from deepr_hw.sparse_set.share import chain
from deepr_hw.train.config import load_config


@pytest.mark.parametrize(("rows", "limit"), [(QUICK, 3552), (BUDGET3288, 3288)])
def test_every_row_keeps_its_budget(rows, limit):
    for label, name, overrides in rows:
        config = load_config(name, overrides)
        partition = make_partition(config.budget, chain((784, *config.network.hidden, 10)), config.network.bias)
        assert partition.n_connections + config.network.bias * sum(config.network.hidden) <= limit, label
        assert (config.quantization.weight_bits, config.quantization.activation_bits) == (8, 8), label


def test_rows_differ():
    for rows in (QUICK, BUDGET3288):
        configs = [load_config(name, overrides) for _, name, overrides in rows]
        assert len(set(map(repr, configs))) == len(rows)
