// Kernels made by Edgewright, printed by TVM's CUDA code generator.
#ifdef __CUDACC_RTC__
typedef long long int64_t;
typedef unsigned long long uint64_t;
#else
#include <stdint.h>
#endif
#define uint unsigned int
#define uchar unsigned char
#define ushort unsigned short

