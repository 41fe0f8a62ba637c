#include "npy.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

namespace {

const struct {
    const char *dtype, *descr;
} spellings[] = {
    {"bool", "|b1"},   {"int8", "|i1"},   {"uint8", "|u1"},  {"int16", "<i2"},   {"uint16", "<u2"},  {"int32", "<i4"},
    {"uint32", "<u4"}, {"int64", "<i8"},  {"uint64", "<u8"}, {"float16", "<f2"}, {"float32", "<f4"}, {"float64", "<f8"},
};

const char *descr_of(const char *dtype)
{
    for (const auto &one : spellings)
        if (strcmp(one.dtype, dtype) == 0)
            return one.descr;
    return "?";
}

char text[512];

__attribute__((format(printf, 1, 2))) const char *say(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    return text;
}

struct File {
    FILE *stream;
    ~File()
    {
        if (stream)
            fclose(stream);
    }
};

// The text after `'key':` and blanks, or nullptr.
const char *value_of(const char *header, const char *key)
{
    char quoted[32];
    snprintf(quoted, sizeof quoted, "'%s':", key);
    const char *found = strstr(header, quoted);
    return found ? found + strlen(quoted) + strspn(found + strlen(quoted), " ") : nullptr;
}

// (1, 28, 28) as numpy writes it: a tuple of one element has a comma.
void spell_shape(const ew_tensor *tensor, char *out, size_t size)
{
    size_t used = (size_t)snprintf(out, size, "(");
    for (int i = 0; i < tensor->rank; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%lld", i ? ", " : "", (long long)tensor->shape[i]);
    snprintf(out + used, size - used, "%s)", tensor->rank == 1 ? "," : "");
}

const char *check_header(const char *path, const char *header, const ew_tensor *tensor)
{
    const char *descr = value_of(header, "descr"), *order = value_of(header, "fortran_order");
    const char *shape = value_of(header, "shape");
    if (!descr || !order || !shape || *descr != '\'' || *shape != '(')
        return say("%s: its header is not one of an array of numbers", path);
    const char *wanted = descr_of(tensor->dtype);
    size_t length = strcspn(descr + 1, "'");
    if (length != strlen(wanted) || strncmp(descr + 1, wanted, length) != 0)
        return say("%s holds %.*s, the model takes %s (%s)", path, (int)length, descr + 1, wanted, tensor->dtype);
    if (strncmp(order, "False", 5) != 0)
        return say("%s is in Fortran order: save numpy.ascontiguousarray(x)", path);
    const char *at = shape + 1;
    int rank = 0;
    bool same = true;
    for (;; rank++) {
        at += strspn(at, " ,");
        if (*at < '0' || *at > '9')
            break;
        char *after;
        long long n = strtoll(at, &after, 10);
        same = same && rank < tensor->rank && n == tensor->shape[rank];
        at = after;
    }
    if (same && rank == tensor->rank && *at == ')')
        return nullptr;
    char spelled[256];
    spell_shape(tensor, spelled, sizeof spelled);
    return say("%s has shape %.*s, the model takes %s", path, (int)strcspn(shape, ")") + 1, shape, spelled);
}

} // namespace

const char *npy_read(const char *path, const ew_tensor *tensor, void *data)
{
    File file{fopen(path, "rb")};
    if (!file.stream)
        return say("%s: %s", path, strerror(errno));
    unsigned char head[12];
    if (fread(head, 1, 10, file.stream) != 10 || memcmp(head, "\x93NUMPY", 6) != 0)
        return say("%s is no .npy file", path);
    size_t length = head[8] | (size_t)head[9] << 8;
    if (head[6] == 2) {
        if (fread(head + 10, 1, 2, file.stream) != 2)
            return say("%s is cut off", path);
        length |= (size_t)head[10] << 16 | (size_t)head[11] << 24;
    } else if (head[6] != 1)
        return say("%s has version %d of the format, known are 1 and 2", path, head[6]);
    char header[4096];
    if (length >= sizeof header)
        return say("%s: its header is not one of an array of numbers", path);
    if (fread(header, 1, length, file.stream) != length)
        return say("%s is cut off", path);
    header[length] = '\0';
    if (const char *error = check_header(path, header, tensor))
        return error;
    if (fread(data, 1, tensor->bytes, file.stream) != tensor->bytes)
        return say("%s is cut off", path);
    return fgetc(file.stream) == EOF ? nullptr : say("%s is longer than its shape says", path);
}

bool npy_write(const char *path, const ew_tensor *tensor, const void *data)
{
    char shape[256], header[512];
    spell_shape(tensor, shape, sizeof shape);
    int length = snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }",
                          descr_of(tensor->dtype), shape);
    int padded = (10 + length + 64) / 64 * 64 - 10; // the data starts at a multiple of 64, after a newline
    memset(header + length, ' ', (size_t)(padded - length));
    header[padded - 1] = '\n';
    const unsigned char head[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)padded,
                                    (unsigned char)(padded >> 8)};
    FILE *file = fopen(path, "wb");
    if (!file)
        return false;
    bool written = fwrite(head, 1, 10, file) == 10 && fwrite(header, 1, (size_t)padded, file) == (size_t)padded &&
                   fwrite(data, 1, tensor->bytes, file) == tensor->bytes;
    return (fclose(file) == 0) && written;
}
