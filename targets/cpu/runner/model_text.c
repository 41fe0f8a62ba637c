#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host_features.h"
#include "model.h"

enum { FORMAT = 2, TEXT_BYTES_MAX = 16 << 20, FLOATING = 2 };
static const int64_t BYTES_MAX = (int64_t)1 << 40; /* of a tensor, the weights or the workspace */

static const struct {
    const char *name;
    uint8_t code, bits;
} dtypes[] = {
    {"bool", 6, 8},   {"int8", 0, 8},   {"uint8", 1, 8},    {"int16", 0, 16},   {"uint16", 1, 16},  {"int32", 0, 32},
    {"uint32", 1, 32}, {"int64", 0, 64}, {"uint64", 1, 64}, {"float16", 2, 16}, {"float32", 2, 32}, {"float64", 2, 64},
};

/* Lines that have to be there once. */
enum { COUNTS = 1, ARCH = 2, FEATURES = 4, LIBRARY = 8, WEIGHTS = 16, WORKSPACE = 32, ALL_LINES = 63 };

/* The rest of a line, and what has been read and announced so far. */
typedef struct {
    char *rest;
    unsigned seen;
    int64_t inputs, outputs, steps;
} reader;

static ew_status bad_line(const char *word)
{
    return ew_fail(EW_BAD_ARTIFACT, "model.txt: the line of '%s' is cut off or not as the compiler writes it", word);
}

static ew_status no_model(void)
{
    return ew_fail(EW_BAD_ARTIFACT, "model.txt is not a model of Edgewright");
}

static char *next_word(reader *from)
{
    return strtok_r(NULL, " ", &from->rest);
}

/* The next word, which has to be a whole number within bounds. */
static bool next_number(reader *from, int64_t least, int64_t most, int64_t *value)
{
    char *word = next_word(from), *after;
    if (!word || (*word != '-' && (*word < '0' || *word > '9')))
        return false;
    errno = 0;
    *value = strtoll(word, &after, 10);
    return !*after && after != word && errno == 0 && *value >= least && *value <= most;
}

static bool next_real(reader *from, double *value)
{
    char *word = next_word(from), *after;
    *value = word ? strtod(word, &after) : NAN;
    return word && !*after && after != word && isfinite(*value);
}

static bool next_identity(reader *from, ew_identity *identity)
{
    char *digest;
    if (!next_number(from, 0, BYTES_MAX, &identity->bytes) || !(digest = next_word(from)) ||
        strlen(digest) != EW_SHA256_TEXT - 1 || strspn(digest, "0123456789abcdef") != EW_SHA256_TEXT - 1)
        return false;
    memcpy(identity->sha256, digest, EW_SHA256_TEXT);
    return true;
}

/* Names become parts of file names and of command lines. */
static bool is_identifier(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    size_t length = strlen(name);
    return length > 0 && length < EW_NAME_MAX && strspn(name, letters) == length;
}

static ew_status read_counts(ew_model *model, reader *from, int64_t bytes)
{
    /* Each is a line of the file, so none is larger than it: what is allocated for them stays in proportion. */
    if (!next_number(from, 0, bytes, &from->inputs) || !next_number(from, 1, bytes, &from->outputs) ||
        !next_number(from, 1, bytes, &from->steps))
        return bad_line("counts");
    model->ends = calloc((size_t)(from->inputs + from->outputs), sizeof *model->ends);
    model->step = calloc((size_t)from->steps, sizeof *model->step);
    return model->ends && model->step ? EW_OK : ew_fail(EW_NO_MEMORY, "out of memory");
}

static ew_status read_tensor(ew_model *model, reader *from, const char *role, bool output)
{
    int *count = output ? &model->outputs : &model->inputs;
    if (!(from->seen & COUNTS) || *count >= (output ? from->outputs : from->inputs) || (!output && model->outputs))
        return ew_fail(EW_BAD_ARTIFACT, "model.txt has more %ss than it counts, or has them in another order", role);
    end *one = &model->ends[model->inputs + model->outputs];
    ew_tensor *about = &one->about;
    char *name = next_word(from), *dtype = next_word(from);
    int64_t rank, bytes;
    if (!name || !dtype || !is_identifier(name))
        return bad_line(role);
    for (int i = 0; i < model->inputs + model->outputs; i++)
        if (strcmp(model->ends[i].about.name, name) == 0 && (i >= model->inputs) == output)
            return ew_fail(EW_BAD_ARTIFACT, "model.txt has two %ss '%s'", role, name);
    size_t kind = 0;
    while (kind < sizeof dtypes / sizeof *dtypes && strcmp(dtypes[kind].name, dtype) != 0)
        kind++;
    if (kind == sizeof dtypes / sizeof *dtypes)
        return ew_fail(EW_BAD_ARTIFACT, "model.txt: %s '%s' has the type '%s', which this runner does not know", role, name,
                       dtype);
    snprintf(about->name, sizeof about->name, "%s", name);
    snprintf(about->dtype, sizeof about->dtype, "%s", dtypes[kind].name);
    if (!next_number(from, 0, INT_MAX, &rank))
        return bad_line(role);
    if (rank > EW_RANK_MAX)
        return ew_fail(EW_BAD_ARTIFACT, "model.txt: %s '%s' has rank %d, this runner knows up to %d", role, name, (int)rank,
                       EW_RANK_MAX);
    about->rank = (int)rank;
    bytes = dtypes[kind].bits / 8;
    for (int i = 0; i < about->rank; i++) {
        if (!next_number(from, 1, BYTES_MAX / bytes, &about->shape[i]))
            return ew_fail(EW_BAD_ARTIFACT, "model.txt: the shape of %s '%s' is not one", role, name);
        bytes *= about->shape[i];
    }
    about->bytes = (size_t)bytes;
    for (int64_t i = about->rank - 1, stride = 1; i >= 0; stride *= about->shape[i--])
        one->strides[i] = stride;
    int64_t zero_point = 0;
    if (output && (!next_real(from, &about->scale) || !next_number(from, INT_MIN, INT_MAX, &zero_point)))
        return bad_line(role);
    about->zero_point = (int)zero_point;
    if (!output && *from->rest) {
        about->bounded = 1;
        if (dtypes[kind].code == FLOATING || !next_number(from, INT64_MIN, INT64_MAX, &about->low) ||
            !next_number(from, about->low, INT64_MAX, &about->high))
            return bad_line(role);
    }
    one->tensor = (dl_tensor){
        .device = {DEVICE_CPU, 0},
        .rank = about->rank,
        .dtype = {dtypes[kind].code, dtypes[kind].bits, 1},
        .shape = about->shape,
        .strides = one->strides,
    };
    *count += 1;
    return EW_OK;
}

static ew_status read_step(ew_model *model, reader *from)
{
    if (!(from->seen & COUNTS) || model->steps >= from->steps)
        return ew_fail(EW_BAD_ARTIFACT, "model.txt has more steps than it counts");
    ew_step *one = &model->step[model->steps];
    char *kind;
    if (!next_number(from, 0, INT64_MAX, &one->macs) || !next_number(from, 0, INT64_MAX, &one->bytes) ||
        !(kind = next_word(from)))
        return ew_fail(EW_BAD_ARTIFACT, "model.txt: step %d is cut off", model->steps);
    snprintf(one->kind, sizeof one->kind, "%s", kind);
    model->integer |= strstr(kind, "Quantise") || strstr(kind, "Requantise");
    model->steps++;
    return EW_OK;
}

static ew_status check_features(const ew_model *model, reader *from)
{
    if (!(from->seen & ARCH))
        return bad_line("features");
    if (strcmp(model->arch, ew_host_arch()) != 0)
        return ew_fail(EW_WRONG_CPU, "the model is for %s, this processor is %s", model->arch, ew_host_arch());
    char missing[256] = "";
    for (char *name; (name = next_word(from));) {
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

static ew_status read_once(ew_model *model, reader *from, const char *word, int64_t bytes)
{
    static const struct {
        const char *word;
        unsigned bit;
    } lines[] = {
        {"counts", COUNTS},   {"arch", ARCH},       {"features", FEATURES},
        {"library", LIBRARY}, {"weights", WEIGHTS}, {"workspace", WORKSPACE},
    };
    size_t i = 0;
    while (i < sizeof lines / sizeof *lines && strcmp(lines[i].word, word) != 0)
        i++;
    if (i == sizeof lines / sizeof *lines)
        return ew_fail(EW_BAD_ARTIFACT, "model.txt: a line of '%s' is not known", word);
    if (from->seen & lines[i].bit)
        return ew_fail(EW_BAD_ARTIFACT, "model.txt has two lines of '%s'", word);
    from->seen |= lines[i].bit;
    char *value;
    bool good = true;
    switch (lines[i].bit) {
    case COUNTS: return read_counts(model, from, bytes);
    case FEATURES: return check_features(model, from);
    case ARCH:
        good = (value = next_word(from)) != NULL;
        snprintf(model->arch, sizeof model->arch, "%s", good ? value : "");
        break;
    case LIBRARY: good = next_identity(from, &model->library_file); break;
    case WEIGHTS: good = next_identity(from, &model->weights_file); break;
    default: good = next_number(from, 0, BYTES_MAX, &model->workspace_bytes);
    }
    return good ? EW_OK : bad_line(word);
}

static ew_status read_line(ew_model *model, reader *from, char *line, int64_t bytes)
{
    char *word = strtok_r(line, " ", &from->rest);
    if (!word)
        return ew_fail(EW_BAD_ARTIFACT, "model.txt has an empty line");
    ew_status status;
    if (strcmp(word, "input") == 0 || strcmp(word, "output") == 0)
        status = read_tensor(model, from, word, *word == 'o');
    else if (strcmp(word, "step") == 0)
        status = read_step(model, from);
    else
        status = read_once(model, from, word, bytes);
    return status == EW_OK && next_word(from) ? bad_line(word) : status;
}

/* The first line: `edgewright-model FORMAT BYTES SHA256` of all that follows it. Gives where that begins. */
static ew_status check_first_line(char *text, size_t bytes, char **body)
{
    static const char magic[] = "edgewright-model ";
    char *end = memchr(text, '\n', bytes);
    if (bytes < sizeof magic || memcmp(text, magic, sizeof magic - 1) != 0)
        return no_model();
    if (!end)
        return ew_fail(EW_BAD_ARTIFACT, "model.txt is cut off: copy it again");
    *end = '\0';
    *body = end + 1;
    reader from = {.rest = text + sizeof magic - 1};
    int64_t format;
    if (!next_number(&from, 0, INT_MAX, &format))
        return bad_line("edgewright-model");
    if (format != FORMAT)
        return ew_fail(EW_BAD_ARTIFACT, "model.txt has format %lld, this runner reads %d: %s", (long long)format, FORMAT,
                       format < FORMAT ? "compile the model again" : "take the runner from the model's folder");
    ew_identity wanted;
    if (!next_identity(&from, &wanted) || next_word(&from))
        return bad_line("edgewright-model");
    size_t rest = bytes - (size_t)(*body - text);
    if ((int64_t)rest != wanted.bytes)
        return ew_fail(EW_BAD_ARTIFACT, "model.txt has %zu bytes after its first line, not %lld: copy it again", rest,
                       (long long)wanted.bytes);
    char found[EW_SHA256_TEXT];
    ew_sha256(*body, rest, found);
    if (strcmp(found, wanted.sha256) != 0)
        return ew_fail(EW_BAD_ARTIFACT, "model.txt is damaged: its SHA-256 is not the one in its first line; copy it again");
    return EW_OK;
}

static ew_status read_body(ew_model *model, char *body, int64_t bytes)
{
    if (memchr(body, '\0', (size_t)bytes) || !bytes || body[bytes - 1] != '\n')
        return ew_fail(EW_BAD_ARTIFACT, "model.txt is not a text of whole lines");
    reader from = {.rest = NULL};
    ew_status status = EW_OK;
    for (char *line = body, *end; status == EW_OK && line < body + bytes; line = end + 1) {
        end = strchr(line, '\n');
        *end = '\0';
        status = read_line(model, &from, line, bytes);
    }
    if (status == EW_OK && (from.seen != ALL_LINES || model->inputs != from.inputs || model->outputs != from.outputs ||
                            model->steps != from.steps))
        return ew_fail(EW_BAD_ARTIFACT, "model.txt is not complete: %d inputs, %d outputs and %d steps are there", model->inputs,
                       model->outputs, model->steps);
    return status;
}

ew_status ew_read_text(ew_model *model, const char *folder)
{
    ew_file file;
    ew_status status = ew_map_file(&file, folder, "model.txt");
    if (status != EW_OK)
        return status;
    char *text = file.bytes <= TEXT_BYTES_MAX ? malloc(file.bytes + 1) : NULL, *body = text;
    if (!text) {
        status = file.bytes <= TEXT_BYTES_MAX ? ew_fail(EW_NO_MEMORY, "out of memory") : no_model();
    } else {
        if (file.bytes)
            memcpy(text, file.data, file.bytes);
        text[file.bytes] = '\0';
        status = check_first_line(text, file.bytes, &body);
        if (status == EW_OK)
            status = read_body(model, body, (int64_t)(file.bytes - (size_t)(body - text)));
    }
    free(text);
    ew_unmap_file(&file);
    return status;
}
