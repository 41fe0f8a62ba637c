/* Runs a library of TVM's Relax compiler through the C interface of TVM's runtime, for `tvm_default.py`:
 *
 *     tvm_default_main RUNTIME MODEL INPUT OUTPUT RANK SIZE... OUTPUTSIZE
 *
 * RUNTIME is libtvm_runtime.so and MODEL a library, whose function "main" maps one float32 tensor to one float32 tensor;
 * INPUT and OUTPUT are files of plain values. Before and after the second inference it makes the marks 0 and 1 of
 * targets/cpu/qemu.py, so that what the first one sets up does not count; OUTPUT is the second one's.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tvm/ffi/c_api.h>

enum { CPU = 1, POOLED = 2, MARK = -1163000000, RANK_MAX = 8 };

static __typeof__(TVMFFIFunctionGetGlobal) *get_global;
static __typeof__(TVMFFIFunctionCall) *call_function;
static __typeof__(TVMFFIErrorMoveFromRaised) *take_error;
static __typeof__(TVMFFITensorFromDLPack) *tensor_from;
static __typeof__(TVMFFIObjectDecRef) *release;

static _Noreturn void fail(const char *what, const char *why) {
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

static void check(int status, const char *what) {
    if (!status)
        return;
    TVMFFIObjectHandle error = NULL;
    take_error(&error);
    fail(what, error ? ((TVMFFIErrorCell *)((char *)error + sizeof(TVMFFIObject)))->message.data : "failed");
}

static void *symbol(void *library, const char *name) {
    void *found = dlsym(library, name);
    if (!found)
        fail(name, dlerror());
    return found;
}

static TVMFFIAny integer(int64_t value) { return (TVMFFIAny){.type_index = kTVMFFIInt, .v_int64 = value}; }
static TVMFFIAny text(const char *value) { return (TVMFFIAny){.type_index = kTVMFFIRawStr, .v_c_str = value}; }

static TVMFFIAny call(TVMFFIObjectHandle function, TVMFFIAny *arguments, int count, const char *what) {
    TVMFFIAny result = {.type_index = kTVMFFINone};
    check(call_function(function, arguments, count, &result), what);
    return result;
}

static TVMFFIObjectHandle global(const char *name) {
    TVMFFIByteArray bytes = {name, strlen(name)};
    TVMFFIObjectHandle found = NULL;
    check(get_global(&bytes, &found), name);
    if (!found)
        fail(name, "there is no such function");
    return found;
}

static TVMFFIObjectHandle function_of(TVMFFIAny module, const char *name) {
    TVMFFIAny arguments[] = {module, text(name), {.type_index = kTVMFFIBool, .v_int64 = 1}};
    TVMFFIAny found = call(global("ffi.ModuleGetFunction"), arguments, 3, name);
    if (found.type_index != kTVMFFIFunction)
        fail(name, "the module has no such function");
    return found.v_obj;
}

static void forget(DLManagedTensor *tensor) { (void)tensor; }

int main(int count, char **words) {
    if (count < 7)
        fail("usage", "RUNTIME MODEL INPUT OUTPUT RANK SIZE... OUTPUTSIZE");
    void *runtime = dlopen(words[1], RTLD_NOW | RTLD_GLOBAL);
    if (!runtime)
        fail(words[1], dlerror());
    get_global = symbol(runtime, "TVMFFIFunctionGetGlobal");
    call_function = symbol(runtime, "TVMFFIFunctionCall");
    take_error = symbol(runtime, "TVMFFIErrorMoveFromRaised");
    tensor_from = symbol(runtime, "TVMFFITensorFromDLPack");
    release = symbol(runtime, "TVMFFIObjectDecRef");

    int64_t shape[RANK_MAX], items = 1, outputs = atoll(words[count - 1]);
    int rank = atoi(words[5]);
    if (rank < 1 || rank > RANK_MAX || count != 7 + rank)
        fail("usage", "the rank does not fit");
    for (int i = 0; i < rank; i++)
        items *= shape[i] = atoll(words[6 + i]);
    float *values = aligned_alloc(64, ((size_t)items * sizeof *values + 63) / 64 * 64);
    FILE *file = fopen(words[3], "rb");
    if (!values || !file || fread(values, sizeof *values, (size_t)items, file) != (size_t)items)
        fail(words[3], "cannot be read");
    fclose(file);
    DLManagedTensor input = {
        .dl_tensor = {.data = values, .device = {kDLCPU, 0}, .ndim = rank, .dtype = {kDLFloat, 32, 1}, .shape = shape},
        .deleter = forget};
    TVMFFIObjectHandle tensor = NULL;
    check(tensor_from(&input, 64, 1, &tensor), "the input");

    TVMFFIAny path = text(words[2]);
    TVMFFIAny library = call(global("ffi.ModuleLoadFromFile"), &path, 1, words[2]);
    TVMFFIAny machine = call(function_of(library, "vm_load_executable"), NULL, 0, "vm_load_executable");
    TVMFFIAny device[] = {integer(CPU), integer(0), integer(POOLED)};
    call(function_of(machine, "vm_initialization"), device, 3, "vm_initialization");
    TVMFFIObjectHandle run = function_of(machine, "main");
    TVMFFIAny argument = {.type_index = kTVMFFITensor, .v_obj = tensor};

    TVMFFIAny first = call(run, &argument, 1, "main");
    if (first.type_index != kTVMFFITensor)
        fail("main", "its result is no tensor");
    release(first.v_obj);
    close(MARK);
    TVMFFIAny result = call(run, &argument, 1, "main");
    close(MARK - 1);

    const DLTensor *answer = (const DLTensor *)(result.v_obj + 1); /* it lies behind the object's header */
    int64_t size = 1;
    for (int i = 0; i < answer->ndim; i++)
        size *= answer->shape[i];
    if (size != outputs || answer->dtype.code != kDLFloat || answer->dtype.bits != 32)
        fail("main", "its result has another size or type");
    file = fopen(words[4], "wb");
    const char *data = (const char *)answer->data + answer->byte_offset;
    if (!file || fwrite(data, sizeof(float), (size_t)size, file) != (size_t)size || fclose(file))
        fail(words[4], "cannot be written");
    return 0;
}
