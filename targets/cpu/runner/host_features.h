/* Features of the processor this runs on, by the names of /proc/cpuinfo. Internal to edgewright.c. */
#ifndef EW_FEATURES_H
#define EW_FEATURES_H

typedef enum { EW_HAS, EW_LACKS, EW_UNKNOWN_FEATURE } ew_presence;

const char *ew_host_arch(void); /* x86_64, aarch64 or "other" */
ew_presence ew_host_has(const char *feature);

#endif
