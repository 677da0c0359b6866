/* A disk that keeps only what was synced. Preloaded into the runner: whenever a file below POWER_ROOT is synced, its content goes to
 * POWER_SHADOW as well. When the power fails, the shadow is what the disk holds. POWER_BOOT_ID is what stands for the kernel's boot id. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static void keep(int fd) {
  const char *root = getenv("POWER_ROOT"), *shadow = getenv("POWER_SHADOW");
  char link[64], path[PATH_MAX], temporary[PATH_MAX], kept[PATH_MAX], bytes[65536];
  struct stat what;
  if (!root || !shadow || fstat(fd, &what) || !S_ISREG(what.st_mode)) return;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length <= 0) return;
  path[length] = 0;
  if (strncmp(path, root, strlen(root))) return;
  snprintf(temporary, sizeof temporary, "%s/.%d-%s", shadow, (int)gettid(), strrchr(path, '/') + 1);
  snprintf(kept, sizeof kept, "%s/%s", shadow, strrchr(path, '/') + 1);
  int out = open(temporary, O_CREAT | O_TRUNC | O_WRONLY, 0600);
  if (out < 0) abort();
  /* Through the runner's own descriptor: to open and close the file again would drop its locks. */
  for (off_t at = 0; (length = pread(fd, bytes, sizeof bytes, at)) > 0; at += length)
    if (write(out, bytes, (size_t)length) != length) abort();
  close(out);
  if (length < 0 || rename(temporary, kept)) abort();
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fsync(int fd) {
  int result = NEXT(fsync)(fd);
  if (!result) keep(fd);
  return result;
}

int fdatasync(int fd) {
  int result = NEXT(fdatasync)(fd);
  if (!result) keep(fd);
  return result;
}

static const char *elsewhere(const char *path) {
  const char *other = getenv("POWER_BOOT_ID");
  return other && !strcmp(path, "/proc/sys/kernel/random/boot_id") ? other : path;
}

static mode_t mode_of(int flags, va_list arguments) { return flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0; }

int open64(const char *path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return NEXT(open64)(elsewhere(path), flags, mode);
}
