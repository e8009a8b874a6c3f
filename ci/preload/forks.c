/* Forks where it may have to wait: while another thread allocates inside of a stream that all streams are flushed
 * with (`streams`), and in a signal handler of a process with one thread (`handler`). A hang is found by whoever
 * started this. */
#include "check.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/time.h>

enum { FORKS = 2000, BLOCKS = 3000, SIZE = 200 };

static atomic_int stop;
static volatile sig_atomic_t forks;

static void churn(void) {
    static void *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) CHECK(blocks[i] = malloc(SIZE));
    for (size_t i = 0; i < BLOCKS; i++) free(blocks[i]);
}

static void fork_once(void) {
    pid_t child = fork();
    if (child == 0) _exit(0);
    int status;
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    forks++;
}

static ssize_t allocate_and_write(void *cookie, const char *bytes, size_t size) {
    (void)cookie;
    (void)bytes;
    churn();
    return (ssize_t)size;
}

static void *flush_all(void *unused) {
    FILE *stream = fopencookie(NULL, "w", (cookie_io_functions_t){.write = allocate_and_write});
    CHECK(stream);
    while (!atomic_load(&stop)) {
        CHECK(fputc('x', stream) == 'x');
        CHECK(fflush(NULL) == 0);
        /* Else whoever forks waits for the lock of the streams for long. */
        const struct timespec pause = {0, 100000};
        nanosleep(&pause, NULL);
    }
    CHECK(fclose(stream) == 0);
    return unused;
}

static void test_streams(void) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, flush_all, NULL) == 0);
    while (forks < FORKS) fork_once();
    atomic_store(&stop, 1);
    CHECK(pthread_join(thread, NULL) == 0);
}

/* Once: a timer that goes on could leave nothing of the time but for the handler. */
static void set_alarm(void) {
    const struct itimerval once = {{0, 0}, {0, 300}};
    CHECK(setitimer(ITIMER_REAL, &once, NULL) == 0);
}

static void handle(int number) {
    (void)number;
    int before = errno;
    fork_once();
    if (forks < FORKS) set_alarm();
    errno = before;
}

static void test_handler(void) {
    CHECK(signal(SIGALRM, handle) != SIG_ERR);
    set_alarm();
    while (forks < FORKS) churn();
}

int main(int count, char **arguments) {
    check_preload();
    CHECK(count == 2);
    if (strcmp(arguments[1], "streams") == 0)
        test_streams();
    else
        test_handler();
    return 0;
}
