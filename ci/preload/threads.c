/* Blocks that wander between threads, the end of threads, pthread keys, fork, thread-local memory of
   libraries. The argument is a folder with such libraries, tls0.so and on. */
#include "check.h"
#include <stdatomic.h>

enum { WORKERS = 4, SLOTS = 2048, KEYS = 100, LIBRARIES = 30 };

typedef struct {
    size_t size;
    size_t seed;
} Header;

static _Atomic(Header *) slots[SLOTS];
static atomic_int stop;

static Header *make(size_t size, size_t seed) {
    Header *block = malloc(sizeof *block + size);
    CHECK(block);
    *block = (Header){size, seed};
    fill(block + 1, size, seed);
    return block;
}

static void give(Header *block) {
    if (!block) return;
    CHECK(filled(block + 1, block->size, block->seed), "size %zu, seed %zu", block->size, block->seed);
    free(block);
}

static void empty_slots(void) {
    for (size_t i = 0; i < SLOTS; i++) give(atomic_exchange(&slots[i], NULL));
}

/* Puts new blocks where others, of whatever thread, were, and ends those. */
static void exchange(uint64_t *state, size_t steps) {
    for (size_t step = 0; step < steps; step++) {
        Header *block = make(random_size(state), step);
        if (step % 8 == 0) {
            size_t old = block->size, size = random_size(state);
            block = realloc(block, sizeof *block + size);
            CHECK(block && filled(block + 1, old < size ? old : size, step));
            block->size = size;
            fill(block + 1, size, step);
        }
        give(atomic_exchange(&slots[next_random(state) % SLOTS], block));
    }
}

static void *exchanger(void *number) {
    uint64_t state = 1 + (uintptr_t)number;
    exchange(&state, 100000);
    return make(300, (uintptr_t)number);
}

static void *busy(void *number) {
    uint64_t state = 100 + (uintptr_t)number;
    while (!atomic_load(&stop)) exchange(&state, 100);
    return NULL;
}

static void start(pthread_t *threads, int count, void *(*work)(void *)) {
    for (intptr_t i = 0; i < count; i++) CHECK(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
}

static void *join(pthread_t thread) {
    void *result;
    CHECK(pthread_join(thread, &result) == 0);
    return result;
}

static void test_exchange(void) {
    pthread_t threads[WORKERS];
    start(threads, WORKERS, exchanger);
    for (int i = 0; i < WORKERS; i++) give(join(threads[i]));
    empty_slots();
}

static void *short_lived(void *number) {
    Header *blocks[40];
    for (size_t i = 0; i < LENGTH(blocks); i++) blocks[i] = make(i * 17, i);
    for (size_t i = 1; i < LENGTH(blocks); i++) give(blocks[i]);
    give(atomic_exchange(&slots[(uintptr_t)number % SLOTS], make((uintptr_t)number % 900, 3)));
    if ((uintptr_t)number % 2) pthread_exit(blocks[0]);
    return blocks[0];
}

static void test_short_threads(void) {
    for (int round = 0; round < 100; round++) {
        pthread_t threads[10];
        start(threads, LENGTH(threads), short_lived);
        for (size_t i = 0; i < LENGTH(threads); i++) give(join(threads[i]));
    }
    empty_slots();
}

/* More keys than the C library has room for without allocating, made before all else that runs. */
static pthread_key_t keys[KEYS];
static atomic_size_t ends;

/* The block of a key tells which it is, and how often it shall come again. */
static void set(size_t key, size_t rounds) {
    CHECK(pthread_setspecific(keys[key], make(key * 9 % 500, key * 8 + rounds)) == 0);
}

/* Comes again as often as POSIX has destructors called at least. */
static void destroy(void *block) {
    size_t key = ((Header *)block)->seed / 8, rounds = ((Header *)block)->seed % 8;
    uint64_t state = 7 + key;
    CHECK(key < KEYS && rounds <= 3, "key %zu, rounds %zu", key, rounds);
    if (rounds) set(key, rounds - 1);
    else atomic_fetch_add(&ends, 1);
    exchange(&state, 20);
    give(block);
}

static void make_keys(void) {
    for (size_t i = 0; i < KEYS; i++)
        if (pthread_key_create(&keys[i], destroy) != 0) _exit(3);
}
__attribute__((section(".preinit_array"), used)) static void (*first)(void) = make_keys;

static void *key_user(void *number) {
    for (size_t i = 0; i < KEYS; i++) set(KEYS - 1 - i, 3);
    /* One thread in two has done nothing else with memory before its end. */
    return (uintptr_t)number % 2 ? make(50, 50) : NULL;
}

static void *key_only(void *number) {
    CHECK(pthread_setspecific(keys[KEYS - 1], number) == 0 && pthread_setspecific(keys[KEYS - 1], NULL) == 0);
    return NULL;
}

static void test_keys(void) {
    pthread_t threads[20];
    size_t count = LENGTH(threads);
    start(threads, (int)count, key_user);
    for (size_t i = 0; i < count; i++) give(join(threads[i]));
    CHECK(atomic_load(&ends) == count * KEYS, "%zu", (size_t)atomic_load(&ends));
    start(threads, (int)count, key_only);
    for (size_t i = 0; i < count; i++) join(threads[i]);
    empty_slots();
}

/* What the child of a busy process does with memory, threads among it. */
static void child(void) {
    pthread_t threads[2];
    uint64_t state = 99;
    alarm(60);
    exchange(&state, 2000);
    start(threads, LENGTH(threads), short_lived);
    for (size_t i = 0; i < LENGTH(threads); i++) give(join(threads[i]));
    empty_slots();
}

static void wait_for(pid_t process) {
    int status;
    CHECK(waitpid(process, &status, 0) == process);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", status);
}

static void test_fork(void) {
    pthread_t threads[WORKERS];
    atomic_store(&stop, 0);
    start(threads, WORKERS, busy);
    for (int round = 0; round < 60; round++) {
        pid_t process = fork();
        CHECK(process >= 0);
        if (process == 0) {
            child();
            /* A grandchild, and an end by way of exit. */
            if (round % 10 == 0) {
                process = fork();
                CHECK(process >= 0);
                if (process == 0) child();
                else wait_for(process);
            }
            exit(0);
        }
        wait_for(process);
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < WORKERS; i++) join(threads[i]);
    empty_slots();
}

static _Atomic(int (*)(int)) functions[LIBRARIES];

static void *toucher(void *number) {
    uint64_t state = 500 + (uintptr_t)number;
    int touched[LIBRARIES] = {0};
    while (!atomic_load(&stop)) {
        exchange(&state, 50);
        for (int i = 0; i < LIBRARIES; i++) {
            int (*function)(int) = atomic_load(&functions[i]);
            if (!function) continue;
            CHECK(function(i + 1) == (touched[i] ? i + 1 : 0));
            touched[i] = 1;
        }
    }
    return NULL;
}

static void test_libraries(const char *folder) {
    for (int round = 0; round < 3; round++) {
        pthread_t threads[WORKERS];
        void *libraries[LIBRARIES];
        atomic_store(&stop, 0);
        start(threads, WORKERS, toucher);
        for (int i = 0; i < LIBRARIES; i++) {
            char path[4096];
            snprintf(path, sizeof path, "%s/tls%d.so", folder, i);
            libraries[i] = dlopen(path, RTLD_NOW | RTLD_LOCAL);
            CHECK(libraries[i], "%s", dlerror());
            int (*function)(int) = (int (*)(int))(uintptr_t)dlsym(libraries[i], "touch");
            CHECK(function && function(0) == 0);
            atomic_store(&functions[i], function);
            pause_ms(2);
        }
        atomic_store(&stop, 1);
        for (int i = 0; i < WORKERS; i++) join(threads[i]);
        for (int i = 0; i < LIBRARIES; i++) {
            atomic_store(&functions[i], NULL);
            CHECK(dlclose(libraries[i]) == 0);
        }
    }
    empty_slots();
}

int main(int count, char **arguments) {
    alarm(100);
    (void)first;
    check_preload();
    test_keys();
    test_exchange();
    test_short_threads();
    test_fork();
    CHECK(count > 1, "no folder with libraries");
    test_libraries(arguments[1]);
    return 0;
}
