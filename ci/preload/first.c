/* Asks for blocks, and frees some, before the C library knows of the environment, and before the preloaded one has been
 * told that it is loaded; also where the loader has a message pending, which it frees with its next function. */
#include "check.h"

static void *volatile block;

static void ask_first(void) {
    block = malloc(100);
    CHECK(block);
    fill(block, 100, 1);
    CHECK(!dlopen("there is no such library", RTLD_LAZY));
    for (size_t size = 1; size < 1 << 20; size *= 3) {
        void *freed = malloc(size), *resized = malloc(size);
        CHECK(freed && resized);
        free(freed);
        CHECK(resized = realloc(resized, 2 * size));
        free(resized);
    }
    CHECK(dlerror());
}

__attribute__((section(".preinit_array"), used)) static void (*const first)(void) = ask_first;

int main(void) {
    check_preload();
    CHECK(filled(block, 100, 1));
    free(block);
    for (size_t size = 1; size < 2000; size += 100) free(malloc(size));
    return 0;
}
