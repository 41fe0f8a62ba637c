#define _GNU_SOURCE
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model.h"

ew_status ew_map_file(ew_file *file, const char *folder, const char *name)
{
    char path[PATH_MAX];
    *file = (ew_file){NULL, 0};
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return ew_fail(EW_BAD_INPUT, "the folder's name is too long");
    struct stat found;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a named pipe is not waited for */
    if (descriptor < 0 || fstat(descriptor, &found) != 0) {
        ew_status status = ew_fail(EW_BAD_ARTIFACT, "%s: %s", path, strerror(errno));
        if (descriptor >= 0)
            close(descriptor);
        return status;
    }
    ew_status status = EW_OK;
    if (!S_ISREG(found.st_mode))
        status = ew_fail(EW_BAD_ARTIFACT, "%s is not a file", path);
    else if (found.st_size > 0) {
        void *memory = mmap(NULL, (size_t)found.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, descriptor, 0);
        if (memory == MAP_FAILED)
            status = ew_fail(EW_NO_MEMORY, "%s cannot be mapped: %s", path, strerror(errno));
        else
            *file = (ew_file){memory, (size_t)found.st_size};
    }
    close(descriptor);
    return status;
}

ew_status ew_map_checked_file(ew_file *file, const char *folder, const char *name, const ew_identity *wanted)
{
    ew_status status = ew_map_file(file, folder, name);
    if (status != EW_OK)
        return status;
    if ((int64_t)file->bytes != wanted->bytes)
        return ew_fail(EW_BAD_ARTIFACT, "%s/%s has %zu bytes, not %lld: copy it again", folder, name, file->bytes,
                       (long long)wanted->bytes);
    char found[EW_SHA256_TEXT];
    ew_sha256(file->data, file->bytes, found);
    if (strcmp(found, wanted->sha256) != 0)
        return ew_fail(EW_BAD_ARTIFACT, "%s/%s is damaged: its SHA-256 is not the one in model.txt; copy it again", folder,
                       name);
    return EW_OK;
}

void ew_unmap_file(ew_file *file)
{
    if (file->data)
        munmap(file->data, file->bytes);
    *file = (ew_file){NULL, 0};
}
