/* Files of an artifact in memory, checked against model.txt. Internal to edgewright.c. */
#ifndef EW_FILE_H
#define EW_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "edgewright.h"
#include "sha256.h"

/* Pages of the file, read only; data is NULL when it has no bytes. */
typedef struct {
    void *data;
    size_t bytes;
} ew_file;

/* Size and SHA-256 of a file as the compiler wrote it. */
typedef struct {
    int64_t bytes;
    char sha256[EW_SHA256_TEXT];
} ew_identity;

/* folder/name, whole. EW_BAD_ARTIFACT when it cannot be read or is not a regular file. */
ew_status ew_map_file(ew_file *file, const char *folder, const char *name);

/* As ew_map_file; EW_BAD_ARTIFACT also when the file is not the one that the compiler wrote. */
ew_status ew_map_checked_file(ew_file *file, const char *folder, const char *name, const ew_identity *wanted);

void ew_unmap_file(ew_file *file);

#endif
