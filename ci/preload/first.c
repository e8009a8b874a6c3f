/* Asks for a block before the C library knows of the environment. */
#include "check.h"

static void *volatile block;

static void ask_first(void) {
    block = malloc(100);
    CHECK(block);
    fill(block, 100, 1);
}

__attribute__((section(".preinit_array"), used)) static void (*const first)(void) = ask_first;

int main(void) {
    check_preload();
    CHECK(filled(block, 100, 1));
    free(block);
    for (size_t size = 1; size < 2000; size += 100) free(malloc(size));
    return 0;
}
