/* SPDX-License-Identifier: MIT */
#include "config/source.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "config/source_priv.h"

struct source *source_create(void)
{
	struct source *source = calloc(1, sizeof(*source));

	if (source) {
		source->size = 4096;
		source->text = calloc(1, source->size);
		if (!source->text)
			return source_destroy(source);
	}
	return source;
}

struct source *source_destroy(struct source *source)
{
	if (source) {
		for (unsigned i = 0; i < source->file_count; i++)
			free(source->files[i]);
		free(source->files);
		free(source->lines.at);
		free(source->strings.at);
		free(source->text);
		free(source);
	}
	return NULL;
}

int source_mark(struct source_marks *marks, unsigned file, unsigned line)
{
	if (marks->count == marks->size) {
		size_t size = marks->size ? marks->size * 2 : 256;
		struct source_mark *at = reallocarray(marks->at, size, sizeof(*at));
		if (!at)
			return -ENOMEM;
		marks->at = at;
		marks->size = size;
	}
	marks->at[marks->count++] = (struct source_mark){.file = file, .line = line};
	return 0;
}

int source_append(const struct scan *s, const char *bytes, size_t n, unsigned line)
{
	struct source *source = s->source;

	if (n >= source->size - source->length) {
		size_t size = (source->length + n + 1) * 2;
		char *text = realloc(source->text, size);
		if (!text)
			return -ENOMEM;
		source->text = text;
		source->size = size;
	}
	memcpy(source->text + source->length, bytes, n);
	source->length += n;
	source->text[source->length] = '\0';

	for (size_t i = 0; i < n; i++) {
		if (bytes[i] != '\n')
			continue;
		if (source->lines.count == SOURCE_LINES_MAX) {
			config_errors_add(source->errors, scan_place(s), NULL, "too many lines; %u are allowed in all",
					  SOURCE_LINES_MAX);
			return -EINVAL;
		}
		int rc = source_mark(&source->lines, s->file, line++);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Takes a name for a place in the list of files. Returns its index or -ENOMEM. */
static int add_file_name(struct source *source, const char *name)
{
	char **files = reallocarray(source->files, source->file_count + 1, sizeof(*files));

	if (!files)
		return -ENOMEM;
	source->files = files;
	files[source->file_count] = strdup(name);
	if (!files[source->file_count])
		return -ENOMEM;
	return (int)source->file_count++;
}

/* What of `errors` an include or the file itself is blamed for; always -EINVAL. */
static int cannot(struct source *source, const struct scan *includer, const char *path, const char *what)
{
	if (includer)
		config_errors_add(source->errors, scan_place(includer), NULL, "cannot include %s: %s", path, what);
	else
		config_errors_add(source->errors, (struct config_place){path, 0}, NULL, "%s", what);
	return -EINVAL;
}

/* Scans `n` bytes as the file of index s->file; makes sure that they end in a newline. */
static int scan_bytes(struct scan *s, const char *bytes, size_t n)
{
	struct source *source = s->source;
	const char *nul = memchr(bytes, '\0', n);

	if (nul) {
		struct config_place place = {source->files[s->file], 1};
		for (const char *p = bytes; p < nul; p++)
			place.line += *p == '\n';
		config_errors_add(source->errors, place, NULL, "a NUL byte stands in this line; this is no text file");
		return -EINVAL;
	}
	char *ended = NULL;
	if (n > 0 && bytes[n - 1] != '\n') {
		ended = malloc(n + 1);
		if (!ended)
			return -ENOMEM;
		memcpy(ended, bytes, n);
		ended[n++] = '\n';
		bytes = ended;
	}
	s->bytes = bytes;
	s->n = n;
	s->at = 0;
	s->line = 1;
	int rc = scan_run(s);
	free(ended);
	return rc;
}

/* Reads all of `fd` into new memory. Returns 0, -EFBIG when it is more than `limit`, -ENOMEM, or read's -errno. */
static int read_all(int fd, size_t limit, char **to, size_t *to_n)
{
	size_t size = 65536, n = 0;
	char *bytes = malloc(size);
	int rc = bytes ? 0 : -ENOMEM;

	while (rc == 0) {
		if (n == size) {
			char *more = realloc(bytes, size * 2);
			if (!more) {
				rc = -ENOMEM;
				break;
			}
			bytes = more;
			size *= 2;
		}
		ssize_t got = read(fd, bytes + n, size - n);
		if (got == 0)
			break;
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			rc = -errno;
		else
			n += (size_t)got;
		if (n > limit)
			rc = -EFBIG;
	}
	if (rc < 0) {
		free(bytes);
		return rc;
	}
	*to = bytes;
	*to_n = n;
	return 0;
}

/* Scans the open file, whose stat is in `st`. */
static int scan_fd(struct source *source, const struct scan *includer, const char *path, int fd, const struct stat *st)
{
	for (const struct scan *up = includer; up; up = up->includer) {
		if (up->device == st->st_dev && up->inode == st->st_ino)
			return cannot(source, includer, path, "it includes itself, directly or through another file");
	}
	if (source->file_count == SOURCE_FILES_MAX)
		return cannot(source, includer, path, "too many files; 1000 are allowed");

	char *bytes = NULL;
	size_t n = 0;
	int rc = read_all(fd, SOURCE_BYTES_MAX - source->bytes_read, &bytes, &n);
	if (rc == -ENOMEM)
		return rc;
	if (rc == -EFBIG)
		return cannot(source, includer, path, "too much text; 16 MiB are allowed in all");
	if (rc < 0)
		return cannot(source, includer, path, strerror(-rc));
	source->bytes_read += n;

	int file = add_file_name(source, path);
	rc = file;
	if (file >= 0) {
		struct scan s = {
			.source = source,
			.includer = includer,
			.include_depth = includer ? includer->include_depth + 1 : 0,
			.file = (unsigned)file,
			.may_include = true,
			.device = st->st_dev,
			.inode = st->st_ino,
		};
		rc = scan_bytes(&s, bytes, n);
	}
	free(bytes);
	return rc;
}

static int scan_directory(struct source *source, const struct scan *includer, const char *path, int *fd);

/* Scans the file at `path`, or each file of the directory at `path` if `directory_too`. A file that cannot be used is
 * an error that does not keep the others from being read. */
static int scan_path(struct source *source, const struct scan *includer, const char *path, bool directory_too)
{
	struct stat st;
	int rc;
	/* without blocking: it may be a FIFO */
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0 && errno == EACCES)
		rc = cannot(source, includer, path,
			    "Permission denied; the user that usherd runs as must be able to read it");
	else if (fd < 0 || fstat(fd, &st) < 0)
		rc = cannot(source, includer, path, strerror(errno));
	else if (S_ISDIR(st.st_mode) && directory_too)
		rc = scan_directory(source, includer, path, &fd);
	else if (S_ISDIR(st.st_mode))
		rc = cannot(source, includer, path, "is a directory, where a file is needed");
	else if (!S_ISREG(st.st_mode))
		rc = cannot(source, includer, path, "is no regular file");
	else
		rc = scan_fd(source, includer, path, fd, &st);
	fd_close(&fd);
	return rc;
}

static int is_wanted(const struct dirent *entry)
{
	size_t n = strlen(entry->d_name);

	return entry->d_name[0] != '.' && n > 5 && strcmp(entry->d_name + n - 5, ".conf") == 0;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* Scans the files *.conf of the directory that *fd is open for, in the order of their names. Takes *fd. */
static int scan_directory(struct source *source, const struct scan *includer, const char *path, int *fd)
{
	struct dirent **entries = NULL;
	int count = scandirat(*fd, ".", &entries, is_wanted, by_bytes);
	int rc = 0;

	fd_close(fd);
	if (count < 0)
		return errno == ENOMEM ? -ENOMEM : cannot(source, includer, path, strerror(errno));
	for (int i = 0; i < count; i++) {
		char *file = NULL;
		if (rc == 0 && asprintf(&file, "%s/%s", path, entries[i]->d_name) < 0) {
			file = NULL;
			rc = -ENOMEM;
		}
		if (rc == 0 && scan_path(source, includer, file, false) == -ENOMEM)
			rc = -ENOMEM;
		free(file);
		free(entries[i]);
	}
	free(entries);
	return rc;
}

int source_include(const struct scan *s, const char *name, size_t n)
{
	const char *file = s->source->files[s->file];
	const char *slash = strrchr(file, '/');
	int folder = slash && name[0] != '/' ? (int)(slash - file) + 1 : 0;
	char *path = NULL;
	int rc;

	if (!s->may_include) {
		config_errors_add(s->source->errors, scan_place(s), NULL, "@include is possible in files only");
		return -EINVAL;
	}
	if (n > 4096) {
		config_errors_add(s->source->errors, scan_place(s), NULL, "@include: the file name is too long");
		return -EINVAL;
	}
	if (asprintf(&path, "%.*s%.*s", folder, file, (int)n, name) < 0)
		return -ENOMEM;
	if (s->include_depth == SOURCE_DEPTH_MAX)
		rc = cannot(s->source, s, path, "includes stand too deep inside each other; 10 levels are allowed");
	else
		rc = scan_path(s->source, s, path, true);
	free(path);
	return rc;
}

int source_read_file(struct source *source, const char *path, struct config_errors *errors)
{
	unsigned before = config_errors_count(errors);

	source->errors = errors;
	int rc = scan_path(source, NULL, path, false);
	source->errors = NULL;
	return rc == 0 && config_errors_count(errors) > before ? -EINVAL : rc;
}

int source_read_text(struct source *source, const char *name, const char *bytes, size_t n, struct config_errors *errors)
{
	unsigned before = config_errors_count(errors);

	source->errors = errors;
	int rc = add_file_name(source, name);
	if (rc >= 0 && n > SOURCE_BYTES_MAX)
		rc = cannot(source, NULL, name, "too much text; 16 MiB are allowed in all");
	if (rc >= 0) {
		struct scan s = {.source = source, .file = (unsigned)rc};
		rc = scan_bytes(&s, bytes, n);
	}
	source->errors = NULL;
	return rc == 0 && config_errors_count(errors) > before ? -EINVAL : rc;
}

const char *source_text(const struct source *source)
{
	return source->text;
}

static struct config_place place_of(const struct source *source, const struct source_marks *marks, size_t i)
{
	if (i < marks->count)
		return (struct config_place){.file = source->files[marks->at[i].file], .line = marks->at[i].line};
	if (source->file_count > 0)
		return (struct config_place){.file = source->files[0]};
	return (struct config_place){0};
}

struct config_place source_place(const struct source *source, unsigned line)
{
	return place_of(source, &source->lines, line > 0 ? line - 1 : SIZE_MAX);
}

struct config_place source_string_place(const struct source *source, size_t i)
{
	return place_of(source, &source->strings, i);
}

unsigned source_last_line(const struct source *source)
{
	size_t line = source->last_token ? source->lines.count : 0;

	while (line > 0 && (source->lines.at[line - 1].file != source->last_mark.file ||
			    source->lines.at[line - 1].line != source->last_mark.line))
		line--;
	return (unsigned)line;
}

size_t source_line(const struct source *source, unsigned line, const char **at)
{
	const char *p = source->text;

	for (unsigned i = 1; i < line && *p; i++) {
		p += strcspn(p, "\n");
		p += *p == '\n';
	}
	p += strspn(p, " \t\r");
	size_t n = strcspn(p, "\n");
	while (n > 0 && (p[n - 1] == ' ' || p[n - 1] == '\t' || p[n - 1] == '\r'))
		n--;
	*at = p;
	return n;
}
