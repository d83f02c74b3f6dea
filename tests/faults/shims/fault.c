/* Makes system calls on the files of one directory fail, from the n-th on.

   HOLDFAST_DIRECTORY  the directory, an absolute path; the shared memory of SQLite is left out

   fault_arm(kinds, error, at, times)  kinds: 1 sync, 2 write, 4 truncate; times: -1 for ever
   fault_hits()                        how many calls failed since then */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SYNC = 1, WRITE = 2, TRUNCATE = 4 };

#define REAL(type, name, ...) static type (*real_##name)(__VA_ARGS__)

REAL(ssize_t, write, int, const void *, size_t);
REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t);
REAL(int, fsync, int);
REAL(int, fdatasync, int);
REAL(int, ftruncate64, int, off64_t);

static int kinds, error_number, countdown, left, hits;

__attribute__((constructor)) static void begin(void)
{
#define FIND(name) real_##name = dlsym(RTLD_NEXT, #name)
    FIND(write); FIND(pwrite64); FIND(fsync); FIND(fdatasync); FIND(ftruncate64);
}

void fault_arm(int which, int error, int at, int times)
{
    __atomic_store_n(&kinds, 0, __ATOMIC_SEQ_CST);
    error_number = error;
    countdown = at;
    left = times;
    hits = 0;
    __atomic_store_n(&kinds, which, __ATOMIC_SEQ_CST);
}

int fault_hits(void)
{
    return __atomic_load_n(&hits, __ATOMIC_SEQ_CST);
}

static int within(int fd)
{
    char link[64], path[4096];
    const char *directory = getenv("HOLDFAST_DIRECTORY");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (!directory || length < 4)
        return 0;
    path[length] = 0;
    return !strncmp(path, directory, strlen(directory)) && strcmp(path + length - 4, "-shm");
}

static int fails(int kind, int fd)
{
    if (!(__atomic_load_n(&kinds, __ATOMIC_SEQ_CST) & kind) || !within(fd))
        return 0;
    if (__atomic_sub_fetch(&countdown, 1, __ATOMIC_SEQ_CST) > 0)
        return 0;
    if (!left)
        return 0;
    if (left > 0)
        left--;
    __atomic_add_fetch(&hits, 1, __ATOMIC_SEQ_CST);
    errno = error_number;
    return 1;
}

ssize_t write(int fd, const void *data, size_t length)
{
    return fails(WRITE, fd) ? -1 : real_write(fd, data, length);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset)
{
    return fails(WRITE, fd) ? -1 : real_pwrite64(fd, data, length, offset);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset)
{
    return pwrite64(fd, data, length, offset);
}

int fsync(int fd)
{
    return fails(SYNC, fd) ? -1 : real_fsync(fd);
}

int fdatasync(int fd)
{
    return fails(SYNC, fd) ? -1 : real_fdatasync(fd);
}

int ftruncate64(int fd, off64_t length)
{
    return fails(TRUNCATE, fd) ? -1 : real_ftruncate64(fd, length);
}

int ftruncate(int fd, off_t length)
{
    return ftruncate64(fd, length);
}
