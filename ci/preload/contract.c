/* What C, POSIX and glibc promise of each function of the malloc family. With the argument `all` also
   what older glibc lacks: EINVAL for odd alignments, free_sized, free_aligned_sized. */
#include "check.h"

extern void free_sized(void *block, size_t size) __attribute__((weak));
extern void free_aligned_sized(void *block, size_t alignment, size_t size) __attribute__((weak));

enum { SMALL = 2048, MOST_ALIGNMENT = 65536 };

static const size_t sizes[] = {
    1,      7,      8,      9,      15,     16,     17,     24,      31,      33,      63,      64,
    65,     127,    129,    248,    255,    256,    257,    384,     495,     496,     497,     504,
    505,    511,    512,    513,    520,    528,    529,    1000,    1024,    1025,    2047,    2049,
    4080,   4095,   4096,   4097,   8192,   32767,  65536,  65537,   131000,  131047,  131048,  131056,
    131064, 131071, 131072, 131073, 131088, 135168, 200000, 262144,  1048577, 4194304, 4194305};
static const size_t impossible[] = {
    SIZE_MAX, SIZE_MAX - 7, SIZE_MAX - 15, SIZE_MAX - 4095, SIZE_MAX - 65536, SIZE_MAX / 2 + 1, SIZE_MAX / 2};
static int all;

static int aligned(const void *block, size_t alignment) { return (uintptr_t)block % alignment == 0; }

/* What every block owes, whatever gave it; fills all of it. */
static void take(void *block, size_t size, size_t seed) {
    CHECK(block, "size %zu", size);
    CHECK(aligned(block, size > 8 ? 16 : 8), "size %zu at %p", size, block);
    size_t usable = malloc_usable_size(block);
    CHECK(usable >= size, "size %zu, usable %zu", size, usable);
    fill(block, usable, seed);
}

static void give(void *block, size_t seed) {
    size_t usable = malloc_usable_size(block);
    CHECK(filled(block, usable, seed), "usable %zu, seed %zu", usable, seed);
    free(block);
}

static void test_malloc(void) {
    static void *blocks[4 * (SMALL + 1)];
    size_t count = LENGTH(blocks);
    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < count; i++) {
            size_t size = i % (SMALL + 1);
            take(blocks[i] = malloc(size), size, i);
        }
        /* Every other one again, so that new blocks lie between old ones. */
        for (size_t i = round % 2; i < count; i += 2) give(blocks[i], i);
        for (size_t i = round % 2; i < count; i += 2) {
            size_t size = i * 7 % (SMALL + 1);
            take(blocks[i] = malloc(size), size, i);
        }
        for (size_t i = 0; i < count; i++) {
            size_t which = round < 2 ? i : count - 1 - i;
            give(blocks[which], which);
        }
    }
    for (size_t size = SMALL; size <= 64 << 20; size += size / 3) {
        void *block = malloc(size), *other = malloc(size + 1);
        take(block, size, size);
        take(other, size + 1, 5);
        give(block, size);
        give(other, 5);
    }
    void *first = malloc(opaque(0)), *second = malloc(opaque(0)), *third = calloc(opaque(0), 5);
    CHECK(first && second && third && first != second && first != third && second != third);
    free(first);
    free(second);
    free(third);
    free(NULL);
    CHECK(malloc_usable_size(NULL) == 0);
}

static void test_calloc(void) {
    for (size_t size = 0; size <= SMALL + LENGTH(sizes); size++) {
        size_t bytes = size <= SMALL ? size : sizes[size - SMALL - 1];
        void *blocks[12];
        for (size_t i = 0; i < LENGTH(blocks); i++) take(blocks[i] = malloc(bytes), bytes, i);
        for (size_t i = 0; i < LENGTH(blocks); i++) give(blocks[i], i);
        for (size_t i = 0; i < LENGTH(blocks); i++) {
            size_t unit = i % 3 == 2 ? 7 : 1;
            blocks[i] = i % 3 == 0 ? calloc(1, bytes) : calloc((bytes + unit - 1) / unit, unit);
            CHECK(blocks[i] && zeroed(blocks[i], bytes), "size %zu", bytes);
            take(blocks[i], bytes, i);
        }
        for (size_t i = 0; i < LENGTH(blocks); i++) give(blocks[i], i);
    }
    size_t large = 33 << 20;
    void *block = calloc(33, 1 << 20);
    CHECK(block && zeroed(block, large));
    take(block, large, 1);
    give(block, 1);
}

static void *resize(void *block, size_t size, int with_array) {
    return with_array ? reallocarray(block, size, 1) : realloc(block, size);
}

static void test_realloc(void) {
    for (int with_array = 0; with_array < 2; with_array++) {
        for (size_t from = 0; from < LENGTH(sizes); from++)
            for (size_t to = 0; to < LENGTH(sizes); to++) {
                size_t old = sizes[from], new = sizes[to], least = old < new ? old : new;
                void *block = with_array ? calloc(1, old) : malloc(old);
                take(block, old, to);
                block = resize(block, new, with_array);
                CHECK(block && filled(block, least, to), "from %zu to %zu", old, new);
                take(block, new, from);
                give(block, from);
            }
        char *block = resize(NULL, opaque(1), with_array), *keep[64] = {0};
        take(block, 1, 0);
        for (size_t size = 2; size <= SMALL; size++) {
            block = resize(block, size, with_array);
            CHECK(filled(block, size - 1, size - 1 == 1 ? 0 : 9), "size %zu", size);
            take(block, size, 9);
            /* Neighbours, so that it cannot always grow in place. */
            free(keep[size % 64]);
            keep[size % 64] = malloc(size);
        }
        for (size_t size = SMALL; size > 0; size--) {
            block = resize(block, size, with_array);
            CHECK(filled(block, size, 9), "size %zu", size);
            take(block, size, 9);
        }
        give(block, 9);
        for (size_t i = 0; i < LENGTH(keep); i++) free(keep[i]);
        for (size_t i = 0; i < LENGTH(sizes); i++) {
            block = malloc(sizes[i]);
            CHECK(block && resize(block, opaque(0), with_array) == NULL, "size %zu", sizes[i]);
            /* Freed by it: an address comes again. */
            uintptr_t address = (uintptr_t)block;
            int again = 0;
            for (int j = 0; j < 1000; j++) {
                block = malloc(sizes[i]);
                again += (uintptr_t)block == address;
                CHECK(resize(block, opaque(0), with_array) == NULL);
            }
            CHECK(again, "size %zu", sizes[i]);
            take(block = resize(NULL, sizes[i], with_array), sizes[i], i);
            give(block, i);
        }
        block = resize(NULL, opaque(0), with_array);
        CHECK(block);
        free(block);
    }
    char *block = reallocarray(NULL, 10, 20);
    take(block, 200, 3);
    block = reallocarray(block, 300, 7);
    CHECK(block && filled(block, 200, 3));
    take(block, 2100, 4);
    give(block, 4);
}

static void *by_posix(size_t alignment, size_t size) {
    void *block = &all;
    if (alignment < sizeof(void *)) {
        CHECK(posix_memalign(&block, alignment, size) == EINVAL && block == &all, "alignment %zu", alignment);
        return malloc(size);
    }
    CHECK(posix_memalign(&block, alignment, size) == 0, "alignment %zu, size %zu", alignment, size);
    return block;
}

static void test_aligned(void) {
    void *(*const functions[])(size_t, size_t) = {memalign, aligned_alloc, by_posix};
    for (size_t alignment = 1; alignment <= MOST_ALIGNMENT; alignment *= 2)
        for (size_t function = 0; function < LENGTH(functions); function++)
            for (size_t i = 0; i < 160 + LENGTH(sizes); i++) {
                size_t size = i < 160 ? i * 4 : sizes[i - 160];
                size_t wanted = function == 2 && alignment < sizeof(void *) ? 1 : alignment;
                if (size > 262144 && alignment % 4096) continue;
                void *blocks[3];
                for (size_t j = 0; j < LENGTH(blocks); j++) {
                    blocks[j] = functions[function](alignment, size);
                    CHECK(blocks[j] && aligned(blocks[j], wanted), "alignment %zu, size %zu", alignment, size);
                    CHECK(malloc_usable_size(blocks[j]) >= size, "alignment %zu, size %zu", alignment, size);
                    fill(blocks[j], malloc_usable_size(blocks[j]), j);
                }
                give(blocks[1], 1);
                CHECK(filled(blocks[2], malloc_usable_size(blocks[2]), 2));
                size_t new_size = i % 2 ? size + 700 : size / 2 + 1, least = size < new_size ? size : new_size;
                blocks[2] = realloc(blocks[2], new_size);
                CHECK(blocks[2] && filled(blocks[2], least, 2), "alignment %zu, size %zu", alignment, size);
                take(blocks[2], new_size, 6);
                give(blocks[2], 6);
                give(blocks[0], 0);
            }
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t i = 0; i < 600 + LENGTH(sizes); i++) {
        size_t size = i < 600 ? i : sizes[i - 600];
        void *first = valloc(size), *second = pvalloc(size);
        CHECK(aligned(first, page) && aligned(second, page), "size %zu", size);
        CHECK(malloc_usable_size(second) >= (size + page - 1) / page * page, "size %zu", size);
        take(first, size, 1);
        take(second, size, 2);
        give(first, 1);
        give(second, 2);
    }
    static const size_t odd[] = {0, 3, 5, 6, 7, 9, 12, 24, 40, 48, 63, 65, 100, 513, 1000, 4097, 65535};
    for (size_t i = 0; i < LENGTH(odd); i++) {
        void *block = &all;
        CHECK(posix_memalign(&block, odd[i], 100) == EINVAL && block == &all, "alignment %zu", odd[i]);
        if (!all || odd[i] == 0) continue;
        errno = 0;
        CHECK(memalign(odd[i], 100) == NULL && errno == EINVAL, "alignment %zu", odd[i]);
        errno = 0;
        CHECK(aligned_alloc(odd[i], 100) == NULL && errno == EINVAL, "alignment %zu", odd[i]);
    }
}

#define NO_MEMORY(call) \
    do { \
        errno = 0; \
        CHECK((call) == NULL && errno == ENOMEM, "size %zu, errno %d", size, errno); \
    } while (0)

static void test_impossible(void) {
    for (size_t i = 0; i < LENGTH(impossible); i++) {
        size_t size = opaque(impossible[i]);
        NO_MEMORY(malloc(size));
        NO_MEMORY(calloc(size, 1));
        NO_MEMORY(calloc(1, size));
        NO_MEMORY(calloc(size, 2));
        NO_MEMORY(realloc(NULL, size));
        NO_MEMORY(reallocarray(NULL, size, 1));
        NO_MEMORY(valloc(size));
        NO_MEMORY(pvalloc(size));
        for (size_t alignment = 8; alignment <= MOST_ALIGNMENT; alignment *= 2) {
            void *block = &all;
            NO_MEMORY(memalign(alignment, size));
            NO_MEMORY(aligned_alloc(alignment, size));
            CHECK(posix_memalign(&block, alignment, size) == ENOMEM && block == &all, "size %zu", size);
        }
        for (size_t j = 0; j < LENGTH(sizes); j++) {
            void *block = malloc(sizes[j]);
            take(block, sizes[j], j);
            NO_MEMORY(realloc(block, size));
            NO_MEMORY(reallocarray(block, size, 1));
            NO_MEMORY(reallocarray(block, SIZE_MAX / 16 + 2, opaque(16)));
            give(block, j);
        }
    }
    size_t size = opaque((size_t)1 << 32);
    NO_MEMORY(calloc(size, size));
    NO_MEMORY(calloc(size + 1, size));
    NO_MEMORY(reallocarray(NULL, size, size));
    NO_MEMORY(reallocarray(NULL, size + 1, size));
}

static void test_errno(void) {
    static const int values[] = {0, EINTR, 12345};
    for (size_t i = 0; i < LENGTH(values); i++) {
        for (size_t size = 1; size < 128 << 20; size *= 3) {
            void *block = malloc(size), *page = memalign(8192, size);
            CHECK(block && page);
            errno = values[i];
            free(block);
            free(page);
            CHECK(errno == values[i], "size %zu", size);
        }
        errno = values[i];
        free(NULL);
        CHECK(errno == values[i]);
    }
}

static void test_sized(void) {
    if (!free_sized || !free_aligned_sized) {
        CHECK(!all, "free_sized and free_aligned_sized are missing");
        return;
    }
    free_sized(NULL, 10);
    free_aligned_sized(NULL, 64, 10);
    for (size_t i = 0; i <= SMALL + LENGTH(sizes); i++) {
        size_t size = i <= SMALL ? i : sizes[i - SMALL - 1];
        void *block = malloc(size), *cleared = calloc(1, size);
        take(block, size, 1);
        take(cleared, size, 2);
        errno = 77;
        free_sized(cleared, size);
        free_sized(block, size);
        CHECK(errno == 77);
        block = realloc(malloc(40), size + 1);
        take(block, size + 1, 3);
        free_sized(block, size + 1);
        for (size_t alignment = 1; alignment <= MOST_ALIGNMENT; alignment *= 4) {
            if (size > 262144) continue;
            block = aligned_alloc(alignment, size);
            CHECK(block && aligned(block, alignment));
            fill(block, malloc_usable_size(block), 4);
            free_aligned_sized(block, alignment, size);
        }
    }
    /* The same memory serves on. */
    test_calloc();
}

/* Blocks of the C library's own making are blocks like all others. */
static void test_library(void) {
    for (size_t size = 1; size < 300000; size += size / 2 + 1) {
        char *text = malloc(size + 1), *printed = NULL, *written = NULL, *line = NULL;
        size_t length = 0, room = 0;
        CHECK(text);
        memset(text, 'x', size);
        text[size] = 0;
        char *copy = strdup(text);
        CHECK(copy && strcmp(copy, text) == 0);
        CHECK(asprintf(&printed, "%s,%s", text, copy) == (int)(2 * size + 1));
        FILE *stream = open_memstream(&written, &length);
        CHECK(stream && fputs(printed, stream) >= 0 && fputc('\n', stream) == '\n' && fclose(stream) == 0);
        CHECK(length == 2 * size + 2 && malloc_usable_size(written) > length);
        stream = fmemopen(written, length, "r");
        CHECK(stream && getline(&line, &room, stream) == (ssize_t)length && strcmp(line, written) == 0);
        CHECK(fclose(stream) == 0 && malloc_usable_size(line) >= room);
        free(reallocarray(copy, 3, size));
        free(text);
        free(printed);
        free(written);
        free(line);
    }
    char *path = realpath("/proc/self/..", NULL);
    CHECK(path && strcmp(path, "/proc") == 0);
    free(path);
}

/* All functions in random order over live blocks. */
static void test_mixture(void) {
    static struct {
        void *block;
        size_t size;
    } slots[5000];
    uint64_t state = 42;
    for (size_t step = 0; step < 600000; step++) {
        size_t i = next_random(&state) % LENGTH(slots), size = random_size(&state);
        size_t alignment = (size_t)1 << next_random(&state) % 13;
        void *block = slots[i].block;
        if (step % 200000 == 199999) malloc_trim(0);
        if (block) CHECK(filled(block, slots[i].size, i), "size %zu", slots[i].size);
        if (block && next_random(&state) % 4 == 0 && size) {
            size_t least = slots[i].size < size ? slots[i].size : size;
            block = realloc(block, size);
            CHECK(block && filled(block, least, i), "from %zu to %zu", slots[i].size, size);
        } else {
            free(block);
            switch (next_random(&state) % 8) {
            case 0: block = memalign(alignment, size); break;
            case 1: block = aligned_alloc(alignment, size); break;
            case 2: block = by_posix(alignment, size); break;
            case 3: block = calloc(size, 1); CHECK(block && zeroed(block, size), "size %zu", size); break;
            case 4: block = NULL, size = 0; break;
            default: block = malloc(size);
            }
        }
        slots[i].block = block;
        slots[i].size = size;
        fill(block, size, i);
    }
    for (size_t i = 0; i < LENGTH(slots); i++) free(slots[i].block);
    int trimmed = malloc_trim(0);
    CHECK(trimmed == 0 || trimmed == 1);
}

int main(int count, char **arguments) {
    all = count > 1 && strcmp(arguments[1], "all") == 0;
    alarm(100);
    check_preload();
    test_malloc();
    test_calloc();
    test_realloc();
    test_aligned();
    test_impossible();
    test_errno();
    test_sized();
    test_library();
    test_mixture();
    return 0;
}
