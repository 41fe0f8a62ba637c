/* What the compiler prints about one model into model_tables.cpp, and edgewright_cuda.cpp reads. */
#ifndef EDGEWRIGHT_CUDA_TABLES_H
#define EDGEWRIGHT_CUDA_TABLES_H

#include "edgewright_cuda.h"

enum edgewright_space { EDGEWRIGHT_WEIGHTS, EDGEWRIGHT_WORK, EDGEWRIGHT_INPUT, EDGEWRIGHT_OUTPUT };

struct edgewright_argument {
    edgewright_space space;
    int index;     /* which input or output */
    size_t offset; /* bytes */
};

struct edgewright_step {
    const char *name;
    int kernel;
    unsigned blocks, threads;
    int first_argument, arguments;
};

struct edgewright_tables {
    const char *arch;
    int major, minor; /* of the architecture */
    const char *const *kernels;
    int kernel_count;
    const edgewright_step *steps;
    int step_count;
    const edgewright_argument *arguments;
    const edgewright_cuda_tensor *inputs;
    int input_count;
    const edgewright_cuda_tensor *outputs;
    int output_count;
    size_t weight_bytes, workspace_bytes;
    unsigned long long weight_check; /* FNV-1a of weights.bin, 64 bits, by words of 8 bytes */
    const unsigned char *cubin;
    size_t cubin_bytes; /* 0: model.cubin is read from the folder */
};

extern const edgewright_tables edgewright_model;

#endif
