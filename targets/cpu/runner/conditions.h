// Under which conditions a measurement is made: clock, temperature, throttling, power, as Linux shows them.
#pragma once
#include <stdio.h>

// A JSON object each. `root` replaces / in all paths (for tests): "" means the machine itself.
void print_machine(FILE *out, const char *root);
void print_conditions(FILE *out, const char *root);

// Electrical rails with their means over samples; at most `MAX` of them.
struct Rails {
    enum { MAX = 16 };
    struct {
        char name[64], milliwatts[384], millivolts[256], milliamperes[256];
        double sum;
    } rail[MAX];
    int count = 0, samples = 0;

    explicit Rails(const char *root); // finds INA3221 sensors: hwmon, or NVIDIA's older iio driver
    void sample();
    void print(FILE *out) const; // a JSON list of {"name", "milliwatts"}
};
