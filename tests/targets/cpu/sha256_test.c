/* sha256_test FILE N...: both digests of the first N bytes, a line each. */
#include <stdio.h>
#include <stdlib.h>

#include "sha256.h"

int main(int count, char **words)
{
    static char data[1 << 20];
    FILE *file = count > 1 ? fopen(words[1], "rb") : NULL;
    if (!file || fread(data, 1, sizeof data, file) == 0)
        return 1;
    fclose(file);
    for (int i = 2; i < count; i++) {
        char fast[EW_SHA256_TEXT], plain[EW_SHA256_TEXT];
        ew_sha256(data, (size_t)atoi(words[i]), fast);
        ew_sha256_plain(data, (size_t)atoi(words[i]), plain);
        printf("%s %s\n", fast, plain);
    }
    return 0;
}
