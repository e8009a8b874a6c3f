/* Loads and closes the plugins in the arguments again and again, while threads that worked in them live
   on. The address space must not grow by it. */
#include "check.h"
#include <stdbool.h>

enum { THREADS = 3, ROUNDS = 20, SETTLED = 8, SWING = 3 << 20, MOST = 4 };

static uint64_t (*works[MOST])(uint64_t, bool);
static int count;
static bool keep;
static pthread_barrier_t used, closed;

static void *worker(void *number) {
    for (int i = 0; i < count; i++) {
        uint64_t seed = 1 + (uintptr_t)number, first = works[i](seed, keep);
        CHECK(first == works[i](seed, keep), "plugin %d", i);
    }
    /* One ends before dlclose, the others after it. */
    if (number) {
        pthread_barrier_wait(&used);
        pthread_barrier_wait(&closed);
    }
    return NULL;
}

static size_t address_space(void) {
    size_t pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file && fscanf(file, "%zu", &pages) == 1);
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

int main(int arguments, char **argument) {
    pthread_t threads[THREADS];
    pthread_attr_t attributes;
    size_t settled = 0;
    alarm(100);
    /* The C library's own arenas would hide what the plugins leave. */
    mallopt(M_ARENA_MAX, 1);
    count = arguments - 1;
    CHECK(count > 0 && count <= MOST, "the arguments are the plugins");
    pthread_attr_init(&attributes);
    CHECK(pthread_attr_setstacksize(&attributes, 512 << 10) == 0);
    pthread_barrier_init(&used, NULL, THREADS);
    pthread_barrier_init(&closed, NULL, THREADS);
    for (int round = 0; round < ROUNDS; round++) {
        void *handles[MOST];
        keep = round % 2;
        for (int i = 0; i < count; i++) {
            handles[i] = dlopen(argument[i + 1], RTLD_NOW | RTLD_LOCAL);
            CHECK(handles[i], "%s", dlerror());
            *(void **)&works[i] = dlsym(handles[i], "plugin_work");
            CHECK(works[i] && (i == 0 || works[i] != works[0]), "%s", argument[i + 1]);
        }
        for (intptr_t i = 0; i < THREADS; i++)
            CHECK(pthread_create(&threads[i], &attributes, worker, (void *)i) == 0);
        CHECK(pthread_join(threads[0], NULL) == 0);
        pthread_barrier_wait(&used);
        for (int i = 0; i < count; i++) CHECK(dlclose(handles[i]) == 0);
        pthread_barrier_wait(&closed);
        for (int i = 1; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
        size_t now = address_space();
        if (round < SETTLED && now > settled) settled = now;
        CHECK(now < settled + SWING, "%zu KiB after round %d, %zu KiB before", now >> 10, round, settled >> 10);
    }
    return 0;
}
