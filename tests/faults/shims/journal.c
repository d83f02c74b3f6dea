/* Writes down, in order, everything a process does to the files of one directory.

   HOLDFAST_DIRECTORY  the directory, an absolute path
   HOLDFAST_JOURNAL    the journal, outside of it: "operation name offset length\n", then the data

   A lock is held from the call to its entry, so that the order of entries is the order of effects.
   The shared memory of SQLite (-shm) is left out: it is made anew after a power cut. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REAL(type, name, ...) static type (*real_##name)(__VA_ARGS__)

REAL(int, open64, const char *, int, ...);
REAL(int, close, int);
REAL(ssize_t, write, int, const void *, size_t);
REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t);
REAL(int, fsync, int);
REAL(int, fdatasync, int);
REAL(int, ftruncate64, int, off64_t);
REAL(int, unlink, const char *);
REAL(int, rename, const char *, const char *);

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static char *names[4096]; /* by descriptor; NULL: not of the directory */
static const char *directory;
static size_t prefix;
static int journal = -1;

__attribute__((constructor)) static void begin(void)
{
#define FIND(name) real_##name = dlsym(RTLD_NEXT, #name)
    FIND(open64); FIND(close); FIND(write); FIND(pwrite64); FIND(fsync); FIND(fdatasync);
    FIND(ftruncate64); FIND(unlink); FIND(rename);
    directory = getenv("HOLDFAST_DIRECTORY");
    const char *path = getenv("HOLDFAST_JOURNAL");
    if (directory && path) {
        prefix = strlen(directory);
        journal = real_open64(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    }
}

/* The name within the directory, "." for itself, NULL for what lies elsewhere. */
static const char *within(const char *path)
{
    size_t length = path ? strlen(path) : 0;
    if (journal < 0 || !length || strncmp(path, directory, prefix))
        return NULL;
    if (!path[prefix])
        return ".";
    if (path[prefix] != '/' || (length > 4 && !strcmp(path + length - 4, "-shm")))
        return NULL;
    return path + prefix + 1;
}

static const char *of(int fd)
{
    return fd >= 0 && fd < 4096 ? names[fd] : NULL;
}

static void note(const char *what, const char *name, off64_t offset, size_t length, const void *data)
{
    char head[512];
    int size = snprintf(head, sizeof head, "%s %s %lld %zu\n", what, name, (long long)offset, length);
    if (real_write(journal, head, size) != size ||
        (data && real_write(journal, data, length) != (ssize_t)length))
        abort();
}

static int opened(const char *path, int flags, mode_t mode)
{
    const char *name = within(path);
    if (!name)
        return real_open64(path, flags, mode);
    pthread_mutex_lock(&turn);
    struct stat before;
    int made = (flags & O_CREAT) && stat(path, &before);
    int fd = real_open64(path, flags, mode);
    if (fd >= 0 && fd < 4096) {
        names[fd] = strdup(name);
        if (made)
            note("create", name, 0, 0, NULL);
    }
    pthread_mutex_unlock(&turn);
    return fd;
}

static mode_t mode_of(int flags, va_list rest)
{
    return flags & O_CREAT ? va_arg(rest, mode_t) : 0;
}

int open64(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = mode_of(flags, rest);
    va_end(rest);
    return opened(path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = mode_of(flags, rest);
    va_end(rest);
    return opened(path, flags, mode);
}

int close(int fd)
{
    if (of(fd)) {
        pthread_mutex_lock(&turn);
        free(names[fd]);
        names[fd] = NULL;
        pthread_mutex_unlock(&turn);
    }
    return real_close(fd);
}

#define NOTED(call, failed, what, offset, length, data)                  \
    const char *name = of(fd);                                           \
    if (!name)                                                           \
        return call;                                                     \
    pthread_mutex_lock(&turn);                                           \
    __typeof__(call) result = call;                                      \
    if (!(failed))                                                       \
        note(what, name, offset, length, data);                          \
    pthread_mutex_unlock(&turn);                                         \
    return result

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset)
{
    NOTED(real_pwrite64(fd, data, length, offset), result < 0, "write", offset, result, data);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset)
{
    return pwrite64(fd, data, length, offset);
}

ssize_t write(int fd, const void *data, size_t length)
{
    NOTED(real_write(fd, data, length), result < 0, "write", lseek64(fd, 0, SEEK_CUR) - result,
          result, data);
}

int fsync(int fd)
{
    NOTED(real_fsync(fd), result, "sync", 0, 0, NULL);
}

int fdatasync(int fd)
{
    NOTED(real_fdatasync(fd), result, "sync", 0, 0, NULL);
}

int ftruncate64(int fd, off64_t length)
{
    NOTED(real_ftruncate64(fd, length), result, "truncate", length, 0, NULL);
}

int ftruncate(int fd, off_t length)
{
    return ftruncate64(fd, length);
}

int unlink(const char *path)
{
    const char *name = within(path);
    pthread_mutex_lock(&turn);
    int result = real_unlink(path);
    if (name && !result)
        note("unlink", name, 0, 0, NULL);
    pthread_mutex_unlock(&turn);
    return result;
}

int rename(const char *from, const char *to)
{
    if (within(from) || within(to))
        abort(); /* the replay knows no renames, because nothing here makes one */
    return real_rename(from, to);
}
