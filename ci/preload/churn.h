/* Work with the standard library's containers, for the C++ programs. */
#include "check.h"

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

struct Base {
    virtual ~Base() = default;
    virtual size_t size() const = 0;
};

template <size_t N> struct Derived : Base {
    unsigned char bytes[N];
    Derived() { fill(bytes, N, N); }
    ~Derived() override { CHECK(filled(bytes, N, N), "N %zu", N); }
    size_t size() const override { return N; }
};

/* An array of these has a count before it, since the destructor does something. */
struct Element {
    std::string text;
    Element() : text(40, 'e') {}
    ~Element() { CHECK(text == std::string(40, 'e')); }
};

inline std::mutex shared_lock;
inline std::vector<std::unique_ptr<std::string>> shared;

inline void churn(size_t seed, size_t rounds) {
    thread_local std::map<size_t, std::string> own;
    uint64_t state = seed * 977 + 1;
    for (size_t round = 0; round < rounds; round++) {
        std::map<std::string, std::vector<size_t>> map;
        std::unordered_map<size_t, std::shared_ptr<std::string>> table;
        for (size_t i = 0; i < 200; i++) {
            std::string key(next_random(&state) % 60, 'k');
            map[key + std::to_string(i % 50)].push_back(i);
            table[next_random(&state) % 300] = std::make_shared<std::string>(random_size(&state), 'v');
            own[next_random(&state) % 500] = key;
        }
        size_t count = 0;
        for (auto &entry : map) count += entry.second.size();
        CHECK(count == 200, "%zu", count);
        std::vector<std::unique_ptr<Base>> objects;
        for (size_t i = 0; i < 30; i++) {
            objects.emplace_back(new Derived<24>);
            objects.emplace_back(new Derived<500>);
            objects.emplace_back(new Derived<505>);
            objects.emplace_back(new Derived<5000>);
        }
        std::unique_ptr<Element[]> elements(new Element[1 + seed % 20]);
        try {
            throw std::runtime_error(std::string(100, 'x'));
        } catch (const std::runtime_error &error) {
            CHECK(strlen(error.what()) == 100);
        }
        std::lock_guard<std::mutex> guard(shared_lock);
        shared.emplace_back(new std::string(random_size(&state), 's'));
        if (shared.size() > 100) shared[next_random(&state) % 100] = std::move(shared.back()), shared.pop_back();
    }
}

inline void churn_with_threads() {
    for (size_t round = 0; round < 10; round++) {
        std::vector<std::thread> threads;
        for (size_t i = 0; i < 4; i++) threads.emplace_back(churn, round * 4 + i, 40);
        for (auto &thread : threads) thread.join();
    }
    shared.clear();
    shared.shrink_to_fit();
}
