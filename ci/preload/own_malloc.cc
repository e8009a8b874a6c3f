/* A program that brings malloc, calloc, realloc and free of its own, as those do that carry an allocator:
   whatever a preloaded library has beside these must end in the program's. */
#include "churn.h"

extern "C" {
void *__libc_malloc(size_t size);
void *__libc_realloc(void *block, size_t size);
void __libc_free(void *block);
void free_sized(void *block, size_t size) __attribute__((weak));
}

struct Header {
    size_t magic, size;
};

static std::atomic<size_t> given, returned;

static Header *header_of(void *block) {
    auto *header = reinterpret_cast<Header *>(opaque(reinterpret_cast<uintptr_t>(block))) - 1;
    CHECK(header->magic == 0x5ca1ab1e, "a block of another's");
    return header;
}

static void *give(void *start, size_t size) {
    auto *header = static_cast<Header *>(start);
    if (!header) return nullptr;
    *header = {0x5ca1ab1e, size};
    given++;
    return header + 1;
}

extern "C" void *malloc(size_t size) noexcept { return give(__libc_malloc(size + sizeof(Header)), size); }

extern "C" void *calloc(size_t count, size_t size) noexcept {
    void *block = malloc(count * size);
    return block ? memset(block, 0, count * size) : nullptr;
}

extern "C" void free(void *block) noexcept {
    if (!block) return;
    auto *header = header_of(block);
    header->magic = 0;
    returned++;
    __libc_free(header);
}

extern "C" void *realloc(void *block, size_t size) noexcept {
    if (!block) return malloc(size);
    auto *header = header_of(block);
    returned++;
    return give(__libc_realloc(header, size + sizeof(Header)), size);
}

int main() {
    alarm(100);
    size_t before = given - returned;
    for (size_t size = 1; size < 3000; size += 7) {
        void *block = reallocarray(malloc(size), size, 3);
        CHECK(block);
        fill(block, size * 3, size);
        block = reallocarray(block, size, 2);
        CHECK(block && filled(block, size * 2, size));
        if (free_sized) free_sized(block, size * 2);
        else free(block);
        free(reallocarray(nullptr, size, 2));
        ::operator delete(::operator new(size), size);
        ::operator delete[](::operator new[](size), size);
        char *text = strdup("text");
        free(text);
    }
    churn_with_threads();
    CHECK(given - returned - before < 1000, "%zu given, %zu returned", size_t(given), size_t(returned));
}
