/* Loads the library late, as often as it has names in the arguments, into a process with threads, and
   closes it while threads that used it live on. Nothing is preloaded here. */
#include "check.h"

enum { EARLY = 3, LATE = 2, ROUNDS = 5, MOST = 8, SLOTS = 256 };

typedef struct {
    void *handle;
    void *(*malloc)(size_t);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void *(*aligned_alloc)(size_t, size_t);
    size_t (*malloc_usable_size)(void *);
    void (*free)(void *);
} Copy;

static Copy copies[MOST];
static int count;
/* A block of one copy that one thread leaves for another. */
static struct {
    void *block;
    size_t size;
    int copy;
} slots[SLOTS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t loaded, used, closed;

static void *symbol(void *handle, const char *name) {
    void *address = dlsym(handle, name);
    CHECK(address, "%s", name);
    return address;
}

static void load(Copy *copy, const char *path) {
    Dl_info place;
    copy->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CHECK(copy->handle, "%s", dlerror());
    *(void **)&copy->malloc = symbol(copy->handle, "malloc");
    *(void **)&copy->calloc = symbol(copy->handle, "calloc");
    *(void **)&copy->realloc = symbol(copy->handle, "realloc");
    *(void **)&copy->aligned_alloc = symbol(copy->handle, "aligned_alloc");
    *(void **)&copy->malloc_usable_size = symbol(copy->handle, "malloc_usable_size");
    *(void **)&copy->free = symbol(copy->handle, "free");
    CHECK(dladdr(*(void **)&copy->malloc, &place) && strcmp(place.dli_fname, path) == 0, "%s", place.dli_fname);
    CHECK(copy->malloc != malloc);
}

static void leave(uint64_t *state, void *block, size_t size, int copy) {
    pthread_mutex_lock(&lock);
    size_t i = next_random(state) % SLOTS, old_size = slots[i].size;
    void *old = slots[i].block;
    int old_copy = slots[i].copy;
    slots[i].block = block;
    slots[i].size = size;
    slots[i].copy = copy;
    pthread_mutex_unlock(&lock);
    if (!old) return;
    CHECK(filled(old, old_size, old_size) && copies[old_copy].malloc_usable_size(old) >= old_size);
    copies[old_copy].free(old);
}

static void use(uint64_t *state, size_t steps) {
    for (size_t step = 0; step < steps; step++) {
        int which = (int)(next_random(state) % (uint64_t)count);
        const Copy *copy = &copies[which];
        size_t size = 1 + random_size(state), new_size = 1 + random_size(state);
        void *block;
        switch (step % 4) {
        case 0:
            block = copy->calloc(1, size);
            CHECK(block && zeroed(block, size), "size %zu", size);
            break;
        case 1:
            block = copy->aligned_alloc(64, size);
            CHECK((uintptr_t)block % 64 == 0);
            break;
        default: block = copy->malloc(size);
        }
        CHECK(block, "size %zu", size);
        fill(block, size, size);
        if (step % 3 == 0) {
            block = copy->realloc(block, new_size);
            CHECK(block && filled(block, size < new_size ? size : new_size, size));
            size = new_size;
            fill(block, size, size);
        }
        leave(state, block, size, which);
        free(malloc(size));
    }
}

/* Lives from before the first dlopen until after the last dlclose. */
static void *early(void *number) {
    uint64_t state = 1 + (uintptr_t)number;
    for (int round = 0; round < ROUNDS; round++) {
        pthread_barrier_wait(&loaded);
        use(&state, 5000);
        pthread_barrier_wait(&used);
        pthread_barrier_wait(&closed);
        free(malloc(100));
    }
    return NULL;
}

/* Starts after a dlopen; half of these end before its dlclose, half after it. */
static void *late(void *number) {
    uint64_t state = 50 + (uintptr_t)number;
    use(&state, 5000);
    if ((uintptr_t)number % 2) {
        pthread_barrier_wait(&used);
        pthread_barrier_wait(&closed);
    }
    return NULL;
}

int main(int arguments, char **argument) {
    pthread_t early_threads[EARLY], late_threads[2 * LATE];
    alarm(100);
    count = arguments - 1;
    CHECK(count > 0 && count <= MOST, "the arguments are the library's names");
    pthread_barrier_init(&loaded, NULL, EARLY + 1);
    pthread_barrier_init(&used, NULL, EARLY + LATE + 1);
    pthread_barrier_init(&closed, NULL, EARLY + LATE + 1);
    for (intptr_t i = 0; i < EARLY; i++)
        CHECK(pthread_create(&early_threads[i], NULL, early, (void *)i) == 0);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < count; i++) load(&copies[i], argument[i + 1]);
        pthread_barrier_wait(&loaded);
        for (intptr_t i = 0; i < 2 * LATE; i++)
            CHECK(pthread_create(&late_threads[i], NULL, late, (void *)i) == 0);
        for (int i = 0; i < 2 * LATE; i += 2) CHECK(pthread_join(late_threads[i], NULL) == 0);
        pthread_barrier_wait(&used);
        uint64_t state = 9;
        for (int step = 0; step < 20 * SLOTS; step++) leave(&state, NULL, 0, 0);
        for (int i = 0; i < SLOTS; i++) CHECK(!slots[i].block);
        for (int i = 0; i < count; i++) CHECK(dlclose(copies[i].handle) == 0);
        memset(copies, 0, sizeof copies);
        pthread_barrier_wait(&closed);
        for (int i = 1; i < 2 * LATE; i += 2) CHECK(pthread_join(late_threads[i], NULL) == 0);
        /* Handlers of fork and exit may still be the library's. */
        pid_t process = fork();
        CHECK(process >= 0);
        if (process == 0) {
            free(malloc(1000));
            exit(0);
        }
        int status;
        CHECK(waitpid(process, &status, 0) == process && status == 0, "status %#x", status);
    }
    for (int i = 0; i < EARLY; i++) CHECK(pthread_join(early_threads[i], NULL) == 0);
    return 0;
}
