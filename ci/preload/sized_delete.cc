/* C++ programs: every form of new with every form of delete that may end it. */
#include "churn.h"

template <size_t Alignment> struct alignas(Alignment) Wide {
    unsigned char bytes[Alignment + 40];
    ~Wide() { CHECK(reinterpret_cast<uintptr_t>(this) % Alignment == 0); }
};

template <size_t Alignment> static void wide() {
    for (size_t count = 1; count < 20; count++) {
        auto *one = new Wide<Alignment>;
        auto *many = new Wide<Alignment>[count];
        fill(one->bytes, sizeof one->bytes, count);
        for (size_t i = 0; i < count; i++) fill(many[i].bytes, sizeof many[i].bytes, i);
        CHECK(filled(one->bytes, sizeof one->bytes, count));
        for (size_t i = 0; i < count; i++) CHECK(filled(many[i].bytes, sizeof many[i].bytes, i));
        delete one;
        delete[] many;
    }
}

static void by_hand(size_t size) {
    void *blocks[8];
    for (int array = 0; array < 2; array++) {
        for (size_t i = 0; i < LENGTH(blocks); i++) {
            bool quiet = i % 4 == 3;
            blocks[i] = array ? quiet ? ::operator new[](size, std::nothrow) : ::operator new[](size)
                              : quiet ? ::operator new(size, std::nothrow) : ::operator new(size);
            CHECK(blocks[i], "size %zu", size);
            fill(blocks[i], size, i);
        }
        for (size_t i = 0; i < LENGTH(blocks); i++) {
            CHECK(filled(blocks[i], size, i), "size %zu", size);
            errno = 55;
            if (array && i % 2) ::operator delete[](blocks[i], size);
            else if (array) ::operator delete[](blocks[i]);
            else if (i % 2) ::operator delete(blocks[i], size);
            else ::operator delete(blocks[i]);
            CHECK(errno == 55);
        }
        for (size_t alignment = 1; alignment <= 8192; alignment *= 2) {
            auto align = std::align_val_t(alignment);
            for (size_t i = 0; i < 4; i++) {
                blocks[i] = array ? ::operator new[](size, align) : ::operator new(size, align);
                CHECK(reinterpret_cast<uintptr_t>(blocks[i]) % alignment == 0, "alignment %zu", alignment);
                fill(blocks[i], size, i);
            }
            for (size_t i = 0; i < 4; i++) {
                CHECK(filled(blocks[i], size, i), "size %zu, alignment %zu", size, alignment);
                if (array && i % 2) ::operator delete[](blocks[i], size, align);
                else if (array) ::operator delete[](blocks[i], align);
                else if (i % 2) ::operator delete(blocks[i], size, align);
                else ::operator delete(blocks[i], align);
            }
        }
    }
}

int main() {
    alarm(100);
    check_preload();
    for (size_t size = 0; size <= 1100; size++) by_hand(size);
    for (size_t size : {2048, 4096, 5000, 65536, 131072, 1 << 20, 5 << 20}) by_hand(size);
    ::operator delete(nullptr, size_t(10));
    ::operator delete[](nullptr, size_t(10));
    ::operator delete(nullptr, size_t(10), std::align_val_t(64));
    ::operator delete[](nullptr, size_t(10), std::align_val_t(64));
    wide<32>();
    wide<64>();
    wide<512>();
    wide<1024>();
    wide<4096>();
    for (size_t size : {SIZE_MAX / 2, SIZE_MAX / 2 + 1, SIZE_MAX - 64, SIZE_MAX}) {
        bool thrown = false;
        try {
            ::operator delete(::operator new(opaque(size)));
        } catch (const std::bad_alloc &) {
            thrown = true;
        }
        CHECK(thrown && !::operator new(opaque(size), std::nothrow), "size %zu", size);
    }
    churn_with_threads();
}
