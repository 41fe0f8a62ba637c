/* Runs a model that `edgewright compile` made for a CPU. Needs only a C compiler, libdl and pthreads.
 *
 *     ew_model *model = ew_open("folder", 2);               // the folder with model.so, weights.bin and model.txt
 *     if (!model) { fprintf(stderr, "%s\n", ew_error()); return 1; }
 *     ew_set_input(model, 0, pixels, sizeof pixels);
 *     if (ew_run(model) != EW_OK) ...
 *     const float *logits = ew_output_data(model, 0);       // as ew_output(model, 0) describes it
 *     ew_close(model);
 *
 * Functions return EW_OK or a reason; ew_error() then has the text, for this thread, until its next failure. A model is
 * used by one thread at a time; different models may run at the same time. Link with -ldl -lpthread, and a program with
 * -rdynamic: model.so calls TVMFFIErrorSetRaisedFromCStrParts, which edgewright.c defines. ew_open runs code of the
 * folder; its SHA-256 detects damage, not malice: open only what you would execute.
 */
#ifndef EDGEWRIGHT_H
#define EDGEWRIGHT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ew_model ew_model;

typedef enum {
    EW_OK = 0,
    EW_BAD_ARTIFACT = 1, /* a file is missing, damaged or of another version */
    EW_WRONG_CPU = 2,    /* compiled for another architecture, or for features that this processor lacks */
    EW_BAD_INPUT = 3,    /* an argument or input does not fit */
    EW_NO_MEMORY = 4,    /* memory or threads ran out */
    EW_FAILED = 5        /* the model's code refused */
} ew_status;

enum { EW_RANK_MAX = 8, EW_NAME_MAX = 80, EW_THREADS_MAX = 256 };

/* An input or output, in C order. Integers of an output with scale != 0 represent scale * (integer - zero_point). */
typedef struct {
    char name[EW_NAME_MAX];
    char dtype[12]; /* float32, int8, uint8, int16, int32, int64 ... */
    int rank;
    int64_t shape[EW_RANK_MAX];
    size_t bytes;
    double scale;
    int zero_point;
    int bounded; /* an integer input may hold only low ... high: indices of a table, 0 and 1 of a mask */
    int64_t low, high;
} ew_tensor;

/* One step of the program. macs: multiply-accumulates; bytes: weights and activations that it touches. */
typedef struct {
    char kind[EW_NAME_MAX];
    int64_t macs;
    int64_t bytes;
} ew_step;

/* Reads model.txt, compares the SHA-256 of all three files with it, loads model.so and checks that it takes
 * what model.txt describes, in this order. threads: 1 ... EW_THREADS_MAX, or 0 for one per processor that this process may
 * use. NULL on failure. */
ew_model *ew_open(const char *folder, int threads);
void ew_close(ew_model *model); /* ends its threads; NULL is allowed */

ew_status ew_set_threads(ew_model *model, int threads);
int ew_threads(const ew_model *model);

int ew_input_count(const ew_model *model);
int ew_output_count(const ew_model *model);
int ew_step_count(const ew_model *model);
const ew_tensor *ew_input(const ew_model *model, int index); /* NULL beyond the count, as below */
const ew_tensor *ew_output(const ew_model *model, int index);
const ew_step *ew_step_info(const ew_model *model, int index);
const char *ew_arch(const ew_model *model);

/* Copies an input in. EW_BAD_INPUT when `bytes` is not the tensor's size, an integer is outside of low ... high, or an
 * integer model gets nan or infinity. */
ew_status ew_set_input(ew_model *model, int index, const void *data, size_t bytes);

/* The model's own buffers, 64-byte aligned, valid until ew_close: to fill an input in place and to read outputs.
 * Then nan is not detected, and an index beyond `high` reads memory that is not the model's. */
void *ew_input_data(ew_model *model, int index);
const void *ew_output_data(const ew_model *model, int index);

ew_status ew_run(ew_model *model);

/* Runs steps first <= i < last on the present workspace; running all of them one by one in order equals ew_run. */
ew_status ew_run_steps(ew_model *model, int first, int last);

const char *ew_error(void);      /* never NULL */
ew_status ew_error_status(void); /* the reason of this thread's last failure */

#ifdef __cplusplus
}
#endif
#endif
