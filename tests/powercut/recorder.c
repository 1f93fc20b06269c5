/*
 * A power-cut recorder, loaded with LD_PRELOAD: keeps in POWERCUT_SHADOW a copy of every file under
 * POWERCUT_DATA as of its last fsync or fdatasync. Killing the process and putting the shadow in the place of the
 * data directory is what a power cut does to a disk that keeps exactly what it was asked to keep.
 *
 * Contents: strict. A file holds the bytes it had when the last sync of it began; what was written later, or never synced, is lost.
 * Names: a rename is kept from the next fsync of the directory, or of the renamed file; a removed name disappears at the next fsync
 * of its directory; a new file's name is kept with the file's first sync (as ext4 and xfs do; POSIX would also want the directory).
 *
 * Never used by the product: it only knows libc. Files written through mmap or O_DSYNC without a sync call count as lost.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_MAX 65536
#define RENAMES_MAX 4096

/* The inode each shadow file was copied from: a copy of another inode is made from scratch. */
static struct known_file { char *shadow; ino_t inode; } known[FILES_MAX];
static int known_count;
static struct pending_rename { char *from, *to; } renames[RENAMES_MAX];
static int rename_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *data_root, *shadow_root;

__attribute__((constructor)) static void begin(void)
{
    data_root = getenv("POWERCUT_DATA");
    shadow_root = getenv("POWERCUT_SHADOW");
}

static void fail(const char *what, const char *path)
{
    fprintf(stderr, "recorder: %s %s: %s\n", what, path, strerror(errno));
    abort();
}

/* The shadow of a path, or 0 when the path is not under the data directory. */
static int shadow_of(const char *path, char *shadow)
{
    size_t length;
    if (!data_root || !shadow_root)
        return 0;
    length = strlen(data_root);
    if (strncmp(path, data_root, length) != 0 || (path[length] != '/' && path[length] != 0))
        return 0;
    return snprintf(shadow, PATH_MAX, "%s%s", shadow_root, path + length) < PATH_MAX;
}

static void make_parents(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(path, 0700) != 0 && errno != EEXIST)
            fail("mkdir", path);
        *slash = '/';
    }
}

static struct known_file *known_file(const char *shadow)
{
    for (int i = 0; i < known_count; i++)
        if (strcmp(known[i].shadow, shadow) == 0)
            return &known[i];
    if (known_count == FILES_MAX)
        fail("too many files at", shadow);
    known[known_count].shadow = strdup(shadow);
    known[known_count].inode = 0;
    return &known[known_count++];
}

/* Files that are only ever appended to need only their tail copied; SQLite's and small ones are copied whole. */
static int only_grows(const char *path)
{
    const char *name = strrchr(path, '/') + 1, *dot = strrchr(name, '.');
    return strncmp(name, "MANIFEST", 8) == 0 || (dot && (strcmp(dot, ".log") == 0 || strcmp(dot, ".sst") == 0));
}

static void copy(int from, const char *path, char *shadow, off_t size, ino_t inode)
{
    static char buffer[1 << 20];
    struct stat old;
    off_t at = 0;
    make_parents(shadow);
    struct known_file *file = known_file(shadow);
    int to = open(shadow, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (to < 0)
        fail("open", shadow);
    if (file->inode == inode && only_grows(path) && fstat(to, &old) == 0 && old.st_size <= size)
        at = old.st_size;
    while (at < size) {
        size_t want = (size_t)(size - at) < sizeof buffer ? (size_t)(size - at) : sizeof buffer;
        ssize_t got = pread(from, buffer, want, at);
        if (got <= 0)
            break;
        if (pwrite(to, buffer, (size_t)got, at) != got)
            fail("pwrite", shadow);
        at += got;
    }
    if (ftruncate(to, at) != 0)
        fail("ftruncate", shadow);
    close(to);
    file->inode = inode;
}

static void apply_rename(int index)
{
    char from[PATH_MAX], to[PATH_MAX];
    struct pending_rename *it = &renames[index];
    if (shadow_of(it->from, from) && shadow_of(it->to, to)) {
        make_parents(to);
        if (rename(from, to) == 0) {
            struct known_file *old = known_file(from);
            known_file(to)->inode = old->inode;
            old->inode = 0;
        } else {
            /* The renamed file was never synced: its name is there and its bytes are not. */
            int empty = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
            if (empty >= 0)
                close(empty);
            known_file(to)->inode = 0;
        }
    }
    free(it->from);
    free(it->to);
    it->from = it->to = NULL;
}

static int in_directory(const char *path, const char *directory)
{
    size_t length = strlen(directory);
    return strncmp(path, directory, length) == 0 && path[length] == '/' && !strchr(path + length + 1, '/');
}

/* A directory was synced: its renames and removals are kept. */
static void keep_names(const char *directory, char *shadow)
{
    for (int i = 0; i < rename_count; i++)
        if (renames[i].to && (in_directory(renames[i].to, directory) || in_directory(renames[i].from, directory)))
            apply_rename(i);
    while (rename_count > 0 && !renames[rename_count - 1].to)
        rename_count--;
    make_parents(shadow);
    mkdir(shadow, 0700);
    DIR *entries = opendir(shadow);
    for (struct dirent *entry; entries && (entry = readdir(entries));) {
        char real[PATH_MAX], copied[PATH_MAX];
        struct stat there;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (snprintf(real, sizeof real, "%s/%s", directory, entry->d_name) >= PATH_MAX ||
            snprintf(copied, sizeof copied, "%s/%s", shadow, entry->d_name) >= PATH_MAX)
            continue;
        if (lstat(real, &there) != 0 && errno == ENOENT) {
            unlink(copied);
            known_file(copied)->inode = 0;
        }
    }
    if (entries)
        closedir(entries);
}

static void keep_file(int fd, const char *path, char *shadow, const struct stat *before)
{
    for (int i = 0; i < rename_count; i++)
        if (renames[i].to && strcmp(renames[i].to, path) == 0)
            apply_rename(i);
    copy(fd, path, shadow, before->st_size, before->st_ino);
}

static int synced(int fd, int (*really)(int))
{
    char link[64], path[PATH_MAX], shadow[PATH_MAX];
    struct stat before;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    /* Taken before the sync: bytes that another thread appends meanwhile are not promised. */
    int known_size = fstat(fd, &before) == 0;
    int result = really(fd);
    int code = errno;
    if (result == 0 && length > 0 && known_size) {
        path[length] = 0;
        if (shadow_of(path, shadow)) {
            pthread_mutex_lock(&lock);
            if (S_ISDIR(before.st_mode)) {
                keep_names(path, shadow);
            } else {
                char again[64];
                snprintf(again, sizeof again, "/proc/self/fd/%d", fd);
                int readable = open(again, O_RDONLY | O_CLOEXEC);
                if (readable >= 0) {
                    keep_file(readable, path, shadow, &before);
                    close(readable);
                }
            }
            pthread_mutex_unlock(&lock);
        }
    }
    errno = code;
    return result;
}

int fsync(int fd)
{
    static int (*really)(int);
    if (!really)
        really = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return synced(fd, really);
}

int fdatasync(int fd)
{
    static int (*really)(int);
    if (!really)
        really = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return synced(fd, really);
}

static void remember_rename(const char *from, const char *to)
{
    char shadow[PATH_MAX], absolute_from[PATH_MAX], absolute_to[PATH_MAX];
    /* The old name is gone: its directory is resolved instead. Both are absolute or relative to the working directory. */
    if (!realpath(to, absolute_to))
        return;
    if (from[0] == '/') {
        snprintf(absolute_from, sizeof absolute_from, "%s", from);
    } else if (!getcwd(absolute_from, sizeof absolute_from / 2)) {
        return;
    } else {
        size_t used = strlen(absolute_from);
        snprintf(absolute_from + used, sizeof absolute_from - used, "/%s", from);
    }
    if (!shadow_of(absolute_to, shadow))
        return;
    pthread_mutex_lock(&lock);
    if (rename_count == RENAMES_MAX)
        fail("too many renames at", to);
    renames[rename_count].from = strdup(absolute_from);
    renames[rename_count++].to = strdup(absolute_to);
    pthread_mutex_unlock(&lock);
}

int rename(const char *from, const char *to)
{
    static int (*really)(const char *, const char *);
    char shadow[PATH_MAX];
    if (!really)
        really = (int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");
    /* The recorder's own renames are inside the shadow and are not remembered. */
    int result = really(from, to);
    int code = errno;
    if (result == 0 && !(shadow_root && strncmp(to, shadow_root, strlen(shadow_root)) == 0) && (shadow_of(to, shadow) || to[0] != '/'))
        remember_rename(from, to);
    errno = code;
    return result;
}

int renameat(int from_directory, const char *from, int to_directory, const char *to)
{
    static int (*really)(int, const char *, int, const char *);
    if (!really)
        really = (int (*)(int, const char *, int, const char *))dlsym(RTLD_NEXT, "renameat");
    int result = really(from_directory, from, to_directory, to);
    int code = errno;
    if (result == 0 && from[0] == '/' && to[0] == '/')
        remember_rename(from, to);
    errno = code;
    return result;
}
