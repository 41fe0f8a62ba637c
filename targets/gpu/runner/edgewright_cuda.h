/* Runs a model that Edgewright compiled for an NVIDIA GPU. Needs CUDA's driver (libcuda) and nothing else:
 *
 *   edgewright_cuda_model *model;
 *   if (edgewright_cuda_open("folder/of/weights.bin", 0, &model)) { puts(edgewright_cuda_error()); return 1; }
 *   edgewright_cuda_run(model, inputs, outputs);   // one pointer to host memory per tensor, row-major
 *   edgewright_cuda_close(model);
 *
 * A model belongs to one thread at a time. Functions that return int give 0, or -1 with a message in
 * edgewright_cuda_error().
 */
#ifndef EDGEWRIGHT_CUDA_H
#define EDGEWRIGHT_CUDA_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct edgewright_cuda_model edgewright_cuda_model;

typedef struct {
    const char *name;
    const char *dtype; /* "float32", "int8", ... */
    int rank;
    const long *shape;
    size_t bytes;
} edgewright_cuda_tensor;

/* The model's inputs and outputs, in the order of edgewright_cuda_run. */
const edgewright_cuda_tensor *edgewright_cuda_inputs(int *count);
const edgewright_cuda_tensor *edgewright_cuda_outputs(int *count);

/* Loads the kernels and the weights onto a device. `folder` holds weights.bin and, where the build found no CUDA
 * compiler for this architecture, model.cubin. */
int edgewright_cuda_open(const char *folder, int device, edgewright_cuda_model **model);

/* One inference: copies inputs to the device, launches the kernels in order, copies outputs back, waits. */
int edgewright_cuda_run(edgewright_cuda_model *model, const void *const *inputs, void *const *outputs);

/* The kernels of one inference: their number, and the name of each. */
int edgewright_cuda_steps(void);
const char *edgewright_cuda_step_name(int step);

/* As edgewright_cuda_run, with the milliseconds of each kernel by the device's events. */
int edgewright_cuda_profile(
    edgewright_cuda_model *model, const void *const *inputs, void *const *outputs, float *milliseconds);

/* Frees everything; a null pointer is fine. */
void edgewright_cuda_close(edgewright_cuda_model *model);

/* The last error of this process, one line; empty when there was none. */
const char *edgewright_cuda_error(void);

#ifdef __cplusplus
}
#endif
#endif
