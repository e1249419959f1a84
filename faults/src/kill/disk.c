/*
 * Stands between a program and the files of one database (LD_PRELOAD). Counts the steps that the program takes on them,
 * kills it at one of them, and logs each step with what it overwrites, so that a power cut can be played afterwards: what
 * was not flushed may be lost.
 *
 *   DISK_FILES   what the paths of these files begin with; SQLite's shared memory (-shm) is none of them
 *   DISK_ARMED   steps count from when this file exists
 *   DISK_STEP    the program is killed at this step, the first being 1; never, when 0
 *   DISK_AFTER   "1": after the step instead of before it
 *   DISK_LOG     gets a record per step: see struct record
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum kind { WRITE = 1, TRUNCATE = 2, FLUSH = 3 };

/* Followed by the path, the bytes that the step overwrites or cuts off, and the bytes that it writes. */
struct record {
  uint8_t kind;
  uint8_t counted;
  uint16_t path_length;
  uint32_t old_length;
  uint32_t new_length;
  uint64_t offset;
  uint64_t size_before;
} __attribute__((packed));

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int log_fd = -1;
static long steps;
static int armed;

static const char *setting(const char *name) {
  const char *value = getenv(name);
  return value ? value : "";
}

static void put(const void *bytes, size_t length) {
  const char *next = bytes;
  while (length > 0) {
    ssize_t count = syscall(SYS_write, log_fd, next, length);
    if (count <= 0)
      return;
    next += count;
    length -= (size_t)count;
  }
}

/* Whether the descriptor is one of the files; its path and size are filled in. */
static int is_watched(int fd, char path[PATH_MAX], struct stat *about) {
  char link[64];
  const char *files = setting("DISK_FILES");
  if (!*files || fstat(fd, about) != 0 || !S_ISREG(about->st_mode))
    return 0;
  int length = 0;
  char digits[12];
  for (unsigned rest = (unsigned)fd; rest || !length; rest /= 10)
    digits[length++] = (char)('0' + rest % 10);
  strcpy(link, "/proc/self/fd/");
  char *end = link + strlen(link);
  while (length > 0)
    *end++ = digits[--length];
  *end = 0;
  ssize_t count = readlink(link, path, PATH_MAX - 1);
  if (count <= 0)
    return 0;
  path[count] = 0;
  size_t known = strlen(path);
  if (strncmp(path, files, strlen(files)) != 0)
    return 0;
  return known < 4 || strcmp(path + known - 4, "-shm") != 0;
}

static void die(void) {
  kill(getpid(), SIGKILL);
  for (;;)
    pause();
}

/* Counts and logs a step that is about to be taken. Returns its number, 0 while steps do not count yet. */
static long begin(enum kind kind, int fd, const char *path, const struct stat *about, uint64_t offset,
                  const void *bytes, size_t length) {
  if (!armed)
    armed = access(setting("DISK_ARMED"), F_OK) == 0;
  long step = armed ? ++steps : 0;
  if (step > 0 && step == atol(setting("DISK_STEP")) && *setting("DISK_AFTER") != '1')
    die();
  if (log_fd < 0)
    log_fd = open(setting("DISK_LOG"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  uint64_t size = (uint64_t)about->st_size;
  size_t old = 0;
  if (kind == TRUNCATE && offset < size)
    old = (size_t)(size - offset);
  else if (kind == WRITE && offset < size)
    old = length < size - offset ? length : (size_t)(size - offset);
  char *overwritten = old ? malloc(old) : NULL;
  if (old && (!overwritten || pread(fd, overwritten, old, (off_t)offset) != (ssize_t)old))
    die();
  size_t new = kind == WRITE ? length : 0;
  struct record record = {(uint8_t)kind, step > 0, (uint16_t)strlen(path), (uint32_t)old, (uint32_t)new, offset, size};
  put(&record, sizeof record);
  put(path, record.path_length);
  put(overwritten, old);
  put(bytes, new);
  free(overwritten);
  return step;
}

static void end(long step) {
  if (step > 0 && step == atol(setting("DISK_STEP")) && *setting("DISK_AFTER") == '1')
    die();
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *bytes, size_t length) {
  char path[PATH_MAX];
  struct stat about;
  int saved = errno;
  if (!is_watched(fd, path, &about)) {
    errno = saved;
    return syscall(SYS_write, fd, bytes, length);
  }
  pthread_mutex_lock(&lock);
  off_t offset = lseek(fd, 0, SEEK_CUR);
  long step = begin(WRITE, fd, path, &about, (uint64_t)offset, bytes, length);
  ssize_t count = syscall(SYS_write, fd, bytes, length);
  end(step);
  pthread_mutex_unlock(&lock);
  return count;
}

static ssize_t write_at(int fd, const void *bytes, size_t length, off_t offset) {
  char path[PATH_MAX];
  struct stat about;
  int saved = errno;
  if (!is_watched(fd, path, &about)) {
    errno = saved;
    return syscall(SYS_pwrite64, fd, bytes, length, offset);
  }
  pthread_mutex_lock(&lock);
  long step = begin(WRITE, fd, path, &about, (uint64_t)offset, bytes, length);
  ssize_t count = syscall(SYS_pwrite64, fd, bytes, length, offset);
  end(step);
  pthread_mutex_unlock(&lock);
  return count;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) {
  return write_at(fd, bytes, length, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t offset) {
  return write_at(fd, bytes, length, offset);
}

static int truncate_to(int fd, off_t length) {
  char path[PATH_MAX];
  struct stat about;
  if (!is_watched(fd, path, &about))
    return (int)syscall(SYS_ftruncate, fd, length);
  pthread_mutex_lock(&lock);
  long step = begin(TRUNCATE, fd, path, &about, (uint64_t)length, NULL, 0);
  int result = (int)syscall(SYS_ftruncate, fd, length);
  end(step);
  pthread_mutex_unlock(&lock);
  return result;
}

int ftruncate(int fd, off_t length) { return truncate_to(fd, length); }

int ftruncate64(int fd, off_t length) { return truncate_to(fd, length); }

static int flush(int fd, int (*real)(int)) {
  char path[PATH_MAX];
  struct stat about;
  if (!is_watched(fd, path, &about))
    return real(fd);
  pthread_mutex_lock(&lock);
  long step = begin(FLUSH, fd, path, &about, 0, NULL, 0);
  int result = real(fd);
  end(step);
  pthread_mutex_unlock(&lock);
  return result;
}

int fsync(int fd) { return flush(fd, REAL(fsync)); }

int fdatasync(int fd) { return flush(fd, REAL(fdatasync)); }
