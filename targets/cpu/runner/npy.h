// NumPy's .npy files, versions 1 and 2, C order: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
#pragma once
#include "edgewright.h"

// Reads the tensor's values into `data` (tensor->bytes long). An error's text, or nullptr; valid until the next call.
const char *npy_read(const char *path, const ew_tensor *tensor, void *data);

// Writes a version 1 file. False, and errno, when it cannot.
bool npy_write(const char *path, const ew_tensor *tensor, const void *data);
