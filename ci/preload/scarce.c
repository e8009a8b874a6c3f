/* A block that cannot move for want of memory serves where it is, and `errno` says nothing of it. */
#include "check.h"

#include <sys/resource.h>

enum { BLOCKS = 1 << 22, LARGE = 500, SMALL = 100 };

static void *taken[BLOCKS];

int main(void) {
    check_preload();
    void *block = malloc(LARGE);
    CHECK(block);
    fill(block, LARGE, 3);
    const struct rlimit limit = {128 << 20, 128 << 20};
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    size_t count = 0;
    for (size_t size = 4096; size >= 16; size -= size > 512 ? size / 2 : 16)
        while (count < BLOCKS && (taken[count] = malloc(size))) count++;
    CHECK(count < BLOCKS);
    errno = 0;
    void *shrunk = realloc(block, SMALL);
    CHECK(shrunk && filled(shrunk, SMALL, 3));
    CHECK(errno == 0, "errno %d", errno);
    _exit(0);
}
