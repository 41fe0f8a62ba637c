// The runner of edgewright_cuda.h on CUDA's driver API. C++11.
#include "edgewright_cuda_tables.h"

#include <cuda.h>
#include <stdio.h>
#include <string.h>

#include <string>
#include <vector>

namespace {

const edgewright_tables &tables = edgewright_model;
const int MOST_ARGUMENTS = 64;
std::string last_error;

int fail(const std::string &message) {
    last_error = message;
    return -1;
}

int check(CUresult result, const char *doing) {
    if (result == CUDA_SUCCESS) return 0;
    const char *text = nullptr;
    if (cuGetErrorString(result, &text) != CUDA_SUCCESS || !text) text = "unknown error";
    return fail(std::string(doing) + ": " + text);
}

int read_file(const std::string &path, std::vector<unsigned char> *content) {
    FILE *file = fopen(path.c_str(), "rb");
    if (!file) return fail("cannot open " + path);
    unsigned char buffer[1 << 16];
    size_t got;
    while ((got = fread(buffer, 1, sizeof buffer, file)) > 0) content->insert(content->end(), buffer, buffer + got);
    const bool bad = ferror(file) != 0;
    fclose(file);
    return bad ? fail("cannot read " + path) : 0;
}

unsigned long long fnv1a(const std::vector<unsigned char> &content) {
    unsigned long long hash = 14695981039346656037ull;
    for (size_t i = 0; i + 8 <= content.size(); i += 8) {
        unsigned long long word = 0;
        for (int byte = 7; byte >= 0; byte--) word = word << 8 | content[i + byte];
        hash = (hash ^ word) * 1099511628211ull;
    }
    return hash;
}

int reserve(size_t bytes, CUdeviceptr *pointer) {
    return check(cuMemAlloc(pointer, bytes ? bytes : 1), "allocating memory on the GPU");
}

}  // namespace

struct edgewright_cuda_model {
    CUdevice device = 0;
    CUcontext context = nullptr;
    CUmodule module = nullptr;
    CUdeviceptr weights = 0, workspace = 0;
    std::vector<CUfunction> kernels;
    std::vector<CUdeviceptr> inputs, outputs;
    std::vector<CUevent> events;
};

namespace {

int check_device(CUdevice device) {
    int major = 0, minor = 0;
    if (check(cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device), "asking the GPU") ||
        check(cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device), "asking the GPU"))
        return -1;
    if (major == tables.major && minor >= tables.minor) return 0;
    return fail(std::string("this model is for ") + tables.arch + ", this GPU is sm_" + std::to_string(major) +
                std::to_string(minor));
}

int load_kernels(edgewright_cuda_model *model, const std::string &folder) {
    std::vector<unsigned char> content;
    const void *image = tables.cubin;
    if (!tables.cubin_bytes) {
        if (read_file(folder + "/model.cubin", &content))
            return fail(last_error + "; make it with: nvcc -cubin -arch=" + tables.arch + " -o model.cubin model.cu");
        image = content.data();
    }
    if (check(cuModuleLoadData(&model->module, image), "loading the kernels")) return -1;
    model->kernels.resize(tables.kernel_count);
    for (int i = 0; i < tables.kernel_count; i++)
        if (check(cuModuleGetFunction(&model->kernels[i], model->module, tables.kernels[i]), tables.kernels[i])) return -1;
    return 0;
}

int load_weights(edgewright_cuda_model *model, const std::string &folder) {
    std::vector<unsigned char> content;
    if (read_file(folder + "/weights.bin", &content)) return -1;
    if (content.size() != tables.weight_bytes || fnv1a(content) != tables.weight_check)
        return fail(folder + "/weights.bin is not the one of this model");
    if (reserve(content.size(), &model->weights)) return -1;
    if (content.empty()) return 0;
    return check(cuMemcpyHtoD(model->weights, content.data(), content.size()), "copying the weights");
}

int open_model(edgewright_cuda_model *model, const char *folder, int device) {
    if (check(cuInit(0), "starting CUDA") || check(cuDeviceGet(&model->device, device), "finding the GPU") ||
        check_device(model->device) || check(cuDevicePrimaryCtxRetain(&model->context, model->device), "opening the GPU") ||
        check(cuCtxSetCurrent(model->context), "opening the GPU") || load_kernels(model, folder) ||
        load_weights(model, folder) || reserve(tables.workspace_bytes, &model->workspace))
        return -1;
    model->inputs.assign(tables.input_count, 0);
    model->outputs.assign(tables.output_count, 0);
    for (int i = 0; i < tables.input_count; i++)
        if (reserve(tables.inputs[i].bytes, &model->inputs[i])) return -1;
    for (int i = 0; i < tables.output_count; i++)
        if (reserve(tables.outputs[i].bytes, &model->outputs[i])) return -1;
    return 0;
}

CUdeviceptr address(const edgewright_cuda_model *model, const edgewright_argument &argument) {
    switch (argument.space) {
        case EDGEWRIGHT_WEIGHTS: return model->weights + argument.offset;
        case EDGEWRIGHT_WORK: return model->workspace + argument.offset;
        case EDGEWRIGHT_INPUT: return model->inputs[argument.index] + argument.offset;
        default: return model->outputs[argument.index] + argument.offset;
    }
}

int launch(edgewright_cuda_model *model, const edgewright_step &step) {
    CUdeviceptr pointers[MOST_ARGUMENTS];
    void *parameters[MOST_ARGUMENTS];
    if (step.arguments > MOST_ARGUMENTS) return fail(std::string(step.name) + ": too many arguments");
    for (int i = 0; i < step.arguments; i++) {
        pointers[i] = address(model, tables.arguments[step.first_argument + i]);
        parameters[i] = &pointers[i];
    }
    return check(
        cuLaunchKernel(model->kernels[step.kernel], step.blocks, 1, 1, step.threads, 1, 1, 0, nullptr, parameters, nullptr),
        step.name);
}

int run(edgewright_cuda_model *model, const void *const *inputs, void *const *outputs, float *milliseconds) {
    if (check(cuCtxSetCurrent(model->context), "opening the GPU")) return -1;
    for (int i = 0; i < tables.input_count; i++)
        if (check(cuMemcpyHtoD(model->inputs[i], inputs[i], tables.inputs[i].bytes), "copying an input")) return -1;
    while (milliseconds && (int)model->events.size() <= tables.step_count) {
        CUevent event;
        if (check(cuEventCreate(&event, CU_EVENT_DEFAULT), "making an event")) return -1;
        model->events.push_back(event);
    }
    if (milliseconds && check(cuEventRecord(model->events[0], nullptr), "recording an event")) return -1;
    for (int i = 0; i < tables.step_count; i++) {
        if (launch(model, tables.steps[i])) return -1;
        if (milliseconds && check(cuEventRecord(model->events[i + 1], nullptr), "recording an event")) return -1;
    }
    if (check(cuCtxSynchronize(), "running the kernels")) return -1;
    for (int i = 0; milliseconds && i < tables.step_count; i++)
        if (check(cuEventElapsedTime(&milliseconds[i], model->events[i], model->events[i + 1]), "reading an event")) return -1;
    for (int i = 0; i < tables.output_count; i++)
        if (check(cuMemcpyDtoH(outputs[i], model->outputs[i], tables.outputs[i].bytes), "copying an output")) return -1;
    return 0;
}

}  // namespace

extern "C" {

const edgewright_cuda_tensor *edgewright_cuda_inputs(int *count) {
    *count = tables.input_count;
    return tables.inputs;
}

const edgewright_cuda_tensor *edgewright_cuda_outputs(int *count) {
    *count = tables.output_count;
    return tables.outputs;
}

int edgewright_cuda_open(const char *folder, int device, edgewright_cuda_model **model) {
    last_error.clear();
    edgewright_cuda_model *made = new edgewright_cuda_model;
    if (open_model(made, folder, device)) {
        const std::string why = last_error;
        edgewright_cuda_close(made);
        return fail(why);
    }
    *model = made;
    return 0;
}

int edgewright_cuda_run(edgewright_cuda_model *model, const void *const *inputs, void *const *outputs) {
    return run(model, inputs, outputs, nullptr);
}

int edgewright_cuda_profile(
    edgewright_cuda_model *model, const void *const *inputs, void *const *outputs, float *milliseconds) {
    return run(model, inputs, outputs, milliseconds);
}

int edgewright_cuda_steps(void) { return tables.step_count; }

const char *edgewright_cuda_step_name(int step) { return tables.steps[step].name; }

void edgewright_cuda_close(edgewright_cuda_model *model) {
    if (!model) return;
    if (model->context) cuCtxSetCurrent(model->context);
    for (CUevent event : model->events) cuEventDestroy(event);
    for (CUdeviceptr pointer : model->inputs) if (pointer) cuMemFree(pointer);
    for (CUdeviceptr pointer : model->outputs) if (pointer) cuMemFree(pointer);
    if (model->weights) cuMemFree(model->weights);
    if (model->workspace) cuMemFree(model->workspace);
    if (model->module) cuModuleUnload(model->module);
    if (model->context) cuDevicePrimaryCtxRelease(model->device);
    delete model;
}

const char *edgewright_cuda_error(void) { return last_error.c_str(); }

}  // extern "C"
