#ifndef NNET_SPARSE_DENSE_COMMON_H_
#define NNET_SPARSE_DENSE_COMMON_H_

#include "nnet_common.h"
#include "nnet_helpers.h"
#include "nnet_mult.h"
#include "nnet_types.h"

// A dense layer of which only n_connections weights exist:
//
//     res[o] = res_T(bias[o] + sum of weight[k] * data[in_idx[k]] over the connections k of output o)
//
// The connections are sorted by (output, input) and cut into n_multipliers stretches of n_steps (the last one may be
// shorter), so connection k belongs to multiplier k / n_steps and to output
//
//     out_base[k / n_steps] + out_idx[k]
//
// i.e. out_idx counts from the first output of its multiplier, which keeps it narrow. Here is what every compiler reads
// alike; nnet_sparse_dense.h shows the hardware, its neighbours the same in the words of other compilers.

namespace nnet {

struct sparse_dense_config {
    // Internal data type definitions
    typedef float accum_t; // wide enough for every partial sum
    typedef float weight_t;
    typedef float bias_t;
    typedef unsigned in_idx_t;
    typedef unsigned out_idx_t;
    typedef unsigned out_base_t;

    // Layer sizes
    static const unsigned n_in = 1;
    static const unsigned n_out = 1;
    static const unsigned n_connections = 1;

    // Resource reuse info: n_multipliers = ceil(n_connections / n_steps)
    static const unsigned n_multipliers = 1;
    static const unsigned n_steps = 1;
    static const unsigned window = 1; // outputs that one multiplier serves, at most

    // Product function to use
    template <class x_T, class w_T> using product = nnet::product::mult<x_T, w_T>;
};

// First connection after the stretch of a multiplier
template <typename CONFIG_T> constexpr unsigned stretch_end(unsigned multiplier) {
    return (multiplier + 1) * CONFIG_T::n_steps < CONFIG_T::n_connections ? (multiplier + 1) * CONFIG_T::n_steps
                                                                          : CONFIG_T::n_connections;
}

} // namespace nnet

#endif
