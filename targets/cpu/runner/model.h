/* A model in memory, and how compiled code takes its arguments. Internal to edgewright.c. */
#ifndef EW_MODEL_H
#define EW_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "edgewright.h"
#include "file.h"
#include "threads.h"

/* DLPack's DLTensor, and the tagged values of TVM's FFI (c_api.h). */
typedef struct {
    void *data;
    struct {
        int32_t type, id;
    } device;
    int32_t rank;
    struct {
        uint8_t code, bits;
        uint16_t lanes;
    } dtype;
    int64_t *shape, *strides;
    uint64_t byte_offset;
} dl_tensor;
_Static_assert(sizeof(dl_tensor) == 48 && offsetof(dl_tensor, shape) == 24, "layout of DLTensor");

typedef struct {
    int32_t type;
    uint32_t padding;
    union {
        int64_t integer;
        void *pointer;
    };
} any_value;
_Static_assert(sizeof(any_value) == 16, "layout of TVMFFIAny");

enum { ANY_NONE = 0, ANY_INT = 1, ANY_TENSOR = 7, DEVICE_CPU = 1 };
typedef int (*entry_function)(void *self, const any_value *arguments, int32_t count, any_value *result);

typedef struct {
    ew_tensor about;
    int64_t strides[EW_RANK_MAX];
    dl_tensor tensor;
} end;

struct ew_model {
    void *library;
    entry_function entry;
    ew_pool *pool;
    char arch[32];
    ew_identity library_file, weights_file; /* model.so and weights.bin as model.txt describes them */
    int64_t workspace_bytes;
    bool integer; /* some step turns real values into integers, which nan has none of */
    int inputs, outputs, steps;
    end *ends; /* inputs, then outputs */
    ew_step *step;
    ew_file weights;
    void *workspace;
    int64_t weights_shape, workspace_shape, one;
    dl_tensor weights_tensor, workspace_tensor;
    any_value *arguments;
};

/* Reads folder/model.txt, whose first line has to name its SHA-256, and checks that this processor can run what it describes. */
ew_status ew_read_text(ew_model *model, const char *folder);

/* Keeps a text for ew_error; returns status. */
__attribute__((format(printf, 2, 3))) ew_status ew_fail(ew_status status, const char *format, ...);

#endif
