/* A library with thread-local memory, which the loader allocates when a thread first touches it. */
#include <string.h>

static __thread char room[3000] __attribute__((aligned(256)));

int touch(int value) {
    char before = room[2999];
    memset(room, value, sizeof room);
    return before;
}
