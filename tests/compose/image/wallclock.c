/* The wall clock of one node's daemon and PostgreSQL, moved without touching the machine's, which all nodes share: preloaded
 * by /etc/ld.so.preload when a row wants it, it adds the seconds in /run/wallclock (eight bytes, changed in place) to the wall
 * clock of `leaderl run` and `postgres`. The clocks that leases live by are left alone, and so is the guardian: the packet
 * filter's deadline is compared with the kernel's own wall clock, which stays as it is. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile long long *offset;

__attribute__((constructor)) static void begin(int count, char **words) {
    if (count < 1) return;
    const char *slash = strrchr(words[0], '/'), *name = slash ? slash + 1 : words[0];
    int daemon = strcmp(name, "leaderl") == 0 && count > 1 && strcmp(words[1], "run") == 0;
    if (!daemon && strcmp(name, "postgres") != 0) return;
    int file = open("/run/wallclock", O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    void *page = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (page != MAP_FAILED) offset = page;
}

static long long moved(void) { return offset ? *offset : 0; }

int clock_gettime(clockid_t clock, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int answer = real(clock, at);
    if (answer == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) at->tv_sec += moved();
    return answer;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
