/* Preloaded into a broker: makes the calls of one kind fail, or fall short, on the files whose path has a given part.

   FAULT_CALL   fdatasync, pwrite, or short (a pwrite that writes half); pwritev counts as pwrite
   FAULT_PATH   part of the path
   FAULT_ON     while this file is there, the fault is on
   FAULT_LOG    gets a line for every call on such a file: its name, and what it gave */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static int concerned(int fd) {
    const char *part = getenv("FAULT_PATH");
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (part == NULL || length < 0) return 0;
    path[length] = 0;
    return strstr(path, part) != NULL;
}

static int on(const char *call) {
    const char *wanted = getenv("FAULT_CALL"), *file = getenv("FAULT_ON");
    return wanted != NULL && file != NULL && strcmp(wanted, call) == 0 && access(file, F_OK) == 0;
}

static void note(const char *call, long result) {
    static ssize_t (*real_write)(int, const void *, size_t);
    const char *path = getenv("FAULT_LOG");
    if (path == NULL) return;
    if (real_write == NULL) real_write = dlsym(RTLD_NEXT, "write");
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    char line[64];
    int length = snprintf(line, sizeof line, "%s %ld\n", call, result);
    if (fd >= 0) {
        real_write(fd, line, length);
        close(fd);
    }
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (real == NULL) real = dlsym(RTLD_NEXT, "fdatasync");
    if (!concerned(fd)) return real(fd);
    int failed = on("fdatasync");
    int result = failed ? -1 : real(fd);
    note("fdatasync", result);
    if (failed) errno = EIO;
    return result;
}

ssize_t pwrite64(int fd, const void *buffer, size_t count, off64_t at) {
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (real == NULL) real = dlsym(RTLD_NEXT, "pwrite64");
    if (!concerned(fd)) return real(fd, buffer, count, at);
    int failed = on("pwrite");
    if (on("short") && count > 1) count /= 2;
    ssize_t result = failed ? -1 : real(fd, buffer, count, at);
    note("pwrite", result);
    if (failed) errno = EIO;
    return result;
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    static ssize_t (*real)(int, const struct iovec *, int, off_t);
    if (real == NULL) real = dlsym(RTLD_NEXT, "pwritev");
    if (!concerned(fd)) return real(fd, parts, count, at);
    int failed = on("pwrite");
    struct iovec half = parts[0];
    if (half.iov_len > 1) half.iov_len /= 2;
    ssize_t result = failed ? -1 : on("short") ? real(fd, &half, 1, at) : real(fd, parts, count, at);
    note("pwritev", result);
    if (failed) errno = EIO;
    return result;
}
