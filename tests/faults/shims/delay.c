/* Random delays around the calls by which SQLite reads, writes and syncs a file.

   They widen the moments in which two processes can get into each other's way. HOLDFAST_SEED and
   the process number begin the random numbers. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static __thread unsigned state;
static __thread pid_t owner; /* a fork has chance of its own */

static void pause_up_to(unsigned microseconds)
{
    if (owner != getpid()) {
        owner = getpid();
        const char *seed = getenv("HOLDFAST_SEED");
        state = (seed ? atoi(seed) : 7) * 2654435761u ^ (unsigned)getpid() ^ (unsigned)gettid();
    }
    if (rand_r(&state) % 4 == 0)
        usleep(rand_r(&state) % microseconds);
}

#define DELAYED(type, name, microseconds, parameters, arguments)             \
    type name parameters                                                     \
    {                                                                        \
        static type(*real) parameters;                                       \
        if (!real)                                                           \
            real = dlsym(RTLD_NEXT, #name);                                  \
        pause_up_to(microseconds);                                           \
        type result = real arguments;                                        \
        pause_up_to(microseconds);                                           \
        return result;                                                       \
    }

DELAYED(int, fsync, 20000, (int fd), (fd))
DELAYED(int, fdatasync, 20000, (int fd), (fd))
DELAYED(ssize_t, pread64, 1500, (int fd, void *data, size_t n, off64_t at), (fd, data, n, at))
DELAYED(ssize_t, pread, 1500, (int fd, void *data, size_t n, off_t at), (fd, data, n, at))
DELAYED(ssize_t, pwrite64, 1500, (int fd, const void *data, size_t n, off64_t at), (fd, data, n, at))
DELAYED(ssize_t, pwrite, 1500, (int fd, const void *data, size_t n, off_t at), (fd, data, n, at))
