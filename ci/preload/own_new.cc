/* A program that replaces operator new and delete in their plain forms only, so that all others must
   end in these: its pool gets back all that it gave. With ALIGNED it also replaces the plain aligned forms. */
#include "churn.h"

#pragma GCC diagnostic ignored "-Wsized-deallocation"

namespace {

enum : size_t { UNIT = 64, CLASSES = 8192, ROOM = 512u << 20 };

struct Header {
    size_t magic, units, offset, unused;
};

std::mutex pool_lock;
alignas(4096) unsigned char pool[ROOM];
size_t used;
Header *idle[CLASSES];
std::atomic<size_t> given, returned;

void *give(size_t size, size_t alignment) {
    size_t units = (size + sizeof(Header) + alignment + UNIT - 1) / UNIT;
    if (units >= CLASSES) throw std::bad_alloc();
    std::lock_guard<std::mutex> guard(pool_lock);
    unsigned char *start;
    if (idle[units]) {
        start = reinterpret_cast<unsigned char *>(idle[units]);
        memcpy(&idle[units], start, sizeof idle[units]);
    } else {
        start = pool + used;
        used += units * UNIT;
        CHECK(used <= ROOM);
    }
    uintptr_t address = reinterpret_cast<uintptr_t>(start) + sizeof(Header);
    address += (alignment - address % alignment) % alignment;
    auto *header = reinterpret_cast<Header *>(address) - 1;
    *header = {0x5ca1ab1e, units, address - reinterpret_cast<uintptr_t>(start), 0};
    given++;
    return header + 1;
}

void take(void *block) {
    if (!block) return;
    auto *bytes = static_cast<unsigned char *>(block);
    CHECK(bytes >= pool && bytes < pool + ROOM, "a block of another's");
    auto *header = static_cast<Header *>(block) - 1;
    CHECK(header->magic == 0x5ca1ab1e, "not a block");
    header->magic = 0;
    size_t units = header->units;
    unsigned char *start = bytes - header->offset;
    std::lock_guard<std::mutex> guard(pool_lock);
    memcpy(start, &idle[units], sizeof idle[units]);
    idle[units] = reinterpret_cast<Header *>(start);
    returned++;
}

struct alignas(128) Wide {
    unsigned char bytes[200];
    ~Wide() {}
};

} // namespace

void *operator new(size_t size) { return give(size, 16); }
void operator delete(void *block) noexcept { take(block); }
#ifdef ALIGNED
void *operator new(size_t size, std::align_val_t alignment) { return give(size, size_t(alignment)); }
void operator delete(void *block, std::align_val_t) noexcept { take(block); }
#endif

int main() {
    alarm(100);
    check_preload();
    size_t before = given - returned;
    for (size_t size = 0; size < 2000; size++) {
        ::operator delete(::operator new(size), size);
        ::operator delete[](::operator new[](size), size);
        ::operator delete(::operator new(size, std::nothrow), size);
        ::operator delete[](::operator new[](size, std::nothrow));
        auto alignment = std::align_val_t(16 << size % 6);
        ::operator delete(::operator new(size, alignment), size, alignment);
        ::operator delete[](::operator new[](size, alignment), size, alignment);
        delete new Wide;
        delete[] new Wide[size % 9];
        free(malloc(size));
    }
    churn_with_threads();
    CHECK(given > 100000, "%zu", size_t(given));
    CHECK(given - returned == before, "%zu given, %zu returned", size_t(given), size_t(returned));
}
