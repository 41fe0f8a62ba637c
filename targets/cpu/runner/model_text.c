#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "features.h"
#include "model.h"

enum { LINE_MAX_BYTES = 4096 };

static const struct {
    const char *name;
    uint8_t code, bits;
} dtypes[] = {
    {"bool", 6, 8},   {"int8", 0, 8},   {"uint8", 1, 8},    {"int16", 0, 16},   {"uint16", 1, 16},  {"int32", 0, 32},
    {"uint32", 1, 32}, {"int64", 0, 64}, {"uint64", 1, 64}, {"float16", 2, 16}, {"float32", 2, 32}, {"float64", 2, 64},
};

static ew_status read_tensor(ew_model *model, char **rest, const char *role, bool output)
{
    end *grown = realloc(model->ends, (size_t)(model->inputs + model->outputs + 1) * sizeof *grown);
    if (!grown)
        return ew_fail(EW_NO_MEMORY, "out of memory");
    model->ends = grown;
    end *one = &grown[model->inputs + model->outputs];
    memset(one, 0, sizeof *one);
    ew_tensor *about = &one->about;
    char *name = strtok_r(NULL, " ", rest), *dtype = strtok_r(NULL, " ", rest), *rank = strtok_r(NULL, " ", rest);
    if (!name || !dtype || !rank || strlen(name) >= sizeof about->name)
        return ew_fail(EW_BAD_ARTIFACT, "model.txt: an %s is cut off", role);
    snprintf(about->name, sizeof about->name, "%s", name);
    snprintf(about->dtype, sizeof about->dtype, "%s", dtype);
    size_t kind = 0;
    while (kind < sizeof dtypes / sizeof *dtypes && strcmp(dtypes[kind].name, dtype) != 0)
        kind++;
    about->rank = atoi(rank);
    if (kind == sizeof dtypes / sizeof *dtypes || about->rank < 0 || about->rank > EW_RANK_MAX)
        return ew_fail(EW_BAD_ARTIFACT, "model.txt: %s %s has type %s and rank %s", role, name, dtype, rank);
    about->bytes = dtypes[kind].bits / 8;
    for (int i = 0; i < about->rank; i++) {
        char *size = strtok_r(NULL, " ", rest);
        about->shape[i] = size ? atoll(size) : -1;
        if (about->shape[i] < 1 || about->shape[i] > INT_MAX || about->bytes > (size_t)INT_MAX)
            return ew_fail(EW_BAD_ARTIFACT, "model.txt: the shape of %s %s is not one", role, name);
        about->bytes *= (size_t)about->shape[i];
    }
    for (int64_t i = about->rank - 1, stride = 1; i >= 0; stride *= about->shape[i--])
        one->strides[i] = stride;
    if (output) {
        char *scale = strtok_r(NULL, " ", rest), *zero_point = strtok_r(NULL, " ", rest);
        if (!scale || !zero_point)
            return ew_fail(EW_BAD_ARTIFACT, "model.txt: output %s is cut off", name);
        about->scale = strtod(scale, NULL);
        about->zero_point = atoi(zero_point);
    }
    one->tensor = (dl_tensor){
        .device = {DEVICE_CPU, 0},
        .rank = about->rank,
        .dtype = {dtypes[kind].code, dtypes[kind].bits, 1},
    };
    *(output ? &model->outputs : &model->inputs) += 1;
    return EW_OK;
}

static ew_status read_step(ew_model *model, char **rest)
{
    ew_step *grown = realloc(model->step, (size_t)(model->steps + 1) * sizeof *grown);
    if (!grown)
        return ew_fail(EW_NO_MEMORY, "out of memory");
    model->step = grown;
    char *macs = strtok_r(NULL, " ", rest), *bytes = strtok_r(NULL, " ", rest), *kind = strtok_r(NULL, " ", rest);
    if (!macs || !bytes || !kind)
        return ew_fail(EW_BAD_ARTIFACT, "model.txt: step %d is cut off", model->steps);
    ew_step *one = &grown[model->steps++];
    *one = (ew_step){.macs = atoll(macs), .bytes = atoll(bytes)};
    snprintf(one->kind, sizeof one->kind, "%s", kind);
    model->integer |= strstr(kind, "Quantise") || strstr(kind, "Requantise");
    return EW_OK;
}

static ew_status check_features(const ew_model *model, char **rest)
{
    if (strcmp(model->arch, ew_host_arch()) != 0)
        return ew_fail(EW_WRONG_CPU, "the model is for %s, this processor is %s", model->arch, ew_host_arch());
    char missing[256] = "";
    for (char *name; (name = strtok_r(NULL, " ", rest));) {
        ew_presence presence = ew_host_has(name);
        if (presence == EW_UNKNOWN_FEATURE)
            return ew_fail(EW_WRONG_CPU, "this runner does not know the processor feature '%s' that the model needs", name);
        if (presence == EW_LACKS && strlen(missing) + strlen(name) + 3 < sizeof missing) {
            strcat(missing, *missing ? ", " : "");
            strcat(missing, name);
        }
    }
    return *missing ? ew_fail(EW_WRONG_CPU, "this processor lacks %s", missing) : EW_OK;
}

static ew_status read_line(ew_model *model, char *line)
{
    char *rest = NULL, *word = strtok_r(line, " ", &rest);
    if (!word)
        return EW_OK;
    if (strcmp(word, "input") == 0 && model->outputs == 0)
        return read_tensor(model, &rest, "input", false);
    if (strcmp(word, "output") == 0)
        return read_tensor(model, &rest, "output", true);
    if (strcmp(word, "step") == 0)
        return read_step(model, &rest);
    if (strcmp(word, "features") == 0)
        return check_features(model, &rest);
    char *value = strtok_r(NULL, " ", &rest);
    if (!value)
        return ew_fail(EW_BAD_ARTIFACT, "model.txt: the line of '%s' is cut off", word);
    if (strcmp(word, "edgewright-model") == 0)
        return strcmp(value, "1") == 0 ? EW_OK : ew_fail(EW_BAD_ARTIFACT, "model.txt has format %s, this runner reads 1", value);
    if (strcmp(word, "arch") == 0)
        snprintf(model->arch, sizeof model->arch, "%s", value);
    else if (strcmp(word, "workspace") == 0)
        model->workspace_bytes = atoll(value);
    else if (strcmp(word, "weights") == 0)
        model->weight_bytes = atoll(value);
    return EW_OK; /* other words: additions of later compilers that change nothing here */
}

ew_status ew_read_text(ew_model *model, const char *folder)
{
    char path[PATH_MAX], line[LINE_MAX_BYTES];
    if (snprintf(path, sizeof path, "%s/model.txt", folder) >= (int)sizeof path)
        return ew_fail(EW_BAD_INPUT, "the folder's name is too long");
    FILE *file = fopen(path, "r");
    if (!file)
        return ew_fail(EW_BAD_ARTIFACT, "%s: %s", path, strerror(errno));
    ew_status status = EW_OK;
    bool first = true;
    while (status == EW_OK && fgets(line, sizeof line, file)) {
        if (first && strncmp(line, "edgewright-model ", 17) != 0)
            status = ew_fail(EW_BAD_ARTIFACT, "%s is no model of Edgewright", path);
        first = false;
        size_t length = strlen(line);
        if (status == EW_OK && (!length || line[length - 1] != '\n'))
            status = ew_fail(EW_BAD_ARTIFACT, "%s is cut off", path);
        else if (status == EW_OK) {
            line[length - 1] = '\0';
            status = read_line(model, line);
        }
    }
    fclose(file);
    if (status == EW_OK && (!model->outputs || !model->steps || model->workspace_bytes < 0 || model->weight_bytes < 0))
        return ew_fail(EW_BAD_ARTIFACT, "%s is not complete", path);
    return status;
}
