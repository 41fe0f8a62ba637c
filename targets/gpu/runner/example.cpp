// ./example FOLDER INPUT.bin ... : runs the model once on raw tensors, writes output_0.bin, ..., and prints where the
// time goes over 50 more runs. Build with:
//   g++ -O2 -std=c++11 -I/usr/local/cuda/include -o example example.cpp edgewright_cuda.cpp model_tables.cpp -lcuda
#include "edgewright_cuda.h"

#include <stdio.h>

#include <string>
#include <vector>

static int stop(const char *message) {
    fprintf(stderr, "%s\n", message);
    return 1;
}

int main(int count, char **arguments) {
    int in_count, out_count;
    const edgewright_cuda_tensor *ins = edgewright_cuda_inputs(&in_count);
    const edgewright_cuda_tensor *outs = edgewright_cuda_outputs(&out_count);
    if (count != 2 + in_count) return stop("usage: example FOLDER INPUT.bin ... (one file per input)");

    std::vector<std::vector<char>> storage;
    std::vector<const void *> inputs;
    std::vector<void *> outputs;
    for (int i = 0; i < in_count; i++) {
        storage.emplace_back(ins[i].bytes + 1);
        FILE *file = fopen(arguments[2 + i], "rb");
        if (!file) return stop("cannot open an input");
        const size_t got = fread(storage.back().data(), 1, ins[i].bytes + 1, file);
        fclose(file);
        if (got != ins[i].bytes) return stop("an input has the wrong size");
        inputs.push_back(storage.back().data());
    }
    for (int i = 0; i < out_count; i++) {
        storage.emplace_back(outs[i].bytes);
        outputs.push_back(storage.back().data());
    }

    edgewright_cuda_model *model;
    if (edgewright_cuda_open(arguments[1], 0, &model)) return stop(edgewright_cuda_error());
    if (edgewright_cuda_run(model, inputs.data(), outputs.data())) return stop(edgewright_cuda_error());
    for (int i = 0; i < out_count; i++) {
        FILE *file = fopen(("output_" + std::to_string(i) + ".bin").c_str(), "wb");
        if (!file) return stop("cannot write an output");
        const size_t wrote = fwrite(outputs[i], 1, outs[i].bytes, file);
        if (fclose(file) || wrote != outs[i].bytes) return stop("cannot write an output");
    }

    const int runs = 50, steps = edgewright_cuda_steps();
    std::vector<float> once(steps), total(steps);
    for (int run = 0; run < runs; run++) {
        if (edgewright_cuda_profile(model, inputs.data(), outputs.data(), once.data())) return stop(edgewright_cuda_error());
        for (int i = 0; i < steps; i++) total[i] += once[i] / runs;
    }
    float sum = 0;
    for (int i = 0; i < steps; i++) {
        printf("%9.4f ms  %s\n", total[i], edgewright_cuda_step_name(i));
        sum += total[i];
    }
    printf("%9.4f ms in all\n", sum);
    edgewright_cuda_close(model);
    return 0;
}
