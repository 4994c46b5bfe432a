/* Elasticsearch refuses to listen beyond loopback when its process may not open 65535 files, and a container host without
 * CAP_SYS_RESOURCE cannot raise its own lower limit. On such a host, and only there, the test image preloads this: it answers
 * the question with the number the check wants. The nodes of the tests never open that many. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/resource.h>

static int ask(const char *name, __rlimit_resource_t resource, struct rlimit *limit) {
    int (*real)(__rlimit_resource_t, struct rlimit *) = (int (*)(__rlimit_resource_t, struct rlimit *))dlsym(RTLD_NEXT, name);
    int answer = real(resource, limit);
    if (answer == 0 && resource == RLIMIT_NOFILE && limit->rlim_max < 65535) {
        limit->rlim_cur = 65535;
        limit->rlim_max = 65535;
    }
    return answer;
}

int getrlimit(__rlimit_resource_t resource, struct rlimit *limit) { return ask("getrlimit", resource, limit); }

int getrlimit64(__rlimit_resource_t resource, struct rlimit64 *limit) {
    return ask("getrlimit64", resource, (struct rlimit *)limit);
}
