#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

enum { ALIGNMENT = 64, EXPONENT = 0x7f800000, INTEGER = 0, BOOLEAN = 6 }; /* kinds: DLDataTypeCode of DLPack */

static _Thread_local char error_text[1024] = "";
static _Thread_local ew_status error_status = EW_OK;

ew_status ew_fail(ew_status status, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(error_text, sizeof error_text, format, list);
    va_end(list);
    return error_status = status;
}

const char *ew_error(void)
{
    return error_text;
}

ew_status ew_error_status(void)
{
    return error_status;
}

/* Called by model.so when an argument is not what it was compiled for. */
__attribute__((visibility("default"))) void TVMFFIErrorSetRaisedFromCStrParts(const char *kind, const char **parts,
                                                                              int32_t count)
{
    size_t used = (size_t)snprintf(error_text, sizeof error_text, "%s: ", kind ? kind : "error");
    for (int32_t i = 0; i < count && used < sizeof error_text - 1; i++)
        if (parts[i])
            used += (size_t)snprintf(error_text + used, sizeof error_text - used, "%s", parts[i]);
    error_status = EW_FAILED;
}

static ew_status load_library(ew_model *model, const char *folder)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s%s/model.so", strchr(folder, '/') ? "" : "./", folder);
    ew_file file;
    ew_status status = ew_map_checked_file(&file, folder, "model.so", &model->library_file);
    ew_unmap_file(&file);
    if (status != EW_OK) /* before the loader sees it, which dies of damage */
        return status;
    model->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!model->library)
        return ew_fail(EW_BAD_ARTIFACT, "%s", dlerror());
    static const struct {
        const char *name;
        void (*function)(void);
    } given[] = {
        {"__TVMBackendParallelLaunch", (void (*)(void))ew_parallel_launch},
        {"__TVMBackendAllocWorkspace", (void (*)(void))ew_alloc_workspace},
        {"__TVMBackendFreeWorkspace", (void (*)(void))ew_free_workspace},
    };
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
        void (**place)(void) = (void (**)(void))dlsym(model->library, given[i].name);
        if (place) /* a model that does not use it has no such variable */
            *place = given[i].function;
    }
    *(void **)&model->entry = dlsym(model->library, "__tvm_ffi_edgewright_run");
    return model->entry ? EW_OK : ew_fail(EW_BAD_ARTIFACT, "%s has no entry function", path);
}

static void *zeroed(size_t bytes)
{
    void *memory = NULL;
    size_t size = (bytes + ALIGNMENT) / ALIGNMENT * ALIGNMENT;
    if (posix_memalign(&memory, ALIGNMENT, size) != 0)
        return NULL;
    return memset(memory, 0, size);
}

static dl_tensor bytes_tensor(void *data, int64_t *size, int64_t *one)
{
    *one = 1;
    return (dl_tensor){data, {DEVICE_CPU, 0}, 1, {1, 8, 1}, size, one, 0};
}

/* Arguments of the entry function on memory that is not there yet, and whether the compiled code takes them. */
static ew_status describe_arguments(ew_model *model, const char *folder)
{
    static _Alignas(ALIGNMENT) char nothing[ALIGNMENT]; /* no step runs, so it is never read */
    int count = model->inputs + model->outputs;
    model->arguments = calloc((size_t)count + 4, sizeof *model->arguments);
    if (!model->arguments)
        return ew_fail(EW_NO_MEMORY, "out of memory");
    model->weights_shape = model->weights_file.bytes > 0 ? model->weights_file.bytes : 1;
    model->workspace_shape = model->workspace_bytes > 0 ? model->workspace_bytes : 1;
    model->weights_tensor = bytes_tensor(nothing, &model->weights_shape, &model->one);
    model->workspace_tensor = bytes_tensor(nothing, &model->workspace_shape, &model->one);
    model->arguments[0].type = model->arguments[1].type = ANY_INT;
    model->arguments[2] = (any_value){.type = ANY_TENSOR, .pointer = &model->weights_tensor};
    model->arguments[3] = (any_value){.type = ANY_TENSOR, .pointer = &model->workspace_tensor};
    for (int i = 0; i < count; i++) {
        model->ends[i].tensor.data = nothing;
        model->arguments[4 + i] = (any_value){.type = ANY_TENSOR, .pointer = &model->ends[i].tensor};
    }
    ew_status status = ew_run_steps(model, 0, 0);
    for (int i = 0; i < count; i++)
        model->ends[i].tensor.data = NULL;
    if (status == EW_OK)
        return EW_OK;
    return ew_fail(EW_BAD_ARTIFACT, "%s/model.txt and model.so are not of the same model: copy both again", folder);
}

static ew_status allocate(ew_model *model)
{
    model->workspace = zeroed((size_t)model->workspace_bytes);
    if (!model->workspace)
        return ew_fail(EW_NO_MEMORY, "out of memory for a workspace of %lld bytes", (long long)model->workspace_bytes);
    model->workspace_tensor.data = model->workspace;
    if (model->weights.data)
        model->weights_tensor.data = model->weights.data;
    for (int i = 0; i < model->inputs + model->outputs; i++) {
        end *one = &model->ends[i];
        one->tensor.data = zeroed(one->about.bytes);
        if (!one->tensor.data)
            return ew_fail(EW_NO_MEMORY, "out of memory for '%s'", one->about.name);
    }
    return EW_OK;
}

ew_model *ew_open(const char *folder, int threads)
{
    ew_model *model = calloc(1, sizeof *model);
    if (!model) {
        ew_fail(EW_NO_MEMORY, "out of memory");
        return NULL;
    }
    if (ew_read_text(model, folder) == EW_OK &&
        ew_map_checked_file(&model->weights, folder, "weights.bin", &model->weights_file) == EW_OK &&
        load_library(model, folder) == EW_OK && describe_arguments(model, folder) == EW_OK && allocate(model) == EW_OK &&
        ew_set_threads(model, threads) == EW_OK)
        return model;
    ew_close(model);
    return NULL;
}

void ew_close(ew_model *model)
{
    if (!model)
        return;
    ew_pool_close(model->pool);
    for (int i = 0; i < model->inputs + model->outputs; i++)
        free(model->ends[i].tensor.data);
    ew_unmap_file(&model->weights);
    if (model->library)
        dlclose(model->library);
    free(model->ends);
    free(model->step);
    free(model->workspace);
    free(model->arguments);
    free(model);
}

ew_status ew_set_threads(ew_model *model, int threads)
{
    cpu_set_t mine;
    if (threads == 0)
        threads = sched_getaffinity(0, sizeof mine, &mine) == 0 ? CPU_COUNT(&mine) : 1;
    if (threads < 1 || threads > EW_THREADS_MAX)
        return ew_fail(EW_BAD_INPUT, "%d threads: 1 to %d are possible", threads, EW_THREADS_MAX);
    if (model->pool && ew_pool_threads(model->pool) == threads)
        return EW_OK;
    ew_pool *made = ew_pool_open(threads);
    if (!made)
        return ew_fail(EW_NO_MEMORY, "%d threads cannot be started: %s", threads, strerror(errno));
    ew_pool_close(model->pool);
    model->pool = made;
    return EW_OK;
}

int ew_threads(const ew_model *model)
{
    return ew_pool_threads(model->pool);
}

int ew_input_count(const ew_model *model)
{
    return model->inputs;
}

int ew_output_count(const ew_model *model)
{
    return model->outputs;
}

int ew_step_count(const ew_model *model)
{
    return model->steps;
}

const ew_tensor *ew_input(const ew_model *model, int index)
{
    return index >= 0 && index < model->inputs ? &model->ends[index].about : NULL;
}

const ew_tensor *ew_output(const ew_model *model, int index)
{
    return index >= 0 && index < model->outputs ? &model->ends[model->inputs + index].about : NULL;
}

const ew_step *ew_step_info(const ew_model *model, int index)
{
    return index >= 0 && index < model->steps ? &model->step[index] : NULL;
}

const char *ew_arch(const ew_model *model)
{
    return model->arch;
}

void *ew_input_data(ew_model *model, int index)
{
    return index >= 0 && index < model->inputs ? model->ends[index].tensor.data : NULL;
}

const void *ew_output_data(const ew_model *model, int index)
{
    return index >= 0 && index < model->outputs ? model->ends[model->inputs + index].tensor.data : NULL;
}

/* Element i of integers in C order; what does not fit 64 signed bits counts as the largest that does. */
static int64_t element(const void *data, const dl_tensor *tensor, size_t i)
{
    uint64_t value = 0;
    size_t bits = tensor->dtype.bits;
    memcpy(&value, (const char *)data + i * (bits / 8), bits / 8); /* little-endian, as all processors that we know */
    if (tensor->dtype.code == INTEGER && bits < 64 && value >> (bits - 1))
        return (int64_t)(value | ~(uint64_t)0 << bits);
    return tensor->dtype.code != INTEGER && value > INT64_MAX ? INT64_MAX : (int64_t)value;
}

static ew_status check_range(const end *one, const void *data)
{
    const ew_tensor *about = &one->about;
    bool boolean = one->tensor.dtype.code == BOOLEAN;
    if (!about->bounded && !boolean)
        return EW_OK;
    int64_t low = about->bounded ? about->low : 0, high = about->bounded ? about->high : 1;
    for (size_t i = 0; i < about->bytes / (one->tensor.dtype.bits / 8); i++) {
        int64_t value = element(data, &one->tensor, i);
        if (value < low || value > high)
            return ew_fail(EW_BAD_INPUT, "input '%s' holds %lld, the model takes %lld to %lld", about->name, (long long)value,
                           (long long)low, (long long)high);
    }
    return EW_OK;
}

ew_status ew_set_input(ew_model *model, int index, const void *data, size_t bytes)
{
    if (index < 0 || index >= model->inputs)
        return ew_fail(EW_BAD_INPUT, "the model has %d inputs, not %d", model->inputs, index + 1);
    const ew_tensor *about = &model->ends[index].about;
    if (bytes != about->bytes)
        return ew_fail(EW_BAD_INPUT, "input '%s' has %zu bytes, not %zu", about->name, bytes, about->bytes);
    ew_status status = check_range(&model->ends[index], data);
    if (status != EW_OK)
        return status;
    memcpy(model->ends[index].tensor.data, data, bytes);
    if (model->integer && strcmp(about->dtype, "float32") == 0) {
        const uint32_t *words = model->ends[index].tensor.data;
        uint32_t special = 0;
        for (size_t i = 0; i < bytes / sizeof *words; i++)
            special |= (words[i] & EXPONENT) == EXPONENT;
        if (special)
            return ew_fail(EW_BAD_INPUT, "input '%s' holds nan or infinity, which an integer model has no values for",
                           about->name);
    }
    return EW_OK;
}

ew_status ew_run(ew_model *model)
{
    return ew_run_steps(model, 0, model->steps);
}

ew_status ew_run_steps(ew_model *model, int first, int last)
{
    any_value result = {.type = ANY_NONE};
    model->arguments[0].integer = first;
    model->arguments[1].integer = last;
    error_status = EW_OK;
    ew_pool_use(model->pool);
    int failed = model->entry(NULL, model->arguments, 4 + model->inputs + model->outputs, &result);
    ew_pool_use(NULL);
    if (failed && error_status == EW_OK)
        return ew_fail(EW_FAILED, "the model's code failed");
    return failed ? error_status : EW_OK;
}
