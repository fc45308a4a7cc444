/* A disk that is full for as long as the file named by FULL_DISK_FLAG exists: no file of the program that this is loaded into grows, and
   what it has can be read and changed. The write-ahead log is left alone, as one on a disk of its own. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int refuses(int fd, off_t end) {
  const char *flag = getenv("FULL_DISK_FLAG");
  char link[64], path[PATH_MAX];
  struct stat file;
  ssize_t length;
  if (flag == NULL || access(flag, F_OK) != 0) return 0;
  if (fstat(fd, &file) != 0 || !S_ISREG(file.st_mode) || end <= file.st_size) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = '\0';
  return strstr(path, "/pg_wal/") == NULL;
}

static off_t length_of(const struct iovec *parts, int count) {
  off_t length = 0;
  for (int i = 0; i < count; i++) length += (off_t)parts[i].iov_len;
  return length;
}

#define PWRITE(name)                                                      \
  ssize_t name(int fd, const void *bytes, size_t count, off_t at) {       \
    ssize_t (*next)(int, const void *, size_t, off_t);                    \
    *(void **)&next = dlsym(RTLD_NEXT, #name);                            \
    if (refuses(fd, at + (off_t)count)) return errno = ENOSPC, -1;        \
    return next(fd, bytes, count, at);                                    \
  }
PWRITE(pwrite)
PWRITE(pwrite64)

#define PWRITEV(name)                                                     \
  ssize_t name(int fd, const struct iovec *parts, int count, off_t at) {  \
    ssize_t (*next)(int, const struct iovec *, int, off_t);               \
    *(void **)&next = dlsym(RTLD_NEXT, #name);                            \
    if (refuses(fd, at + length_of(parts, count))) return errno = ENOSPC, -1; \
    return next(fd, parts, count, at);                                    \
  }
PWRITEV(pwritev)
PWRITEV(pwritev64)

#define FALLOCATE(name)                                                   \
  int name(int fd, off_t at, off_t count) {                               \
    int (*next)(int, off_t, off_t);                                       \
    *(void **)&next = dlsym(RTLD_NEXT, #name);                            \
    if (refuses(fd, at + count)) return ENOSPC;                           \
    return next(fd, at, count);                                           \
  }
FALLOCATE(posix_fallocate)
FALLOCATE(posix_fallocate64)
