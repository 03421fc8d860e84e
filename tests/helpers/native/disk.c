/* A disk that is watched and that fails: preloaded into a process (LD_PRELOAD), for tests alone.
 *
 * DISK_DIR    only files below this directory are looked at
 * DISK_LOG    each change of them is appended to this file, in the order in which it happened
 * DISK_FAULT  while this file holds a word, changes fail or wait: "ENOSPC", "EIO", "EROFS",
 *             "EIO-fsync" (only fsync fails), "slow 300" (each fsync takes so many ms)
 *
 * A record of DISK_LOG is: kind (1 byte), length of the path (2), length of the data (4), offset
 * (8), all little-endian; then path and data. Kinds: w write, t truncate, c create, r rename (data:
 * the new path), u unlink, b a sync begins and s it has succeeded (offset: the thread that waits).
 * tests/helpers/power_cut.py reads them.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define FILES 4096
static char *names[FILES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int log_fd = -1;

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = dlsym(RTLD_NEXT, name)

static const char *watched_dir(void) { return getenv("DISK_DIR"); }

static int is_watched(const char *path) {
    const char *dir = watched_dir();
    return dir && path && strncmp(path, dir, strlen(dir)) == 0;
}

static const char *name_of(int fd) { return fd >= 0 && fd < FILES ? names[fd] : NULL; }

static void remember(int fd, const char *path) {
    if (fd < 0 || fd >= FILES) return;
    free(names[fd]);
    names[fd] = is_watched(path) ? strdup(path) : NULL;
}

static void note(char kind, const char *path, uint64_t offset, const void *data, uint32_t size) {
    const char *target = getenv("DISK_LOG");
    if (!target) return;
    if (log_fd < 0) log_fd = syscall(SYS_openat, AT_FDCWD, target, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    uint16_t length = strlen(path);
    char head[15];
    head[0] = kind;
    memcpy(head + 1, &length, 2);
    memcpy(head + 3, &size, 4);
    memcpy(head + 7, &offset, 8);
    struct iovec parts[3] = {{head, 15}, {(void *)path, length}, {(void *)data, size}};
    syscall(SYS_writev, log_fd, parts, 3);
}

/* The word in DISK_FAULT; empty when there is none. */
static void fault(char *word, size_t size) {
    word[0] = 0;
    const char *path = getenv("DISK_FAULT");
    if (!path) return;
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) return;
    ssize_t n = syscall(SYS_read, fd, word, size - 1);
    syscall(SYS_close, fd);
    word[n > 0 ? n : 0] = 0;
    word[strcspn(word, "\n")] = 0;
}

/* The errno with which a change fails now, 0 for none. */
static int failing(int is_sync) {
    char word[32];
    fault(word, sizeof word);
    if (!strncmp(word, "slow ", 5) && is_sync) {
        long ms = atol(word + 5);
        struct timespec pause = {ms / 1000, (ms % 1000) * 1000000};
        nanosleep(&pause, NULL);
        return 0;
    }
    if (!strcmp(word, "EIO-fsync")) return is_sync ? EIO : 0;
    if (!strcmp(word, "EIO")) return EIO;
    if (!strcmp(word, "EROFS")) return is_sync ? 0 : EROFS;
    if (!strcmp(word, "ENOSPC")) return is_sync ? 0 : ENOSPC;
    return 0;
}

static int opened(int fd, const char *path, int flags, int existed) {
    if (fd >= 0) {
        pthread_mutex_lock(&lock);
        char whole[4096];
        if (path[0] != '/' && getcwd(whole, sizeof whole)) {
            strncat(whole, "/", sizeof whole - strlen(whole) - 1);
            strncat(whole, path, sizeof whole - strlen(whole) - 1);
            path = whole;
        }
        remember(fd, path);
        if (name_of(fd) && (flags & O_CREAT) && !existed) note('c', path, 0, NULL, 0);
        if (name_of(fd) && (flags & O_TRUNC) && existed) note('t', path, 0, NULL, 0);
        pthread_mutex_unlock(&lock);
    }
    return fd;
}

#define OPEN(function, real_name) \
    int function(const char *path, int flags, ...) { \
        REAL(int, real_name, const char *, int, ...); \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); } \
        int existed = access(path, F_OK) == 0; \
        int error = is_watched(path) && (flags & O_CREAT) && !existed ? failing(0) : 0; \
        if (error) { errno = error; return -1; } \
        return opened(real(path, flags, mode), path, flags, existed); \
    }
OPEN(open, "open")
OPEN(open64, "open64")

#define OPENAT(function, real_name) \
    int function(int dir, const char *path, int flags, ...) { \
        REAL(int, real_name, int, const char *, int, ...); \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); } \
        int existed = faccessat(dir, path, F_OK, 0) == 0; \
        int fd = real(dir, path, flags, mode); \
        return dir == AT_FDCWD || path[0] == '/' ? opened(fd, path, flags, existed) : fd; \
    }
OPENAT(openat, "openat")
OPENAT(openat64, "openat64")

int close(int fd) {
    REAL(int, "close", int);
    if (fd >= 0 && fd == log_fd) return 0;
    pthread_mutex_lock(&lock);
    remember(fd, NULL);
    pthread_mutex_unlock(&lock);
    return real(fd);
}

#define CHECK(fd, is_sync) \
    if (name_of(fd)) { int error = failing(is_sync); if (error) { errno = error; return -1; } }

ssize_t write(int fd, const void *data, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    if (!name_of(fd)) return real(fd, data, size);
    CHECK(fd, 0);
    pthread_mutex_lock(&lock);
    ssize_t done = real(fd, data, size);
    if (done > 0) note('w', name_of(fd), lseek(fd, 0, SEEK_CUR) - done, data, done);
    pthread_mutex_unlock(&lock);
    return done;
}

#define PWRITE(function, real_name) \
    ssize_t function(int fd, const void *data, size_t size, off_t offset) { \
        REAL(ssize_t, real_name, int, const void *, size_t, off_t); \
        if (!name_of(fd)) return real(fd, data, size, offset); \
        CHECK(fd, 0); \
        pthread_mutex_lock(&lock); \
        ssize_t done = real(fd, data, size, offset); \
        if (done > 0) note('w', name_of(fd), offset, data, done); \
        pthread_mutex_unlock(&lock); \
        return done; \
    }
PWRITE(pwrite, "pwrite")
PWRITE(pwrite64, "pwrite64")

#define FTRUNCATE(function, real_name) \
    int function(int fd, off_t size) { \
        REAL(int, real_name, int, off_t); \
        CHECK(fd, 0); \
        pthread_mutex_lock(&lock); \
        int done = real(fd, size); \
        if (done == 0 && name_of(fd)) note('t', name_of(fd), size, NULL, 0); \
        pthread_mutex_unlock(&lock); \
        return done; \
    }
FTRUNCATE(ftruncate, "ftruncate")
FTRUNCATE(ftruncate64, "ftruncate64")

#define SYNC(function, real_name) \
    int function(int fd) { \
        REAL(int, real_name, int); \
        CHECK(fd, 1); \
        uint64_t thread = syscall(SYS_gettid); \
        pthread_mutex_lock(&lock); \
        if (name_of(fd)) note('b', name_of(fd), thread, NULL, 0); \
        pthread_mutex_unlock(&lock); \
        int done = real(fd); \
        pthread_mutex_lock(&lock); \
        if (done == 0 && name_of(fd)) note('s', name_of(fd), thread, NULL, 0); \
        pthread_mutex_unlock(&lock); \
        return done; \
    }
SYNC(fsync, "fsync")
SYNC(fdatasync, "fdatasync")

static int renamed(int done, const char *from, const char *to) {
    if (done == 0 && (is_watched(from) || is_watched(to))) note('r', from, 0, to, strlen(to));
    return done;
}

int rename(const char *from, const char *to) {
    REAL(int, "rename", const char *, const char *);
    int error = is_watched(to) ? failing(0) : 0;
    if (error) { errno = error; return -1; }
    pthread_mutex_lock(&lock);
    int done = renamed(real(from, to), from, to);
    pthread_mutex_unlock(&lock);
    return done;
}

int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    pthread_mutex_lock(&lock);
    int done = real(path);
    if (done == 0 && is_watched(path)) note('u', path, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return done;
}
