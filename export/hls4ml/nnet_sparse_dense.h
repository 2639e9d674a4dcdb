#ifndef NNET_SPARSE_DENSE_H_
#define NNET_SPARSE_DENSE_H_

#include "hls_stream.h"
#include "nnet_sparse_dense_common.h"

// nnet_sparse_dense_common.h says what a layer computes and how its connections are cut. One stretch per multiplier:
//
//     step 0 .. n_steps-1 --> weight ROM ----------v
//     data[n_in] --> mux of n_steps or n_in --> multiplier --> running sum --> bank[out_idx]        x n_multipliers
//                                                                                  |
//     res[n_out] <-- cast <-- acc[n_out] = bias + the banks, by adders with constant wires <---------'
//
// Fully parallel (n_steps == 1) there is one multiplier per connection, no ROM, no mux and no bank: all indices are
// constants and what remains is one adder tree per output. With n_multipliers == 1 there is one multiplier for all.
//
// Cost: n_multipliers multipliers and accumulators, n_connections words of ROM, at most n_connections mux inputs and
// one adder per pair of (multiplier, output in its stretch), all independent of n_in * n_out.

namespace nnet {

// Partial sums of every multiplier's stretch: bank[m][i] belongs to output out_base[m] + i
template <class data_T, typename CONFIG_T>
void sparse_products(data_T data[CONFIG_T::n_in], typename CONFIG_T::weight_t weight[CONFIG_T::n_connections],
                     typename CONFIG_T::in_idx_t in_idx[CONFIG_T::n_connections],
                     typename CONFIG_T::out_idx_t out_idx[CONFIG_T::n_connections],
                     typename CONFIG_T::accum_t bank[CONFIG_T::n_multipliers][CONFIG_T::window]) {
    #pragma HLS INLINE

    typename CONFIG_T::accum_t sum[CONFIG_T::n_multipliers];
    typename CONFIG_T::out_idx_t previous[CONFIG_T::n_multipliers];
    #pragma HLS ARRAY_PARTITION variable=sum complete
    #pragma HLS ARRAY_PARTITION variable=previous complete

    // A multiplier needs n_steps inputs. While these are fewer than n_in they are laid out for it by constant wires and
    // picked by the step counter; otherwise it picks among all inputs by its index ROM. Either way the narrower mux.
    const bool by_step = CONFIG_T::n_steps <= CONFIG_T::n_in;
    data_T operand[CONFIG_T::n_multipliers][by_step ? CONFIG_T::n_steps : 1];
    #pragma HLS ARRAY_PARTITION variable=operand complete dim=0

    if (by_step) {
    Wires:
        for (unsigned k = 0; k < CONFIG_T::n_connections; k++) {
            #pragma HLS UNROLL
            operand[k / CONFIG_T::n_steps][by_step ? k % CONFIG_T::n_steps : 0] = data[in_idx[k]];
        }
    }

ClearBanks:
    for (unsigned m = 0; m < CONFIG_T::n_multipliers; m++) {
        #pragma HLS UNROLL
        for (unsigned i = 0; i < CONFIG_T::window; i++) {
            #pragma HLS UNROLL
            bank[m][i] = 0;
        }
    }

Steps:
    for (unsigned step = 0; step < CONFIG_T::n_steps; step++) {
        #pragma HLS PIPELINE II=1

    Multipliers:
        for (unsigned m = 0; m < CONFIG_T::n_multipliers; m++) {
            #pragma HLS UNROLL
            const unsigned k = m * CONFIG_T::n_steps + step;
            if (k < CONFIG_T::n_connections) {
                const data_T x = by_step ? operand[m][by_step ? step : 0] : data[in_idx[k]];
                const typename CONFIG_T::accum_t p =
                    CONFIG_T::template product<data_T, typename CONFIG_T::weight_t>::product(x, weight[k]);
                const bool same_output = step > 0 && out_idx[k] == previous[m];
                sum[m] = same_output ? typename CONFIG_T::accum_t(sum[m] + p) : p;
                previous[m] = out_idx[k];
                bank[m][out_idx[k]] = sum[m];
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
    #pragma HLS function_instantiate variable=weight,in_idx,out_idx,out_base,bias
    #pragma HLS ARRAY_RESHAPE variable=weight block factor=CONFIG_T::n_multipliers
    #pragma HLS ARRAY_RESHAPE variable=in_idx block factor=CONFIG_T::n_multipliers
    #pragma HLS ARRAY_RESHAPE variable=out_idx block factor=CONFIG_T::n_multipliers
    #pragma HLS ARRAY_PARTITION variable=out_base complete
    #pragma HLS ARRAY_PARTITION variable=bias complete
    if (CONFIG_T::n_steps == 1) {
        #pragma HLS PIPELINE II=1
    }

    typename CONFIG_T::accum_t bank[CONFIG_T::n_multipliers][CONFIG_T::window];
    typename CONFIG_T::accum_t acc[CONFIG_T::n_out];
    #pragma HLS ARRAY_PARTITION variable=bank complete dim=0
    #pragma HLS ARRAY_PARTITION variable=acc complete

    sparse_products<data_T, CONFIG_T>(data, weight, in_idx, out_idx, bank);

Bias:
    for (unsigned o = 0; o < CONFIG_T::n_out; o++) {
        #pragma HLS UNROLL
        acc[o] = (typename CONFIG_T::accum_t)bias[o];
    }

Combine:
    for (unsigned m = 0; m < CONFIG_T::n_multipliers; m++) {
        #pragma HLS UNROLL
        for (unsigned i = 0; i < CONFIG_T::window; i++) {
            #pragma HLS UNROLL
            if (i <= out_idx[stretch_end<CONFIG_T>(m) - 1]) { // a constant: the last output of the stretch
                acc[out_base[m] + i] += bank[m][i];
            }
        }
    }

Result:
    for (unsigned o = 0; o < CONFIG_T::n_out; o++) {
        #pragma HLS UNROLL
        res[o] = (res_T)acc[o]; // rounds and saturates as res_T says
    }
}

// A layer without any connection: its output is its bias
template <class data_T, class res_T, typename CONFIG_T>
void bias_dense(data_T data[CONFIG_T::n_in], res_T res[CONFIG_T::n_out], typename CONFIG_T::bias_t bias[CONFIG_T::n_out]) {
    #pragma HLS INLINE
    for (unsigned o = 0; o < CONFIG_T::n_out; o++) {
        #pragma HLS UNROLL
        res[o] = (res_T)(typename CONFIG_T::accum_t)bias[o];
    }
}

// io_stream: the packs of one sample are gathered, the layer runs, the result leaves in packs

template <class data_T, unsigned N>
void read_sample(hls::stream<data_T> &stream, typename data_T::value_type data[N]) {
    #pragma HLS INLINE
ReadPacks:
    for (unsigned i = 0; i < N / data_T::size; i++) {
        if (N / data_T::size > 1) {
            #pragma HLS PIPELINE
        }
        data_T pack = stream.read();
        for (unsigned j = 0; j < data_T::size; j++) {
            #pragma HLS UNROLL
            data[i * data_T::size + j] = pack[j];
        }
    }
}

template <class res_T, unsigned N>
void write_sample(typename res_T::value_type res[N], hls::stream<res_T> &stream) {
    #pragma HLS INLINE
WritePacks:
    for (unsigned i = 0; i < N / res_T::size; i++) {
        if (N / res_T::size > 1) {
            #pragma HLS PIPELINE
        }
        res_T pack;
        PRAGMA_DATA_PACK(pack)
        for (unsigned j = 0; j < res_T::size; j++) {
            #pragma HLS UNROLL
            pack[j] = res[i * res_T::size + j];
        }
        stream.write(pack);
    }
}

template <class data_T, class res_T, typename CONFIG_T>
void sparse_dense(hls::stream<data_T> &data_stream, hls::stream<res_T> &res_stream,
                  typename CONFIG_T::weight_t weight[CONFIG_T::n_connections],
                  typename CONFIG_T::in_idx_t in_idx[CONFIG_T::n_connections],
                  typename CONFIG_T::out_idx_t out_idx[CONFIG_T::n_connections],
                  typename CONFIG_T::out_base_t out_base[CONFIG_T::n_multipliers],
                  typename CONFIG_T::bias_t bias[CONFIG_T::n_out]) {
    typename data_T::value_type data[CONFIG_T::n_in];
    typename res_T::value_type res[CONFIG_T::n_out];
    #pragma HLS ARRAY_PARTITION variable=data complete
    #pragma HLS ARRAY_PARTITION variable=res complete

    read_sample<data_T, CONFIG_T::n_in>(data_stream, data);
    sparse_dense<typename data_T::value_type, typename res_T::value_type, CONFIG_T>(data, res, weight, in_idx, out_idx,
                                                                                    out_base, bias);
    write_sample<res_T, CONFIG_T::n_out>(res, res_stream);
}

template <class data_T, class res_T, typename CONFIG_T>
void bias_dense(hls::stream<data_T> &data_stream, hls::stream<res_T> &res_stream,
                typename CONFIG_T::bias_t bias[CONFIG_T::n_out]) {
    typename data_T::value_type data[CONFIG_T::n_in];
    typename res_T::value_type res[CONFIG_T::n_out];
    #pragma HLS ARRAY_PARTITION variable=res complete

    read_sample<data_T, CONFIG_T::n_in>(data_stream, data);
    bias_dense<typename data_T::value_type, typename res_T::value_type, CONFIG_T>(data, res, bias);
    write_sample<res_T, CONFIG_T::n_out>(res, res_stream);
}

} // namespace nnet

#endif
