// Test bench of the generated C++ (csim, cosim): runs every sample of tb_data/tb_input_features.dat and compares every
// output with tb_data/tb_output_predictions.dat, exactly. Returns 0 only when all agree; a missing, empty or short
// golden file is a failure too. The vendor tools take a return value other than 0 as a failed simulation.

#include <cstdlib>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "firmware/@project@.h"
#include "firmware/nnet_utils/nnet_helpers.h"

namespace nnet {
bool trace_enabled = false;
std::map<std::string, void *> *trace_outputs = NULL;
size_t trace_type_size = sizeof(double);
} // namespace nnet

static const size_t N_IN = @n_in@;
static const size_t N_OUT = @n_out@;

// One line of numbers; double holds every value of a fixed-point type of up to 53 bits exactly
static std::vector<double> read_numbers(const std::string &line) {
    std::istringstream words(line);
    std::vector<double> numbers;
    std::string word;
    while (words >> word) {
        numbers.push_back(atof(word.c_str()));
    }
    return numbers;
}

int main() {
    std::ifstream inputs("tb_data/tb_input_features.dat");
    std::ifstream golden("tb_data/tb_output_predictions.dat");
#ifdef RTL_SIM
    std::ofstream log("tb_data/rtl_cosim_results.log");
#else
    std::ofstream log("tb_data/csim_results.log");
#endif
    log << std::setprecision(17);

    unsigned n_samples = 0, n_mismatches = 0;
    std::string input_line, golden_line;
    while (std::getline(inputs, input_line)) {
        std::vector<double> features = read_numbers(input_line);
        std::vector<double> expected;
        if (std::getline(golden, golden_line)) {
            expected = read_numbers(golden_line);
        }
        if (features.size() != N_IN || expected.size() != N_OUT) {
            std::cout << "ERROR: sample " << n_samples << " has " << features.size() << " inputs and " << expected.size()
                      << " golden outputs, not " << N_IN << " and " << N_OUT << std::endl;
            return 1;
        }

        @input@;
        @output@;
        nnet::convert_data<double, input_t, N_IN>(features.data(), @input_name@);
        @project@(@input_name@, @output_name@);
        double outputs[N_OUT];
        nnet::convert_data<result_t, double, N_OUT>(@output_name@, outputs);

        for (size_t i = 0; i < N_OUT; i++) {
            log << outputs[i] << (i + 1 < N_OUT ? " " : "\n");
            if (outputs[i] != expected[i] && n_mismatches++ == 0) {
                std::cout << std::setprecision(17) << "ERROR: sample " << n_samples << ", output " << i << ": got " << outputs[i]
                          << ", golden " << expected[i] << std::endl;
            }
        }
        n_samples++;
    }
    if (std::getline(golden, golden_line)) {
        std::cout << "ERROR: more golden outputs than samples" << std::endl;
        return 1;
    }
    std::cout << n_samples << " samples, " << n_mismatches << " mismatches" << std::endl;
    return n_samples == 0 || n_mismatches != 0;
}
