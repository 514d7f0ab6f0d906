/* A power cut, for one process and the files below one directory.
 *
 * Loaded before the C library (LD_PRELOAD). The files below POWERCUT_LIVE work as ever; beside them, below POWERCUT_IMAGE,
 * is kept what would be left of them without power: of what was written, only what was synced with fsync or fdatasync. After
 * POWERCUT_AFTER writes, syncs and changes of length the process ends, with the exit code 77; before that, each piece of 4 KiB
 * that was written and not synced goes to the image with POWERCUT_ODDS of a hundred, as POWERCUT_SEED decides.
 *
 * With POWERCUT_FAULTS, that many of a hundred writes and calls of fdatasync for the files of the journal fail as well, until
 * new files take their place: a write when half of it is done, since the disk is full, and a sync with an error of the disk.
 *
 * sync_file_range counts as no sync: it flushes neither the disk's cache nor what is known about the file. Names (of files
 * that are made, renamed or removed) are taken to be safe at once and in order, as a journalling file system makes them; what
 * is in the files is not. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define PIECE 4096
#define MOST_FILES 1024
#define MOST_DESCRIPTORS 1024

struct file {
    int is_used;
    dev_t device;
    ino_t inode;
    int image;            /* descriptor of the copy */
    int reader;           /* descriptor of our own for the file: others may be for writing only, and come and go */
    unsigned char *dirty; /* one byte for each piece that was written and not synced */
    size_t pieces;
    int is_cut_short;     /* the length changed and was not synced */
    int fails;            /* now and then */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct file files[MOST_FILES];
static struct file *by_descriptor[MOST_DESCRIPTORS];
static char live[PATH_MAX], image[PATH_MAX];
static long left = -1;
static unsigned odds, faults;
static uint64_t chance;

static int (*real_open)(const char *, int, ...);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t);
static ssize_t (*real_pread)(int, void *, size_t, off64_t);
static int (*real_ftruncate)(int, off64_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_sync_file_range)(int, off64_t, off64_t, unsigned);
static int (*real_rename)(const char *, const char *);
static int (*real_unlink)(const char *);
static int (*real_mkdir)(const char *, mode_t);
static int (*real_close)(int);

static void find(void *slot, const char *name) {
    *(void **)slot = dlsym(RTLD_NEXT, name);
    if (!*(void **)slot) _exit(78);
}

__attribute__((constructor)) static void begin(void) {
    find(&real_open, "open64");
    find(&real_write, "write");
    find(&real_pwrite, "pwrite64");
    find(&real_pread, "pread64");
    find(&real_ftruncate, "ftruncate64");
    find(&real_fsync, "fsync");
    find(&real_fdatasync, "fdatasync");
    find(&real_sync_file_range, "sync_file_range");
    find(&real_rename, "rename");
    find(&real_unlink, "unlink");
    find(&real_mkdir, "mkdir");
    find(&real_close, "close");
    const char *from = getenv("POWERCUT_LIVE"), *to = getenv("POWERCUT_IMAGE"), *after = getenv("POWERCUT_AFTER");
    const char *seed = getenv("POWERCUT_SEED"), *share = getenv("POWERCUT_ODDS");
    if (!from || !to || !after || !seed || !share) return;
    snprintf(live, sizeof live, "%s", from);
    snprintf(image, sizeof image, "%s", to);
    chance = strtoull(seed, 0, 10);
    odds = (unsigned)atoi(share);
    if (getenv("POWERCUT_FAULTS")) faults = (unsigned)atoi(getenv("POWERCUT_FAULTS"));
    left = atol(after);
}

static unsigned below(unsigned limit) {
    uint64_t mixed = chance += 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return (unsigned)((mixed ^ (mixed >> 31)) % limit);
}

/* The path below the image that stands for one below the live directory; 0 for paths elsewhere. */
static int twin(const char *path, char *out) {
    size_t length = strlen(live);
    if (left < 0 || !path || strncmp(path, live, length) || (path[length] && path[length] != '/')) return 0;
    return snprintf(out, PATH_MAX, "%s%s", image, path + length) < PATH_MAX;
}

static struct file *of(int descriptor) {
    return descriptor >= 0 && descriptor < MOST_DESCRIPTORS ? by_descriptor[descriptor] : 0;
}

/* Takes pieces of a file to the image: the dirty ones, or some of them. */
static void keep(struct file *file, unsigned share) {
    static char piece[PIECE];
    struct stat about;
    if (fstat(file->reader, &about)) _exit(78);
    for (size_t at = 0; at < file->pieces; at++) {
        if (!file->dirty[at] || (share < 100 && below(100) >= share)) continue;
        ssize_t length = real_pread(file->reader, piece, PIECE, (off64_t)at * PIECE);
        if (length > 0 && real_pwrite(file->image, piece, (size_t)length, (off64_t)at * PIECE) != length) _exit(78);
        file->dirty[at] = 0;
    }
    if (file->is_cut_short && (share == 100 || below(100) < share)) {
        if (real_ftruncate(file->image, about.st_size)) _exit(78);
        file->is_cut_short = 0;
    }
}

static void mark(struct file *file, off64_t offset, size_t length) {
    if (!length) return;
    size_t first = (size_t)offset / PIECE, last = ((size_t)offset + length - 1) / PIECE;
    if (last >= file->pieces) {
        size_t pieces = last * 2 + 16;
        file->dirty = realloc(file->dirty, pieces);
        if (!file->dirty) _exit(78);
        memset(file->dirty + file->pieces, 0, pieces - file->pieces);
        file->pieces = pieces;
    }
    memset(file->dirty + first, 1, last - first + 1);
}

/* Counts down to the cut. With the lock held, and before the change that it counts. */
static void count(void) {
    if (left > 0 && --left > 0) return;
    for (int at = 0; at < MOST_FILES; at++) {
        if (files[at].is_used) keep(&files[at], odds);
    }
    _exit(77);
}

static struct file *known(const struct stat *about) {
    for (int at = 0; at < MOST_FILES; at++) {
        if (files[at].is_used && files[at].device == about->st_dev && files[at].inode == about->st_ino) return &files[at];
    }
    return 0;
}

/* A file is known from its first opening until it is removed: closing does not make it safe. */
static int opened(int descriptor, const char *path, int flags) {
    char to[PATH_MAX];
    struct stat about;
    if (descriptor < 0 || descriptor >= MOST_DESCRIPTORS || !twin(path, to)) return descriptor;
    if (fstat(descriptor, &about) || !S_ISREG(about.st_mode)) return descriptor;
    pthread_mutex_lock(&lock);
    struct file *file = known(&about);
    for (int at = 0; at < MOST_FILES && !file; at++) {
        if (files[at].is_used) continue;
        file = &files[at];
        memset(file, 0, sizeof *file);
        file->is_used = 1;
        file->device = about.st_dev;
        file->inode = about.st_ino;
        file->image = real_open(to, O_RDWR | O_CREAT, 0644);
        file->reader = real_open(path, O_RDONLY);
        if (file->image < 0 || file->reader < 0) _exit(78);
    }
    if (!file) _exit(78);
    if (flags & O_TRUNC) file->is_cut_short = 1;
    if (strstr(path, "/journal-") && !strstr(path, ".new")) file->fails = 1;
    by_descriptor[descriptor] = file;
    pthread_mutex_unlock(&lock);
    return descriptor;
}

static int open_any(const char *path, int flags, mode_t mode) {
    return opened(real_open(path, flags, mode), path, flags);
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t);
    va_end(rest);
    return open_any(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t);
    va_end(rest);
    return open_any(path, flags, mode);
}

int close(int descriptor) {
    if (of(descriptor)) by_descriptor[descriptor] = 0;
    return real_close(descriptor);
}

ssize_t write(int descriptor, const void *bytes, size_t length) {
    struct file *file = of(descriptor);
    if (!file) return real_write(descriptor, bytes, length);
    pthread_mutex_lock(&lock);
    count();
    ssize_t written = real_write(descriptor, bytes, length);
    if (written > 0) mark(file, lseek64(descriptor, 0, SEEK_CUR) - written, (size_t)written);
    pthread_mutex_unlock(&lock);
    return written;
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t length, off64_t offset) {
    struct file *file = of(descriptor);
    if (!file) return real_pwrite(descriptor, bytes, length, offset);
    pthread_mutex_lock(&lock);
    count();
    int fails = file->fails && below(100) < faults;
    ssize_t written = real_pwrite(descriptor, bytes, fails ? length / 2 : length, offset);
    if (written > 0) mark(file, offset, (size_t)written);
    pthread_mutex_unlock(&lock);
    if (!fails) return written;
    errno = ENOSPC;
    return -1;
}

ssize_t pwrite(int descriptor, const void *bytes, size_t length, off_t offset) {
    return pwrite64(descriptor, bytes, length, offset);
}

int ftruncate64(int descriptor, off64_t length) {
    struct file *file = of(descriptor);
    if (!file) return real_ftruncate(descriptor, length);
    pthread_mutex_lock(&lock);
    count();
    file->is_cut_short = 1;
    int result = real_ftruncate(descriptor, length);
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate(int descriptor, off_t length) {
    return ftruncate64(descriptor, length);
}

static int synced(int descriptor, int (*sync)(int), int may_fail) {
    struct file *file = of(descriptor);
    if (!file) return sync(descriptor);
    pthread_mutex_lock(&lock);
    count();
    int fails = may_fail && file->fails && below(100) < faults;
    if (!fails) keep(file, 100);
    pthread_mutex_unlock(&lock);
    if (!fails) return 0;
    errno = EIO;
    return -1;
}

int fsync(int descriptor) {
    return synced(descriptor, real_fsync, 0);
}

int fdatasync(int descriptor) {
    return synced(descriptor, real_fdatasync, 1);
}

int sync_file_range(int descriptor, off64_t offset, off64_t length, unsigned flags) {
    return of(descriptor) ? 0 : real_sync_file_range(descriptor, offset, length, flags);
}

int mkdir(const char *path, mode_t mode) {
    char to[PATH_MAX];
    int result = real_mkdir(path, mode);
    if (!result && twin(path, to) && real_mkdir(to, mode) && errno != EEXIST) _exit(78);
    return result;
}

int rename(const char *from, const char *to) {
    char old[PATH_MAX], new[PATH_MAX];
    int result = real_rename(from, to);
    if (!result && twin(from, old) && twin(to, new) && real_rename(old, new)) _exit(78);
    return result;
}

int unlink(const char *path) {
    char to[PATH_MAX];
    struct stat about;
    int is_ours = twin(path, to) && !stat(path, &about);
    int result = real_unlink(path);
    if (result || !is_ours) return result;
    pthread_mutex_lock(&lock);
    struct file *file = known(&about);
    for (int at = 0; file && at < MOST_DESCRIPTORS; at++) {
        if (by_descriptor[at] == file) by_descriptor[at] = 0;
    }
    if (file) {
        real_close(file->image);
        real_close(file->reader);
        free(file->dirty);
        file->is_used = 0;
    }
    real_unlink(to);
    pthread_mutex_unlock(&lock);
    return 0;
}
