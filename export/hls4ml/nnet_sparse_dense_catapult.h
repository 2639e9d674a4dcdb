#ifndef NNET_SPARSE_DENSE_H_
#define NNET_SPARSE_DENSE_H_

#include "ac_channel.h"
#include "nnet_sparse_dense_common.h"

// nnet_sparse_dense.h in the words of Catapult (ac types, its own pragmas); the picture and the cost are over there.

namespace nnet {

// Partial sums of every multiplier's stretch: bank[m][i] belongs to output out_base[m] + i
template <class data_T, typename CONFIG_T>
void sparse_products(data_T data[CONFIG_T::n_in], typename CONFIG_T::weight_t weight[CONFIG_T::n_connections],
                     typename CONFIG_T::in_idx_t in_idx[CONFIG_T::n_connections],
                     typename CONFIG_T::out_idx_t out_idx[CONFIG_T::n_connections],
                     typename CONFIG_T::accum_t bank[CONFIG_T::n_multipliers][CONFIG_T::window]) {
    typename CONFIG_T::accum_t sum[CONFIG_T::n_multipliers];
    typename CONFIG_T::out_idx_t previous[CONFIG_T::n_multipliers];

    // The narrower mux: among the n_steps inputs of this multiplier, or among all n_in
    constexpr bool by_step = CONFIG_T::n_steps <= CONFIG_T::n_in;
    data_T operand[CONFIG_T::n_multipliers][by_step ? CONFIG_T::n_steps : 1];

    if (by_step) {
    Wires:
        #pragma hls_unroll yes
        for (unsigned k = 0; k < CONFIG_T::n_connections; k++) {
            operand[k / CONFIG_T::n_steps][by_step ? k % CONFIG_T::n_steps : 0] = data[in_idx[k].to_uint()];
        }
    }

ClearBanks:
    #pragma hls_unroll yes
    for (unsigned m = 0; m < CONFIG_T::n_multipliers; m++) {
        #pragma hls_unroll yes
        for (unsigned i = 0; i < CONFIG_T::window; i++) {
            bank[m][i] = 0;
        }
    }

Steps:
    #pragma hls_pipeline_init_interval 1
    for (unsigned step = 0; step < CONFIG_T::n_steps; step++) {
    Multipliers:
        #pragma hls_unroll yes
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
                  typename CONFIG_T::weight_t weight[CONFIG_T::n_connections],
                  typename CONFIG_T::in_idx_t in_idx[CONFIG_T::n_connections],
                  typename CONFIG_T::out_idx_t out_idx[CONFIG_T::n_connections],
                  typename CONFIG_T::out_base_t out_base[CONFIG_T::n_multipliers],
                  typename CONFIG_T::bias_t bias[CONFIG_T::n_out]) {
    typename CONFIG_T::accum_t bank[CONFIG_T::n_multipliers][CONFIG_T::window];
    typename CONFIG_T::accum_t acc[CONFIG_T::n_out];

    sparse_products<data_T, CONFIG_T>(data, weight, in_idx, out_idx, bank);

Bias:
    #pragma hls_unroll yes
    for (unsigned o = 0; o < CONFIG_T::n_out; o++) {
        acc[o] = (typename CONFIG_T::accum_t)bias[o];
    }

Combine:
    #pragma hls_unroll yes
    for (unsigned m = 0; m < CONFIG_T::n_multipliers; m++) {
        #pragma hls_unroll yes
        for (unsigned i = 0; i < CONFIG_T::window; i++) {
            if (i <= out_idx[stretch_end<CONFIG_T>(m) - 1].to_uint()) { // a constant: the last output of the stretch
                acc[out_base[m].to_uint() + i] += bank[m][i];
            }
        }
    }

Result:
    #pragma hls_unroll yes
    for (unsigned o = 0; o < CONFIG_T::n_out; o++) {
        res[o] = (res_T)acc[o]; // rounds and saturates as res_T says
    }
}

// A layer without any connection: its output is its bias
template <class data_T, class res_T, typename CONFIG_T>
void bias_dense(data_T data[CONFIG_T::n_in], res_T res[CONFIG_T::n_out],
                typename CONFIG_T::bias_t bias[CONFIG_T::n_out]) {
    #pragma hls_unroll yes
    for (unsigned o = 0; o < CONFIG_T::n_out; o++) {
        res[o] = (res_T)(typename CONFIG_T::accum_t)bias[o];
    }
}

// io_stream: the packs of one sample are gathered, the layer runs, the result leaves in packs

template <class data_T, unsigned N> void read_sample(ac_channel<data_T> &in, typename data_T::value_type data[N]) {
ReadPacks:
    #pragma hls_pipeline_init_interval 1
    for (unsigned i = 0; i < N / data_T::size; i++) {
        data_T pack = in.read();
        #pragma hls_unroll yes
        for (unsigned j = 0; j < data_T::size; j++) {
            data[i * data_T::size + j] = pack[j];
        }
    }
}

template <class res_T, unsigned N> void write_sample(typename res_T::value_type res[N], ac_channel<res_T> &out) {
WritePacks:
    #pragma hls_pipeline_init_interval 1
    for (unsigned i = 0; i < N / res_T::size; i++) {
        res_T pack;
        #pragma hls_unroll yes
        for (unsigned j = 0; j < res_T::size; j++) {
            pack[j] = res[i * res_T::size + j];
        }
        out.write(pack);
    }
}

template <class data_T, class res_T, typename CONFIG_T>
void sparse_dense(ac_channel<data_T> &data_stream, ac_channel<res_T> &res_stream,
                  typename CONFIG_T::weight_t weight[CONFIG_T::n_connections],
                  typename CONFIG_T::in_idx_t in_idx[CONFIG_T::n_connections],
                  typename CONFIG_T::out_idx_t out_idx[CONFIG_T::n_connections],
                  typename CONFIG_T::out_base_t out_base[CONFIG_T::n_multipliers],
                  typename CONFIG_T::bias_t bias[CONFIG_T::n_out]) {
    typename data_T::value_type data[CONFIG_T::n_in];
    typename res_T::value_type res[CONFIG_T::n_out];

    read_sample<data_T, CONFIG_T::n_in>(data_stream, data);
    sparse_dense<typename data_T::value_type, typename res_T::value_type, CONFIG_T>(data, res, weight, in_idx, out_idx,
                                                                                    out_base, bias);
    write_sample<res_T, CONFIG_T::n_out>(res, res_stream);
}

template <class data_T, class res_T, typename CONFIG_T>
void bias_dense(ac_channel<data_T> &data_stream, ac_channel<res_T> &res_stream,
                typename CONFIG_T::bias_t bias[CONFIG_T::n_out]) {
    typename data_T::value_type data[CONFIG_T::n_in];
    typename res_T::value_type res[CONFIG_T::n_out];

    read_sample<data_T, CONFIG_T::n_in>(data_stream, data);
    bias_dense<typename data_T::value_type, typename res_T::value_type, CONFIG_T>(data, res, bias);
    write_sample<res_T, CONFIG_T::n_out>(res, res_stream);
}

} // namespace nnet

#endif
