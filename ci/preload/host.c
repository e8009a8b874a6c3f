/* Opens the library late, uses it, and forks while another thread holds a lock of the program's own and opens streams:
 * the handlers that the library adds run before the program's, which wait for that lock. The first argument is the
 * library. */
#include "check.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

enum { FORKS = 500 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool is_over;

static void close_lock(void) { pthread_mutex_lock(&lock); }

static void open_lock(void) { pthread_mutex_unlock(&lock); }

static void *write_log(void *unused) {
    while (!is_over) {
        close_lock();
        FILE *file = fopen("/dev/null", "w");
        CHECK(file && fputc('x', file) == 'x' && fclose(file) == 0);
        open_lock();
        sched_yield();
    }
    return unused;
}

int main(int arguments, char **argument) {
    pthread_t thread;
    alarm(60);
    CHECK(arguments == 2, "the argument is the library's name");
    CHECK(pthread_atfork(close_lock, open_lock, open_lock) == 0);
    void *library = dlopen(argument[1], RTLD_NOW | RTLD_LOCAL);
    CHECK(library, "%s", dlerror());
    void *(*allocate)(size_t);
    void (*give)(void *);
    *(void **)&allocate = dlsym(library, "malloc");
    *(void **)&give = dlsym(library, "free");
    CHECK(allocate && give);
    give(allocate(100));
    CHECK(pthread_create(&thread, NULL, write_log, NULL) == 0);
    for (int i = 0; i < FORKS; i++) {
        int status;
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) _exit(0);
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    is_over = true;
    CHECK(pthread_join(thread, NULL) == 0);
    return 0;
}
