/* Faults in file calls, for tests: preloaded (LD_PRELOAD), armed through fault_arm.
 *
 * Calls on paths below one folder are counted; call number `at` of the armed kind fails, or ends
 * the process. Calls of threads are counted together. Everything else is passed on. glibc, Linux.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum kind {
  NONE,
  FULL,   /* from call `at` on the disk is full: whatever needs room fails */
  IO,     /* call `at` fails with EIO, if it writes, renames, syncs, makes or removes */
  PART,   /* write `at` writes half */
  UNREAD, /* read `at` fails with EIO */
  KILLED  /* the process ends at call `at`, in the middle of it if it is a write */
};
enum call { ROOM, CHANGE, WRITE, READ };

#define EXIT_CODE 77

static char folder[PATH_MAX];
static size_t length;
static int armed;
static long at, count;

void fault_arm(const char *path, int kind, long number) {
  length = strlen(path);
  memcpy(folder, path, length + 1);
  at = number;
  count = 0;
  armed = kind;
}

void fault_rest(void) { armed = NONE; }

long fault_count(void) { return count; }

static int inside(const char *path) { return strncmp(path, folder, length) == 0; }

static int inside_fd(int fd) {
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t size = readlink(link, path, sizeof path - 1);
  if (size <= 0) return 0;
  path[size] = 0;
  return inside(path);
}

static int inside_at(int directory, const char *path) {
  if (path == NULL) return 0;
  if (path[0] == '/' || directory == AT_FDCWD) return inside(path);
  return inside_fd(directory);
}

/* What call of this class meets now: 0, an errno, -1 for half of a write, -2 for the end. */
static int strike(enum call call) {
  int concerns = armed == FULL     ? call == ROOM || call == WRITE
                 : armed == IO     ? call != READ
                 : armed == PART   ? call == WRITE
                 : armed == UNREAD ? call == READ
                 : armed == KILLED ? call != READ
                                   : 0;
  if (!concerns) return 0;
  long number = __atomic_fetch_add(&count, 1, __ATOMIC_SEQ_CST);
  if (armed == FULL) return number >= at ? ENOSPC : 0;
  if (number != at) return 0;
  if (armed == PART) return -1;
  if (armed == KILLED) return -2;
  return EIO;
}

static int refused(enum call call, int is_inside) {
  if (!armed || !is_inside) return 0;
  int met = strike(call);
  if (met == -2) _exit(EXIT_CODE);
  if (met > 0) errno = met;
  return met > 0;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static enum call of_flags(int flags) {
  return flags & (O_CREAT | O_TRUNC) ? ROOM : READ;
}

static mode_t mode_of(int flags, va_list words) {
  return flags & (O_CREAT | O_TMPFILE) ? va_arg(words, mode_t) : 0;
}

#define OPEN(name)                                                       \
  int name(const char *path, int flags, ...) {                           \
    va_list words;                                                       \
    va_start(words, flags);                                              \
    mode_t mode = mode_of(flags, words);                                 \
    va_end(words);                                                       \
    if (refused(of_flags(flags), inside_at(AT_FDCWD, path))) return -1;  \
    return NEXT(name)(path, flags, mode);                                \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                     \
  int name(int directory, const char *path, int flags, ...) {            \
    va_list words;                                                       \
    va_start(words, flags);                                              \
    mode_t mode = mode_of(flags, words);                                 \
    va_end(words);                                                       \
    if (refused(of_flags(flags), inside_at(directory, path))) return -1; \
    return NEXT(name)(directory, path, flags, mode);                     \
  }
OPENAT(openat)
OPENAT(openat64)

/* Bytes to pass on of a write of `size`; -1: refused. May end the process after half of them. */
static ssize_t allowed(int fd, size_t size, ssize_t (*put)(int, const void *, size_t, off64_t),
                       const void *data, off64_t where) {
  if (!armed || !inside_fd(fd)) return size;
  int met = strike(WRITE);
  if (met > 0) {
    errno = met;
    return -1;
  }
  if (met == -1) return size > 1 ? size / 2 : size;
  if (met == -2) {
    put(fd, data, size / 2, where);
    _exit(EXIT_CODE);
  }
  return size;
}

static ssize_t put_next(int fd, const void *data, size_t size, off64_t where) {
  (void)where;
  return NEXT(write)(fd, data, size);
}

static ssize_t put_at(int fd, const void *data, size_t size, off64_t where) {
  return NEXT(pwrite64)(fd, data, size, where);
}

ssize_t write(int fd, const void *data, size_t size) {
  ssize_t some = allowed(fd, size, put_next, data, 0);
  return some < 0 ? -1 : NEXT(write)(fd, data, some);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t where) {
  ssize_t some = allowed(fd, size, put_at, data, where);
  return some < 0 ? -1 : NEXT(pwrite)(fd, data, some, where);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t where) {
  ssize_t some = allowed(fd, size, put_at, data, where);
  return some < 0 ? -1 : NEXT(pwrite64)(fd, data, some, where);
}

size_t fwrite(const void *data, size_t size, size_t number, FILE *stream) {
  if (refused(WRITE, inside_fd(fileno(stream)))) return 0;
  return NEXT(fwrite)(data, size, number, stream);
}

ssize_t read(int fd, void *data, size_t size) {
  return refused(READ, armed == UNREAD && inside_fd(fd)) ? -1 : NEXT(read)(fd, data, size);
}

ssize_t pread(int fd, void *data, size_t size, off_t where) {
  return refused(READ, armed == UNREAD && inside_fd(fd)) ? -1 : NEXT(pread)(fd, data, size, where);
}

ssize_t pread64(int fd, void *data, size_t size, off64_t where) {
  return refused(READ, armed == UNREAD && inside_fd(fd)) ? -1
                                                         : NEXT(pread64)(fd, data, size, where);
}

int fsync(int fd) { return refused(CHANGE, inside_fd(fd)) ? -1 : NEXT(fsync)(fd); }

int fdatasync(int fd) { return refused(CHANGE, inside_fd(fd)) ? -1 : NEXT(fdatasync)(fd); }

int ftruncate(int fd, off_t size) {
  return refused(ROOM, inside_fd(fd)) ? -1 : NEXT(ftruncate)(fd, size);
}

int ftruncate64(int fd, off64_t size) {
  return refused(ROOM, inside_fd(fd)) ? -1 : NEXT(ftruncate64)(fd, size);
}

int fchmod(int fd, mode_t mode) {
  return refused(CHANGE, inside_fd(fd)) ? -1 : NEXT(fchmod)(fd, mode);
}

int rename(const char *from, const char *to) {
  return refused(ROOM, inside(to)) ? -1 : NEXT(rename)(from, to);
}

int renameat(int from_at, const char *from, int to_at, const char *to) {
  return refused(ROOM, inside_at(to_at, to)) ? -1 : NEXT(renameat)(from_at, from, to_at, to);
}

int mkdir(const char *path, mode_t mode) {
  return refused(ROOM, inside(path)) ? -1 : NEXT(mkdir)(path, mode);
}

int unlink(const char *path) {
  return refused(CHANGE, inside(path)) ? -1 : NEXT(unlink)(path);
}

int unlinkat(int directory, const char *path, int flags) {
  return refused(CHANGE, inside_at(directory, path)) ? -1
                                                     : NEXT(unlinkat)(directory, path, flags);
}

int rmdir(const char *path) { return refused(CHANGE, inside(path)) ? -1 : NEXT(rmdir)(path); }
