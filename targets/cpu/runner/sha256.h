/* SHA-256 of a block of memory: FIPS 180-4, section 6.2. Internal to edgewright.c. */
#ifndef EW_SHA256_H
#define EW_SHA256_H

#include <stdbool.h>
#include <stddef.h>

enum { EW_SHA256_TEXT = 64 + 1 };

/* The digest in lower-case hexadecimal. */
void ew_sha256(const void *data, size_t bytes, char text[EW_SHA256_TEXT]);

/* The same without the processor's instructions for it. */
void ew_sha256_plain(const void *data, size_t bytes, char text[EW_SHA256_TEXT]);

#endif
