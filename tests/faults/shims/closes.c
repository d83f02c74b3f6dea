/* Finds who closes a descriptor of a database behind SQLite's back, which drops SQLite's locks.

   HOLDFAST_DATABASE   the database, an absolute path
   HOLDFAST_DATABASES  or a directory: each .db below it is one
   HOLDFAST_CLOSES     a file: a line for each such close, and one "sqlite" for each that SQLite opens

   A descriptor is SQLite's own if the call that opened it came from a library named so. In a
   directory only closes count that do harm: of a file that SQLite has open in this process. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int (*real_open64)(const char *, int, ...);
static int (*real_openat64)(int, const char *, int, ...);
static int (*real_close)(int);
static char sqlites[4096]; /* by descriptor: whether SQLite opened it */

__attribute__((constructor)) static void begin(void)
{
    real_open64 = dlsym(RTLD_NEXT, "open64");
    real_openat64 = dlsym(RTLD_NEXT, "openat64");
    real_close = dlsym(RTLD_NEXT, "close");
}

static void tell(const char *line)
{
    const char *path = getenv("HOLDFAST_CLOSES");
    int fd = path ? real_open64(path, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;
    if (fd < 0 || write(fd, line, strlen(line)) < 0)
        return;
    real_close(fd);
}

/* The files on which SQLite takes locks (walformat.html, 2.3): none on the log. */
static const char *const suffixes[] = {"", "-shm"};
enum { SUFFIXES = sizeof suffixes / sizeof *suffixes };

/* As `database`, for the databases below a directory. */
static const char *database_below(const char *directory, int fd)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0 || strncmp(path, directory, strlen(directory)))
        return NULL;
    path[length] = 0;
    for (int i = 0; i < SUFFIXES; i++) {
        size_t end = strlen(suffixes[i]) + 3;
        if ((size_t)length > end && !strncmp(path + length - end, ".db", 3) &&
            !strcmp(path + length - end + 3, suffixes[i]))
            return *suffixes[i] ? suffixes[i] : "database";
    }
    return NULL;
}

static int in_use_by_sqlite(int fd)
{
    struct stat closing, other;
    if (fstat(fd, &closing))
        return 0;
    for (int i = 0; i < 4096; i++)
        if (sqlites[i] && !fstat(i, &other) && other.st_ino == closing.st_ino &&
            other.st_dev == closing.st_dev)
            return 1;
    return 0;
}

/* The name of the database's file that the descriptor is of, NULL for any other. */
static const char *database(int fd)
{
    const char *path = getenv("HOLDFAST_DATABASE"), *directory = getenv("HOLDFAST_DATABASES");
    struct stat open_file, file;
    char name[4096];
    if (directory)
        return database_below(directory, fd);
    if (!path || fstat(fd, &open_file))
        return NULL;
    for (int i = 0; i < SUFFIXES; i++) {
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        if (!stat(name, &file) && file.st_ino == open_file.st_ino && file.st_dev == open_file.st_dev)
            return *suffixes[i] ? suffixes[i] : "database";
    }
    return NULL;
}

static int opened(int fd, const void *caller)
{
    Dl_info where;
    if (fd < 0 || fd >= 4096)
        return fd;
    sqlites[fd] = dladdr(caller, &where) && where.dli_fname && strstr(where.dli_fname, "sqlite3");
    if (sqlites[fd] && database(fd))
        tell("sqlite\n");
    return fd;
}

#define WITH_MODE                                   \
    va_list rest;                                   \
    va_start(rest, flags);                          \
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0; \
    va_end(rest)

int open64(const char *path, int flags, ...)
{
    WITH_MODE;
    return opened(real_open64(path, flags, mode), __builtin_return_address(0));
}

int open(const char *path, int flags, ...)
{
    WITH_MODE;
    return opened(real_open64(path, flags, mode), __builtin_return_address(0));
}

int openat64(int at, const char *path, int flags, ...)
{
    WITH_MODE;
    return opened(real_openat64(at, path, flags, mode), __builtin_return_address(0));
}

int openat(int at, const char *path, int flags, ...)
{
    WITH_MODE;
    return opened(real_openat64(at, path, flags, mode), __builtin_return_address(0));
}

int close(int fd)
{
    if (fd >= 0 && fd < 4096) {
        const char *name = sqlites[fd] ? NULL : database(fd);
        if (name && (getenv("HOLDFAST_DATABASE") || in_use_by_sqlite(fd))) {
            char line[64];
            snprintf(line, sizeof line, "foreign %s\n", name);
            tell(line);
        }
        sqlites[fd] = 0;
    }
    return real_close(fd);
}
