/* The n-th call that changes a directory fails, once: preloaded (LD_PRELOAD), for tests alone.
 *
 * NTH_DIR      calls on files below this directory are counted: open for writing, write, pwrite,
 *              fsync, fdatasync, ftruncate, rename
 * NTH_CONTROL  a file of three 32-bit integers, shared by all processes: calls so far, the call
 *              that fails (0: none), and its errno
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static volatile int32_t *control;

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = dlsym(RTLD_NEXT, name)

static int is_below(const char *path) {
    const char *dir = getenv("NTH_DIR");
    return dir && path && strncmp(path, dir, strlen(dir)) == 0;
}

static int is_open_below(int fd) {
    char link[40], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    return is_below(path);
}

/* Counts one call; whether it is the one that fails, with errno set. */
static int is_the_one(void) {
    if (!control) {
        const char *path = getenv("NTH_CONTROL");
        int fd = path ? syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0) : -1;
        if (fd < 0) return 0;
        void *shared = mmap(NULL, 12, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        syscall(SYS_close, fd);
        if (shared == MAP_FAILED) return 0;
        control = shared;
    }
    int n = __sync_add_and_fetch(&control[0], 1);
    if (!control[1] || n != control[1]) return 0;
    errno = control[2];
    return 1;
}

#define OPEN(function, real_name) \
    int function(const char *path, int flags, ...) { \
        REAL(int, real_name, const char *, int, ...); \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); } \
        if ((flags & O_ACCMODE) != O_RDONLY && is_below(path) && is_the_one()) return -1; \
        return real(path, flags, mode); \
    }
OPEN(open, "open")
OPEN(open64, "open64")

ssize_t write(int fd, const void *data, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    if (is_open_below(fd) && is_the_one()) return -1;
    return real(fd, data, size);
}

#define PWRITE(function, real_name) \
    ssize_t function(int fd, const void *data, size_t size, off_t offset) { \
        REAL(ssize_t, real_name, int, const void *, size_t, off_t); \
        if (is_open_below(fd) && is_the_one()) return -1; \
        return real(fd, data, size, offset); \
    }
PWRITE(pwrite, "pwrite")
PWRITE(pwrite64, "pwrite64")

#define SYNC(function, real_name) \
    int function(int fd) { \
        REAL(int, real_name, int); \
        if (is_open_below(fd) && is_the_one()) return -1; \
        return real(fd); \
    }
SYNC(fsync, "fsync")
SYNC(fdatasync, "fdatasync")

#define FTRUNCATE(function, real_name) \
    int function(int fd, off_t size) { \
        REAL(int, real_name, int, off_t); \
        if (is_open_below(fd) && is_the_one()) return -1; \
        return real(fd, size); \
    }
FTRUNCATE(ftruncate, "ftruncate")
FTRUNCATE(ftruncate64, "ftruncate64")

int rename(const char *from, const char *to) {
    REAL(int, "rename", const char *, const char *);
    if (is_below(to) && is_the_one()) return -1;
    return real(from, to);
}
