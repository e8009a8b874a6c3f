/* What the programs share: a check that ends the program, numbers, blocks with a pattern. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LENGTH(array) (sizeof(array) / sizeof *(array))
#define CHECK(condition, ...) \
    do { \
        if (!(condition)) fail(__FILE__, __LINE__, #condition, "" __VA_ARGS__); \
    } while (0)

/* Allocates nothing: it speaks for allocators that have failed. */
__attribute__((noreturn, unused)) static void fail(const char *file, int line, const char *condition,
                                                   const char *format, ...) {
    char text[600];
    va_list values;
    va_start(values, format);
    int length = snprintf(text, 400, "%s:%d: %s  ", file, line, condition);
    if (length > 399) length = 399;
    vsnprintf(text + length, 190, format, values);
    va_end(values);
    length = (int)strlen(text);
    text[length++] = '\n';
    if (write(2, text, (size_t)length) != length) _exit(2);
    _exit(1);
}

/* Where the environment names a library to preload, `malloc` must be its. */
__attribute__((unused)) static void check_preload(void) {
    const char *library = getenv("LD_PRELOAD");
    Dl_info place;
    if (!library || !*library) return;
    CHECK(dladdr((void *)(uintptr_t)&malloc, &place) && strcmp(place.dli_fname, library) == 0,
          "malloc is in %s", place.dli_fname);
}

/* No compiler knows a number that went through here. */
__attribute__((unused)) static size_t opaque(size_t number) {
    volatile size_t copy = number;
    return copy;
}

__attribute__((unused)) static uint64_t next_random(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dULL;
}

/* Mostly small, at times up to 4 KiB, seldom up to 256 KiB. */
__attribute__((unused)) static size_t random_size(uint64_t *state) {
    uint64_t random = next_random(state) >> 16;
    uint64_t kind = random % 128;
    random >>= 8;
    return (size_t)(kind == 0 ? random % 262144 : kind < 16 ? random % 4096 : random % 600);
}

/* A pattern that repeats itself after a prime number of bytes. */
#define PERIOD ((size_t)251)

__attribute__((unused)) static void fill(void *block, size_t size, size_t seed) {
    unsigned char *bytes = (unsigned char *)block;
    size_t done = size < PERIOD ? size : PERIOD;
    for (size_t i = 0; i < done; i++) bytes[i] = (unsigned char)(seed + i * 13);
    for (size_t more; done < size; done += more) {
        more = done < size - done ? done : size - done;
        memcpy(bytes + done, bytes, more);
    }
}

__attribute__((unused)) static int filled(const void *block, size_t size, size_t seed) {
    const unsigned char *bytes = (const unsigned char *)block;
    for (size_t i = 0; i < size && i < PERIOD; i++)
        if (bytes[i] != (unsigned char)(seed + i * 13)) return 0;
    return size <= PERIOD || memcmp(bytes, bytes + PERIOD, size - PERIOD) == 0;
}

__attribute__((unused)) static int zeroed(const void *block, size_t size) {
    const unsigned char *bytes = (const unsigned char *)block;
    return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

__attribute__((unused)) static void pause_ms(long milliseconds) {
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    nanosleep(&time, NULL);
}
