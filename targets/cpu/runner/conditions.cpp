#include "conditions.h"

#include <glob.h>
#include <gnu/libc-version.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

namespace {

// The first line of a file, without its end; false when it cannot be read.
bool first_line(const char *path, char *out, size_t size)
{
    FILE *file = fopen(path, "r");
    if (!file)
        return false;
    out[0] = '\0';
    bool found = fgets(out, (int)size, file) != nullptr;
    fclose(file);
    out[strcspn(out, "\n")] = '\0';
    return found;
}

bool number(const char *path, double *out)
{
    char line[64];
    if (!first_line(path, line, sizeof line))
        return false;
    char *after;
    *out = strtod(line, &after);
    return after != line;
}

struct Paths {
    glob_t found{};
    Paths(const char *root, const char *pattern)
    {
        char whole[512];
        snprintf(whole, sizeof whole, "%s%s", root, pattern);
        glob(whole, 0, nullptr, &found);
    }
    ~Paths() { globfree(&found); }
    Paths(const Paths &) = delete;
    Paths &operator=(const Paths &) = delete;
    char **begin() { return found.gl_pathv; }
    char **end() { return found.gl_pathv + found.gl_pathc; }
};

void print_text(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text; text++)
        if (*text >= ' ' && *text < 127 && *text != '"' && *text != '\\')
            fputc(*text, out);
    fputc('"', out);
}

// A JSON list of the numbers in all files of that pattern.
void print_numbers(FILE *out, const char *root, const char *pattern)
{
    const char *comma = "";
    fputc('[', out);
    for (const char *path : Paths(root, pattern)) {
        double value;
        if (number(path, &value)) {
            fprintf(out, "%s%.0f", comma, value);
            comma = ", ";
        }
    }
    fputc(']', out);
}

void print_governors(FILE *out, const char *root)
{
    char seen[512] = ",";
    const char *comma = "";
    fputc('[', out);
    for (const char *path : Paths(root, "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")) {
        char name[64], key[70];
        if (!first_line(path, name, sizeof name))
            continue;
        snprintf(key, sizeof key, ",%s,", name);
        if (strstr(seen, key) || strlen(seen) + strlen(name) + 2 > sizeof seen)
            continue;
        strcat(strcat(seen, name), ",");
        fputs(comma, out);
        print_text(out, name);
        comma = ", ";
    }
    fputc(']', out);
}

void print_thermal(FILE *out, const char *root)
{
    const char *comma = "";
    fputc('[', out);
    for (const char *path : Paths(root, "/sys/class/thermal/thermal_zone*")) {
        char file[512], name[64] = "";
        double millicelsius;
        snprintf(file, sizeof file, "%s/type", path);
        first_line(file, name, sizeof name);
        snprintf(file, sizeof file, "%s/temp", path);
        if (!number(file, &millicelsius))
            continue;
        fprintf(out, "%s{\"name\": ", comma);
        print_text(out, name);
        fprintf(out, ", \"millicelsius\": %.0f}", millicelsius);
        comma = ", ";
    }
    fputc(']', out);
}

// How often the processors were throttled since boot, or null.
void print_throttle_count(FILE *out, const char *root)
{
    double sum = 0, value;
    bool any = false;
    for (const char *path : Paths(root, "/sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/core_throttle_count"))
        if (number(path, &value)) {
            sum += value;
            any = true;
        }
    any ? fprintf(out, "%.0f", sum) : fprintf(out, "null");
}

// A Raspberry Pi's flags: https://www.raspberrypi.com/documentation/computers/os.html (get_throttled), or null.
void print_throttled_flags(FILE *out, const char *root)
{
    char path[512], line[64] = "";
    const char *places[] = {"/usr/bin/vcgencmd", "/opt/vc/bin/vcgencmd"};
    for (const char *place : places) {
        snprintf(path, sizeof path, "%s%s", root, place);
        if (access(path, X_OK) != 0 || strchr(path, '\''))
            continue;
        char command[600];
        snprintf(command, sizeof command, "'%s' get_throttled 2>/dev/null", path);
        if (FILE *said = popen(command, "r")) {
            if (!fgets(line, sizeof line, said))
                line[0] = '\0';
            pclose(said);
        }
        if (strncmp(line, "throttled=0x", 12) == 0) {
            fprintf(out, "%lu", strtoul(line + 12, nullptr, 16));
            return;
        }
    }
    fprintf(out, "null");
}

void copy(char *to, size_t size, const char *folder, const char *name)
{
    snprintf(to, size, "%s/%s", folder, name);
    if (access(to, R_OK) != 0)
        to[0] = '\0';
}

} // namespace

void print_machine(FILE *out, const char *root)
{
    char path[512], name[256] = "";
    snprintf(path, sizeof path, "%s/proc/device-tree/model", root);
    if (!first_line(path, name, sizeof name)) {
        snprintf(path, sizeof path, "%s/proc/cpuinfo", root);
        if (FILE *file = fopen(path, "r")) {
            char line[512];
            while (fgets(line, sizeof line, file))
                if (strncmp(line, "model name", 10) == 0 && strchr(line, ':')) {
                    const char *value = strchr(line, ':') + 1;
                    snprintf(name, sizeof name, "%s", value + strspn(value, " "));
                    name[strcspn(name, "\n")] = '\0';
                    break;
                }
            fclose(file);
        }
    }
    utsname system{};
    uname(&system);
    fprintf(out, "{\"name\": ");
    print_text(out, name);
    fprintf(out, ", \"arch\": ");
    print_text(out, system.machine);
    fprintf(out, ", \"kernel\": ");
    print_text(out, system.release);
    fprintf(out, ", \"libc\": ");
    print_text(out, gnu_get_libc_version());
    fprintf(out, ", \"processors\": %ld, \"memory_bytes\": %.0f}", sysconf(_SC_NPROCESSORS_ONLN),
            (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE));
}

void print_conditions(FILE *out, const char *root)
{
    char path[512], load[64];
    fprintf(out, "{\"governors\": ");
    print_governors(out, root);
    fprintf(out, ", \"clock_khz\": ");
    print_numbers(out, root, "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq");
    fprintf(out, ", \"clock_max_khz\": ");
    print_numbers(out, root, "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/cpuinfo_max_freq");
    fprintf(out, ", \"thermal\": ");
    print_thermal(out, root);
    fprintf(out, ", \"throttle_count\": ");
    print_throttle_count(out, root);
    fprintf(out, ", \"throttled_flags\": ");
    print_throttled_flags(out, root);
    snprintf(path, sizeof path, "%s/proc/loadavg", root);
    bool known = first_line(path, load, sizeof load);
    known ? fprintf(out, ", \"load\": %.2f}", atof(load)) : fprintf(out, ", \"load\": null}");
}

Rails::Rails(const char *root)
{
    for (const char *folder : Paths(root, "/sys/class/hwmon/hwmon*")) {
        char path[400], line[64];
        snprintf(path, sizeof path, "%s/name", folder);
        if (!first_line(path, line, sizeof line) || strncmp(line, "ina3221", 7) != 0)
            continue;
        for (int i = 1; i <= 3 && count < MAX; i++) {
            auto &one = rail[count];
            char file[32];
            snprintf(file, sizeof file, "in%d_input", i);
            copy(one.millivolts, sizeof one.millivolts, folder, file);
            snprintf(file, sizeof file, "curr%d_input", i);
            copy(one.milliamperes, sizeof one.milliamperes, folder, file);
            snprintf(path, sizeof path, "%s/in%d_label", folder, i);
            if (!first_line(path, one.name, sizeof one.name))
                snprintf(one.name, sizeof one.name, "channel %d", i);
            one.milliwatts[0] = '\0';
            if (one.millivolts[0] && one.milliamperes[0])
                count++;
        }
    }
    for (const char *label : Paths(root, "/sys/bus/iio/devices/iio:device*/rail_name_*")) {
        if (count == MAX)
            break;
        auto &one = rail[count];
        char folder[256];
        snprintf(folder, sizeof folder, "%s", label);
        *strrchr(folder, '/') = '\0';
        snprintf(one.milliwatts, sizeof one.milliwatts, "%s/in_power%s_input", folder, strrchr(label, '_') + 1);
        one.millivolts[0] = one.milliamperes[0] = '\0';
        if (first_line(label, one.name, sizeof one.name) && access(one.milliwatts, R_OK) == 0)
            count++;
    }
    for (int i = 0; i < count; i++)
        rail[i].sum = 0;
}

void Rails::sample()
{
    for (int i = 0; i < count; i++) {
        double a = 0, b = 0;
        if (rail[i].milliwatts[0] && number(rail[i].milliwatts, &a))
            rail[i].sum += a;
        else if (number(rail[i].millivolts, &a) && number(rail[i].milliamperes, &b))
            rail[i].sum += a * b / 1000;
    }
    samples++;
}

void Rails::print(FILE *out) const
{
    fputc('[', out);
    for (int i = 0; i < count; i++) {
        fprintf(out, "%s{\"name\": ", i ? ", " : "");
        print_text(out, rail[i].name);
        fprintf(out, ", \"milliwatts\": %.1f}", samples ? rail[i].sum / samples : 0.0);
    }
    fputc(']', out);
}
