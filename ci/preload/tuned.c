/* Whether the C library takes a mapping of its own for a block of 1 MiB, as it does until it is tuned: such a one
 * ends with a page. The argument says what is expected. Tuned or not, another thread has an arena of its own: no
 * magazines lie before that. */
#include "check.h"

#include <pthread.h>

enum { BYTES = 1 << 20 };

/* What the library notes in front of a block that is not from the arena of the main thread. */
enum { NON_MAIN_ARENA = 4 };

static void *has_own_arena(void *unused) {
    size_t *volatile block = malloc(BYTES / 16);
    CHECK(block);
    void *answer = block[-1] & NON_MAIN_ARENA ? block : NULL;
    free(block);
    (void)unused;
    return answer;
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    free(malloc(100));
    void *block = malloc(BYTES);
    CHECK(block);
    int is_mapped = malloc_usable_size(block) > BYTES + 1024;
    free(block);
    CHECK(is_mapped == !strcmp(arguments[1], "mapped"));

    pthread_t thread;
    void *answer;
    CHECK(pthread_create(&thread, NULL, has_own_arena, NULL) == 0);
    CHECK(pthread_join(thread, &answer) == 0);
    CHECK(answer);
    return 0;
}
