/* What a program has freed in blocks of 1 MiB below one in use goes back to the system, in the main thread and in
 * another, while it does a little; also where it frees what it took before the library was loaded, and has had many
 * blocks with a large alignment. */
#include "check.h"

enum { EARLY = 1024, EARLY_BYTES = 256 << 10, ALIGNED = 20000, BLOCKS = 200, BYTES = 1 << 20, LITTLE = 2000, TRIES = 200, LEFT_MAX = 16 << 20 };

static void *early[EARLY];

static void take_early(void) {
    for (size_t i = 0; i < EARLY; i++) CHECK(early[i] = malloc(EARLY_BYTES));
}

__attribute__((section(".preinit_array"), used)) static void (*const before_all)(void) = take_early;

static size_t resident(void) {
    unsigned long all, resident;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file && fscanf(file, "%lu %lu", &all, &resident) == 2 && fclose(file) == 0);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static void *spike(void *unused) {
    static void *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) {
        CHECK(blocks[i] = malloc(BYTES));
        memset(blocks[i], 1, BYTES);
    }
    /* Stays in use. */
    CHECK(malloc(1000));
    for (size_t i = 0; i < BLOCKS; i++) free(blocks[i]);
    return unused;
}

static void do_a_little(void) {
    void *blocks[LITTLE];
    for (size_t i = 0; i < LITTLE; i++) CHECK(blocks[i] = malloc(64));
    for (size_t i = 0; i < LITTLE; i++) free(blocks[i]);
    const struct timespec pause = {0, 50000000};
    nanosleep(&pause, NULL);
}

int main(void) {
    check_preload();
    for (size_t i = 0; i < EARLY; i++) free(early[i]);
    for (size_t i = 0; i < ALIGNED; i++) free(aligned_alloc(BYTES, EARLY_BYTES));
    size_t before = resident();
    for (int in_thread = 0; in_thread < 2; in_thread++) {
        pthread_t thread;
        if (in_thread)
            CHECK(pthread_create(&thread, NULL, spike, NULL) == 0 && pthread_join(thread, NULL) == 0);
        else
            spike(NULL);
        size_t tries = 0;
        while (resident() > before + LEFT_MAX && tries < TRIES) {
            do_a_little();
            tries++;
        }
        CHECK(tries < TRIES, "%zu MiB stay, %s", (resident() - before) >> 20, in_thread ? "in a thread" : "in main");
    }
    return 0;
}
