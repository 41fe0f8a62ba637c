// edgewright-run: runs and times a compiled model. An example of edgewright.h, and what `edgewright profile` executes.
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "conditions.h"
#include "edgewright.h"
#include "npy.h"

namespace {

const char usage[] =
    "edgewright-run FOLDER --input NAME=FILE.npy ... [options]\n"
    "  --output FOLDER    write each output there as NAME.npy\n"
    "  --threads N[,N]    numbers of threads to time (default 1; 0: one per processor; all: 1, 2, 4 ... up to that)\n"
    "  --warmup N         runs that do not count (default 3)\n"
    "  --repeat N         runs that are timed (default 1), as far as --seconds reach\n"
    "  --seconds S        for the timed runs of each number of threads (default 60)\n"
    "  --steps N          times N runs step by step as well (default 0)\n"
    "  --power S          reads power sensors over S seconds of runs, if there are any (default 0)\n"
    "  --profile FILE     write the figures as JSON; - for standard output\n"
    "  --root FOLDER      where /sys and /proc are looked for (default /)\n"
    "  --parent PID       end when this process, which has to be the parent, ends\n";

enum { LIST_MAX = 16, INPUTS_MAX = 64, EXIT_MODEL = 1, EXIT_USAGE = 2, EXIT_BUG = 4, POWER_PERIOD_NS = 50000000 };

struct Options {
    const char *folder = nullptr, *output = nullptr, *profile = nullptr, *root = "";
    const char *inputs[INPUTS_MAX];
    int threads[LIST_MAX] = {1};
    int input_count = 0, thread_count = 1, warmup = 3, repeat = 1, steps = 0;
    double seconds = 60, power = 0;
};

// One line: what to blame (artifact, cpu, input, memory, model or usage), and the text.
__attribute__((noreturn, format(printf, 3, 4))) void give_up(int code, const char *kind, const char *format, ...)
{
    char text[2048];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    for (char *c = text; *c; c++) // parts of it come from files
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    fprintf(stderr, "edgewright-run: %s: %s\n", kind, text);
    exit(code);
}

__attribute__((noreturn)) void give_up()
{
    switch (ew_error_status()) {
    case EW_BAD_ARTIFACT: give_up(EXIT_MODEL, "artifact", "%s", ew_error());
    case EW_BAD_INPUT: give_up(EXIT_MODEL, "input", "%s", ew_error());
    case EW_WRONG_CPU: give_up(EXIT_USAGE, "cpu", "%s", ew_error());
    case EW_NO_MEMORY: give_up(EXIT_USAGE, "memory", "%s", ew_error());
    default: give_up(EXIT_BUG, "model", "%s", ew_error());
    }
}

double parsed(const char *option, const char *text, double least, double most)
{
    char *after;
    double value = strtod(text, &after);
    if (after == text || *after || !(value >= least && value <= most))
        give_up(EXIT_USAGE, "usage", "%s takes a number from %g to %g, not '%s'", option, least, most, text);
    return value;
}

void parse_threads(Options &options, char *text)
{
    options.thread_count = 0;
    if (strcmp(text, "all") == 0) {
        cpu_set_t mine;
        int most = sched_getaffinity(0, sizeof mine, &mine) == 0 ? CPU_COUNT(&mine) : 1;
        for (int n = 1; n < most && n < EW_THREADS_MAX; n *= 2)
            options.threads[options.thread_count++] = n;
        options.threads[options.thread_count++] = most < EW_THREADS_MAX ? most : EW_THREADS_MAX;
        return;
    }
    for (char *rest = nullptr, *one = strtok_r(text, ",", &rest); one; one = strtok_r(nullptr, ",", &rest)) {
        if (options.thread_count == LIST_MAX)
            give_up(EXIT_USAGE, "usage", "--threads takes at most %d numbers", LIST_MAX);
        options.threads[options.thread_count++] = (int)parsed("--threads", one, 0, EW_THREADS_MAX);
    }
    if (!options.thread_count)
        give_up(EXIT_USAGE, "usage", "--threads takes numbers");
}

// No measurement outlives the program that started it, however that program ends.
void follow(pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        give_up(EXIT_USAGE, "usage", "process %d is not the parent", (int)parent);
}

void parse(Options &options, int count, char **words)
{
    for (int i = 1; i < count; i++) {
        const char *word = words[i];
        if (strcmp(word, "--help") == 0) {
            fputs(usage, stdout);
            exit(0);
        }
        if (word[0] != '-') {
            if (options.folder)
                give_up(EXIT_USAGE, "usage", "one folder, not also '%s'", word);
            options.folder = word;
            continue;
        }
        if (++i == count)
            give_up(EXIT_USAGE, "usage", "%s takes a value, or is unknown: see --help", word);
        char *value = words[i];
        if (strcmp(word, "--input") == 0) {
            if (options.input_count == INPUTS_MAX || !strchr(value, '='))
                give_up(EXIT_USAGE, "usage", "--input NAME=FILE.npy, not '%s'", value);
            options.inputs[options.input_count++] = value;
        } else if (strcmp(word, "--output") == 0)
            options.output = value;
        else if (strcmp(word, "--threads") == 0)
            parse_threads(options, value);
        else if (strcmp(word, "--warmup") == 0)
            options.warmup = (int)parsed(word, value, 0, 1e6);
        else if (strcmp(word, "--repeat") == 0)
            options.repeat = (int)parsed(word, value, 1, 1e7);
        else if (strcmp(word, "--seconds") == 0)
            options.seconds = parsed(word, value, 0, 1e6);
        else if (strcmp(word, "--steps") == 0)
            options.steps = (int)parsed(word, value, 0, 1e5);
        else if (strcmp(word, "--power") == 0)
            options.power = parsed(word, value, 0, 3600);
        else if (strcmp(word, "--profile") == 0)
            options.profile = value;
        else if (strcmp(word, "--parent") == 0)
            follow((pid_t)parsed(word, value, 1, 1e9));
        else if (strcmp(word, "--root") == 0)
            options.root = value;
        else
            give_up(EXIT_USAGE, "usage", "unknown option '%s': see --help", word);
    }
    if (!options.folder)
        give_up(EXIT_USAGE, "usage", "no folder given: see --help");
}

int64_t now_ns()
{
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void check(ew_status status)
{
    if (status != EW_OK)
        give_up();
}

void read_inputs(ew_model *model, const Options &options)
{
    for (int k = 0; k < ew_input_count(model); k++) {
        const ew_tensor *tensor = ew_input(model, k);
        const char *path = nullptr;
        for (int i = 0; i < options.input_count; i++) {
            size_t length = (size_t)(strchr(options.inputs[i], '=') - options.inputs[i]);
            if (length == strlen(tensor->name) && strncmp(options.inputs[i], tensor->name, length) == 0)
                path = options.inputs[i] + length + 1;
        }
        if (!path)
            give_up(EXIT_MODEL, "input", "input '%s' is missing: --input %s=FILE.npy", tensor->name, tensor->name);
        void *data = malloc(tensor->bytes);
        if (!data)
            give_up(EXIT_USAGE, "memory", "out of memory for input '%s'", tensor->name);
        if (const char *error = npy_read(path, tensor, data))
            give_up(EXIT_MODEL, "input", "input '%s': %s", tensor->name, error);
        check(ew_set_input(model, k, data, tensor->bytes));
        free(data);
    }
    for (int i = 0; i < options.input_count; i++) {
        size_t length = (size_t)(strchr(options.inputs[i], '=') - options.inputs[i]);
        bool known = false;
        for (int k = 0; k < ew_input_count(model); k++)
            known |= length == strlen(ew_input(model, k)->name) &&
                     strncmp(options.inputs[i], ew_input(model, k)->name, length) == 0;
        if (!known)
            give_up(EXIT_MODEL, "input", "the model has no input '%.*s'", (int)length, options.inputs[i]);
    }
}

int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int64_t *numbers(size_t count)
{
    auto *memory = (int64_t *)calloc(count ? count : 1, sizeof(int64_t));
    if (!memory)
        give_up(EXIT_USAGE, "memory", "out of memory for %zu times", count);
    return memory;
}

// The runs of one number of threads, as a JSON object; the median time is returned.
int64_t time_runs(FILE *out, ew_model *model, const Options &options)
{
    const int steps = ew_step_count(model);
    for (int i = 0; i < options.warmup; i++)
        check(ew_run(model));
    int64_t *times = numbers((size_t)options.repeat), end = now_ns() + (int64_t)(options.seconds * 1e9);
    int count = 0;
    for (int64_t started = now_ns(), ended; count < options.repeat; started = ended) {
        check(ew_run(model));
        ended = now_ns();
        times[count++] = ended - started;
        if (ended > end)
            break;
    }
    fprintf(out, "{\"threads\": %d, \"times_ns\": [", ew_threads(model));
    for (int i = 0; i < count; i++)
        fprintf(out, "%s%lld", i ? ", " : "", (long long)times[i]);
    qsort(times, (size_t)count, sizeof *times, ascending);
    int64_t median = times[count / 2];
    free(times);
    int64_t *by_step = numbers((size_t)steps * (size_t)options.steps);
    count = 0;
    end = now_ns() + (int64_t)(options.seconds * 1e9);
    for (; count < options.steps && now_ns() <= end; count++)
        for (int i = 0; i < steps; i++) {
            int64_t started = now_ns();
            check(ew_run_steps(model, i, i + 1));
            by_step[(size_t)i * (size_t)options.steps + (size_t)count] = now_ns() - started;
        }
    fprintf(out, "], \"steps\": [");
    for (int i = 0; i < steps && count; i++) {
        int64_t *mine = by_step + (size_t)i * (size_t)options.steps;
        qsort(mine, (size_t)count, sizeof *mine, ascending);
        fprintf(out, "%s{\"median_ns\": %lld, \"min_ns\": %lld}", i ? ", " : "", (long long)mine[count / 2],
                (long long)mine[0]);
    }
    fprintf(out, "]}");
    free(by_step);
    return median;
}

struct Sampler {
    Rails *rails;
    volatile bool stop;
};

void *sample_rails(void *argument)
{
    auto *sampler = (Sampler *)argument;
    const timespec period = {0, POWER_PERIOD_NS};
    while (!sampler->stop) {
        sampler->rails->sample();
        nanosleep(&period, nullptr);
    }
    return nullptr;
}

// Rails while idle and while running, as JSON; null without sensors.
void measure_power(FILE *out, ew_model *model, const Options &options)
{
    Rails idle(options.root), busy(options.root);
    if (!busy.count || options.power <= 0) {
        fprintf(out, "null");
        return;
    }
    const timespec period = {0, POWER_PERIOD_NS};
    for (int64_t end = now_ns() + (int64_t)(options.power * 1e9 / 2); now_ns() < end; nanosleep(&period, nullptr))
        idle.sample();
    Sampler sampler{&busy, false};
    pthread_t thread;
    if (pthread_create(&thread, nullptr, sample_rails, &sampler) != 0)
        give_up(EXIT_USAGE, "memory", "no thread for the power sensors");
    int64_t started = now_ns(), end = started + (int64_t)(options.power * 1e9);
    long runs = 0;
    for (; now_ns() < end; runs++)
        check(ew_run(model));
    double seconds = (double)(now_ns() - started) * 1e-9;
    sampler.stop = true;
    pthread_join(thread, nullptr);
    fprintf(out, "{\"threads\": %d, \"runs\": %ld, \"seconds\": %.6f, \"samples\": %d, \"idle\": ", ew_threads(model), runs,
            seconds, busy.samples);
    idle.print(out);
    fprintf(out, ", \"busy\": ");
    busy.print(out);
    fprintf(out, "}");
}

void write_outputs(ew_model *model, const char *folder)
{
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        give_up(EXIT_USAGE, "usage", "%s: %s", folder, strerror(errno));
    for (int i = 0; i < ew_output_count(model); i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s.npy", folder, ew_output(model, i)->name);
        if (!npy_write(path, ew_output(model, i), ew_output_data(model, i)))
            give_up(EXIT_USAGE, "usage", "%s: %s", path, strerror(errno));
    }
}

} // namespace

int main(int count, char **words)
{
    Options options;
    parse(options, count, words);
    ew_model *model = ew_open(options.folder, 1);
    if (!model)
        give_up();
    read_inputs(model, options);
    char *text = nullptr;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size); // so that a failure does not leave half a file
    if (!out)
        give_up(EXIT_USAGE, "memory", "out of memory");
    fprintf(out, "{\"format\": 1, \"machine\": ");
    print_machine(out, options.root);
    fprintf(out, ", \"before\": ");
    print_conditions(out, options.root);
    fprintf(out, ", \"warmup\": %d, \"runs\": [", options.warmup);
    for (int i = 0; i < options.thread_count; i++) {
        check(ew_set_threads(model, options.threads[i]));
        fputs(i ? ", " : "", out);
        int64_t median = time_runs(out, model, options);
        if (!options.profile || strcmp(options.profile, "-") != 0)
            printf("%d thread%s: median %.3f ms\n", ew_threads(model), ew_threads(model) == 1 ? "" : "s",
                   (double)median * 1e-6);
    }
    fprintf(out, "], \"after\": ");
    print_conditions(out, options.root);
    fprintf(out, ", \"power\": ");
    measure_power(out, model, options);
    fprintf(out, "}\n");
    fclose(out);
    if (options.output)
        write_outputs(model, options.output);
    if (options.profile) {
        FILE *file = strcmp(options.profile, "-") == 0 ? stdout : fopen(options.profile, "w");
        if (!file || fwrite(text, 1, size, file) != size || fflush(file) != 0)
            give_up(EXIT_USAGE, "usage", "%s: %s", options.profile, strerror(errno));
        if (file != stdout)
            fclose(file);
    }
    free(text);
    ew_close(model);
    return 0;
}
