#ifndef NNET_SPARSE_DENSE_H_
#define NNET_SPARSE_DENSE_H_

#include "nnet_sparse_dense_common.h"

// nnet_sparse_dense.h in the words of Intel HLS (ac types, its own pragmas); the picture and the cost are over there.

namespace nnet {

// Partial sums of every multiplier's stretch: bank[m][i] belongs to output out_base[m] + i
template <class data_T, typename CONFIG_T>
void sparse_products(data_T data[CONFIG_T::n_in], const typename CONFIG_T::weight_t weight[CONFIG_T::n_connections],
                     const typename CONFIG_T::in_idx_t in_idx[CONFIG_T::n_connections],
                     const typename CONFIG_T::out_idx_t out_idx[CONFIG_T::n_connections],
                     typename CONFIG_T::accum_t bank[CONFIG_T::n_multipliers][CONFIG_T::window]) {
    hls_register typename CONFIG_T::accum_t sum[CONFIG_T::n_multipliers];
    hls_register typename CONFIG_T::out_idx_t previous[CONFIG_T::n_multipliers];

    // The narrower mux: among the n_steps inputs of this multiplier, or among all n_in
    constexpr bool by_step = CONFIG_T::n_steps <= CONFIG_T::n_in;
    hls_register data_T operand[CONFIG_T::n_multipliers][by_step ? CONFIG_T::n_steps : 1];

    if (by_step) {
    Wires:
        #pragma unroll
        for (unsigned k = 0; k < CONFIG_T::n_connections; k++) {
            operand[k / CONFIG_T::n_steps][by_step ? k % CONFIG_T::n_steps : 0] = data[in_idx[k].to_uint()];
        }
    }

ClearBanks:
    #pragma unroll
    for (unsigned m = 0; m < CONFIG_T::n_multipliers; m++) {
        #pragma unroll
        for (unsigned i = 0; i < CONFIG_T::window; i++) {
            bank[m][i] = 0;
        }
    }

Steps:
    #pragma ii 1
    #pragma nofusion
    #pragma speculated_iterations 0
    for (unsigned step = 0; step < CONFIG_T::n_steps; step++) {
    Multipliers:
        #pragma unroll
        for (unsigned m = 0; m < CONFIG_T::n_multipliers; m++) {
            const unsigned k = m * CONFIG_T::n_steps + step;
            if (k < CONFIG_T::n_connections) {
                const data_T x = by_step ? operand[m][by_step ? step : 0] : data[in_idx[k].to_uint()];
                const typename CONFIG_T::accum_t p =
                    CONFIG_T::template product<data_T, typename CONFIG_T::weight_t>::product(x, weight[k]);
                const bool same_output = step > 0 && out_idx[k] == previous[m];
                sum[m] = same_output ? typename CONFIG_T::accum_t(sum[m] + p) : p;
                previous[m] = out_idx[k];
                bank[m][out_idx[k].to_uint()] = sum[m];
            }
        }
    }
}

template <class data_T, class res_T, typename CONFIG_T>
void sparse_dense(data_T data[CONFIG_T::n_in], res_T res[CONFIG_T::n_out],
                  const typename CONFIG_T::weight_t weight[CONFIG_T::n_connections],
                  const typename CONFIG_T::in_idx_t in_idx[CONFIG_T::n_connections],
                  const typename CONFIG_T::out_idx_t out_idx[CONFIG_T::n_connections],
                  const typename CONFIG_T::out_base_t out_base[CONFIG_T::n_multipliers],
                  const typename CONFIG_T::bias_t bias[CONFIG_T::n_out]) {
    hls_register typename CONFIG_T::accum_t bank[CONFIG_T::n_multipliers][CONFIG_T::window];
    hls_register typename CONFIG_T::accum_t acc[CONFIG_T::n_out];

    sparse_products<data_T, CONFIG_T>(data, weight, in_idx, out_idx, bank);

Bias:
    #pragma unroll
    for (unsigned o = 0; o < CONFIG_T::n_out; o++) {
        acc[o] = (typename CONFIG_T::accum_t)bias[o];
    }

Combine:
    #pragma unroll
    for (unsigned m = 0; m < CONFIG_T::n_multipliers; m++) {
        #pragma unroll
        for (unsigned i = 0; i < CONFIG_T::window; i++) {
            if (i <= out_idx[stretch_end<CONFIG_T>(m) - 1].to_uint()) { // a constant: the last output of the stretch
                acc[out_base[m].to_uint() + i] += bank[m][i];
            }
        }
    }

Result:
    #pragma unroll
    for (unsigned o = 0; o < CONFIG_T::n_out; o++) {
        res[o] = (res_T)acc[o]; // rounds and saturates as res_T says
    }
}

// A layer without any connection: its output is its bias
template <class data_T, class res_T, typename CONFIG_T>
void bias_dense(data_T data[CONFIG_T::n_in], res_T res[CONFIG_T::n_out],
                const typename CONFIG_T::bias_t bias[CONFIG_T::n_out]) {
    #pragma unroll
    for (unsigned o = 0; o < CONFIG_T::n_out; o++) {
        res[o] = (res_T)(typename CONFIG_T::accum_t)bias[o];
    }
}

// io_stream: the packs of one sample are gathered, the layer runs, the result leaves in packs

template <class data_T, unsigned N> void read_sample(stream<data_T> &in, typename data_T::value_type data[N]) {
ReadPacks:
    #pragma ii 1
    for (unsigned i = 0; i < N / data_T::size; i++) {
        data_T pack = in.read();
        #pragma unroll
        for (unsigned j = 0; j < data_T::size; j++) {
            data[i * data_T::size + j] = pack[j];
        }
    }
}

template <class res_T, unsigned N> void write_sample(typename res_T::value_type res[N], stream<res_T> &out) {
WritePacks:
    #pragma ii 1
    for (unsigned i = 0; i < N / res_T::size; i++) {
        res_T pack;
        #pragma unroll
        for (unsigned j = 0; j < res_T::size; j++) {
            pack[j] = res[i * res_T::size + j];
        }
        out.write(pack);
    }
}

template <class data_T, class res_T, typename CONFIG_T>
void sparse_dense(stream<data_T> &data_stream, stream<res_T> &res_stream,
                  const typename CONFIG_T::weight_t weight[CONFIG_T::n_connections],
                  const typename CONFIG_T::in_idx_t in_idx[CONFIG_T::n_connections],
                  const typename CONFIG_T::out_idx_t out_idx[CONFIG_T::n_connections],
                  const typename CONFIG_T::out_base_t out_base[CONFIG_T::n_multipliers],
                  const typename CONFIG_T::bias_t bias[CONFIG_T::n_out]) {
    hls_register typename data_T::value_type data[CONFIG_T::n_in];
    hls_register typename res_T::value_type res[CONFIG_T::n_out];

    read_sample<data_T, CONFIG_T::n_in>(data_stream, data);
    sparse_dense<typename data_T::value_type, typename res_T::value_type, CONFIG_T>(data, res, weight, in_idx, out_idx,
                                                                                    out_base, bias);
    write_sample<res_T, CONFIG_T::n_out>(res, res_stream);
}

template <class data_T, class res_T, typename CONFIG_T>
void bias_dense(stream<data_T> &data_stream, stream<res_T> &res_stream,
                const typename CONFIG_T::bias_t bias[CONFIG_T::n_out]) {
    hls_register typename data_T::value_type data[CONFIG_T::n_in];
    hls_register typename res_T::value_type res[CONFIG_T::n_out];

    read_sample<data_T, CONFIG_T::n_in>(data_stream, data);
    bias_dense<typename data_T::value_type, typename res_T::value_type, CONFIG_T>(data, res, bias);
    write_sample<res_T, CONFIG_T::n_out>(res, res_stream);
}

} // namespace nnet

#endif
