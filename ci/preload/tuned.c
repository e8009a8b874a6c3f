/* Whether the C library takes a mapping of its own for a block of 1 MiB, as it does until it is tuned: such a one
 * ends with a page. The argument says what is expected. */
#include "check.h"

enum { BYTES = 1 << 20 };

int main(int count, char **arguments) {
    CHECK(count == 2);
    free(malloc(100));
    void *block = malloc(BYTES);
    CHECK(block);
    int is_mapped = malloc_usable_size(block) > BYTES + 1024;
    free(block);
    CHECK(is_mapped == !strcmp(arguments[1], "mapped"));
    return 0;
}
