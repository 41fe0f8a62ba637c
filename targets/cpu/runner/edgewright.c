#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model.h"

enum { ALIGNMENT = 64, EXPONENT = 0x7f800000 };

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

static ew_status map_weights(ew_model *model, const char *folder)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/weights.bin", folder);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat found;
    if (file < 0 || fstat(file, &found) != 0) {
        ew_status status = ew_fail(EW_BAD_ARTIFACT, "%s: %s", path, strerror(errno));
        if (file >= 0)
            close(file);
        return status;
    }
    void *memory = MAP_FAILED;
    size_t size = model->weight_bytes ? (size_t)model->weight_bytes : 1;
    if (found.st_size == model->weight_bytes)
        memory = model->weight_bytes ? mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0)
                                     : mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    close(file);
    if (found.st_size != model->weight_bytes)
        return ew_fail(EW_BAD_ARTIFACT, "%s has %lld bytes, not %lld", path, (long long)found.st_size,
                    (long long)model->weight_bytes);
    if (memory == MAP_FAILED)
        return ew_fail(EW_NO_MEMORY, "%s cannot be mapped: %s", path, strerror(errno));
    model->weights = memory;
    return EW_OK;
}

/* Whether all that the program headers name is there: the dynamic loader would touch it and die. */
static bool whole_library(const char *path)
{
    Elf64_Ehdr head;
    struct stat found;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    bool whole = file >= 0 && fstat(file, &found) == 0 && pread(file, &head, sizeof head, 0) == (ssize_t)sizeof head &&
                 memcmp(head.e_ident, ELFMAG, SELFMAG) == 0 && head.e_ident[EI_CLASS] == ELFCLASS64;
    for (int i = 0; whole && i < head.e_phnum; i++) {
        Elf64_Phdr part;
        off_t at = (off_t)head.e_phoff + (off_t)i * head.e_phentsize;
        whole = pread(file, &part, sizeof part, at) == (ssize_t)sizeof part && part.p_offset <= (uint64_t)found.st_size &&
                part.p_filesz <= (uint64_t)found.st_size - part.p_offset;
    }
    if (file >= 0)
        close(file);
    return whole;
}

static ew_status load_library(ew_model *model, const char *folder)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s%s/model.so", strchr(folder, '/') ? "" : "./", folder);
    if (!whole_library(path))
        return ew_fail(EW_BAD_ARTIFACT, "%s is missing, cut off or no shared library", path);
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
        if (place) /* a model that never asks has no such variable */
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

static ew_status make_arguments(ew_model *model)
{
    int count = model->inputs + model->outputs;
    model->workspace = zeroed((size_t)model->workspace_bytes);
    model->arguments = calloc((size_t)count + 4, sizeof *model->arguments);
    if (!model->workspace || !model->arguments)
        return ew_fail(EW_NO_MEMORY, "out of memory for a workspace of %lld bytes", (long long)model->workspace_bytes);
    model->weights_shape = model->weight_bytes > 0 ? model->weight_bytes : 1;
    model->workspace_shape = model->workspace_bytes > 0 ? model->workspace_bytes : 1;
    model->weights_tensor = bytes_tensor(model->weights, &model->weights_shape, &model->one);
    model->workspace_tensor = bytes_tensor(model->workspace, &model->workspace_shape, &model->one);
    model->arguments[0].type = model->arguments[1].type = ANY_INT;
    model->arguments[2] = (any_value){.type = ANY_TENSOR, .pointer = &model->weights_tensor};
    model->arguments[3] = (any_value){.type = ANY_TENSOR, .pointer = &model->workspace_tensor};
    for (int i = 0; i < count; i++) {
        end *one = &model->ends[i];
        one->tensor.data = zeroed(one->about.bytes);
        if (!one->tensor.data)
            return ew_fail(EW_NO_MEMORY, "out of memory for '%s'", one->about.name);
        one->tensor.shape = one->about.shape;
        one->tensor.strides = one->strides;
        model->arguments[4 + i] = (any_value){.type = ANY_TENSOR, .pointer = &one->tensor};
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
    if (ew_read_text(model, folder) == EW_OK && map_weights(model, folder) == EW_OK &&
        load_library(model, folder) == EW_OK && make_arguments(model) == EW_OK && ew_set_threads(model, threads) == EW_OK)
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
    if (model->weights)
        munmap(model->weights, (size_t)(model->weight_bytes ? model->weight_bytes : 1));
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
        return ew_fail(EW_BAD_INPUT, "%d threads: 1 to %d can be had", threads, EW_THREADS_MAX);
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

ew_status ew_set_input(ew_model *model, int index, const void *data, size_t bytes)
{
    if (index < 0 || index >= model->inputs)
        return ew_fail(EW_BAD_INPUT, "the model has %d inputs, not %d", model->inputs, index + 1);
    const ew_tensor *about = &model->ends[index].about;
    if (bytes != about->bytes)
        return ew_fail(EW_BAD_INPUT, "input '%s' has %zu bytes, not %zu", about->name, bytes, about->bytes);
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
