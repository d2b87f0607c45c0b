/* SPDX-License-Identifier: MIT */
#include "tls/file_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/text.h"

#define MESSAGE_BYTES 900

static void report(struct tls_reader *r, const struct tls_spot *spot, bool bare, const char *format, va_list args)
{
	char raw[MESSAGE_BYTES];
	struct text message;
	text_init(&message, raw, sizeof(raw));
	if (!bare && spot->value && spot->value[0])
		text_printf(&message, "%s: ", spot->value);
	text_vprintf(&message, format, args);

	char path[256];
	snprintf(path, sizeof(path), "%s.%s", r->prefix, spot->option);
	config_errors_add(r->errors, spot->place, path, "%s", raw);
	r->failed = true;
}

void tls_report(struct tls_reader *r, const struct tls_spot *spot, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	report(r, spot, false, format, args);
	va_end(args);
}

void tls_report_bare(struct tls_reader *r, const struct tls_spot *spot, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	report(r, spot, true, format, args);
	va_end(args);
}

/* What went wrong when a file was opened or read, and what to do. */
static void report_errno(struct tls_reader *r, const struct tls_spot *spot, const char *path, int error)
{
	if (error == EACCES || error == EPERM) {
		/* main asks, and only when something is wrong anyway */
		// cppcheck-suppress getpwuidCalled
		const struct passwd *user = getpwuid(geteuid()); // NOLINT(concurrency-mt-unsafe)
		tls_report_bare(
			r, spot,
			"%s: the user %s, which usherd runs as, may not read it: chgrp it to a group of that user and "
			"chmod 640 it, or pass it with LoadCredential= as credential:NAME",
			path, user ? user->pw_name : "(without a name)");
	} else {
		tls_report_bare(r, spot, "%s: %s", path, strerror(error)); // NOLINT(concurrency-mt-unsafe)
	}
}

/* The path that a value names; owned by the caller. NULL: reported. */
static char *resolve(struct tls_reader *r, const struct tls_spot *spot)
{
	static const char scheme[] = "credential:";
	char *path = NULL;
	if (!spot->value[0]) {
		tls_report(r, spot, "names no file");
		return NULL;
	}
	if (strncmp(spot->value, scheme, strlen(scheme)) != 0) {
		path = strdup(spot->value);
	} else {
		const char *name = spot->value + strlen(scheme);
		const char *folder = getenv("CREDENTIALS_DIRECTORY"); // NOLINT(concurrency-mt-unsafe)
		if (!name[0] || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
			tls_report(r, spot, "the name of a credential has no '/' and is not empty");
			return NULL;
		}
		if (!folder || !folder[0]) {
			tls_report(r, spot,
				   "there are no credentials: CREDENTIALS_DIRECTORY is not set; add "
				   "LoadCredential=%s:/path/to/the/file to the unit of usherd",
				   name);
			return NULL;
		}
		if (asprintf(&path, "%s/%s", folder, name) < 0)
			path = NULL;
	}
	if (!path)
		r->no_memory = true;
	return path;
}

/* Reads all that `fd` has to file->bytes. Returns 0, -errno, or -EFBIG. */
static int read_whole(int fd, struct tls_file *file, size_t expected, size_t bytes_max)
{
	size_t size = (expected < bytes_max ? expected : bytes_max) + 2; /* one to see the end, one for the NUL */
	file->bytes = OPENSSL_malloc(size);
	if (!file->bytes)
		return -ENOMEM;
	for (;;) {
		ssize_t n = read(fd, file->bytes + file->n, size - 1 - file->n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		file->n += (size_t)n;
		if (file->n > bytes_max)
			return -EFBIG;
		if (file->n < size - 1)
			continue;
		char *more = OPENSSL_clear_realloc(file->bytes, size, size * 2); /* it grew meanwhile */
		if (!more)
			return -ENOMEM;
		file->bytes = more;
		size *= 2;
	}
	file->bytes[file->n] = '\0';
	return EVP_Digest(file->bytes, file->n, file->digest, NULL, EVP_sha256(), NULL) == 1 ? 0 : -ENOMEM;
}

/* Reads a regular file and never waits, as for a FIFO's writer. Returns 0, -errno, -EFBIG (too large), -EISDIR,
 * -ENXIO (neither file nor folder). */
static int open_and_read(struct tls_file *file, size_t bytes_max)
{
	struct stat st;
	int fd = open(file->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int failed = fstat(fd, &st) < 0 ? -errno : 0;
	if (!failed && S_ISDIR(st.st_mode))
		failed = -EISDIR;
	else if (!failed && !S_ISREG(st.st_mode))
		failed = -ENXIO;
	else if (!failed && st.st_size > (off_t)bytes_max)
		failed = -EFBIG;
	if (!failed) {
		file->mode = st.st_mode;
		failed = read_whole(fd, file, (size_t)st.st_size, bytes_max);
	}
	fd_close(&fd);
	return failed;
}

static void file_drop_bytes(struct tls_file *file)
{
	OPENSSL_clear_free(file->bytes, file->n);
	file->bytes = NULL;
	file->n = 0;
}

static struct tls_file *file_destroy(struct tls_file *file)
{
	if (file) {
		file_drop_bytes(file);
		free(file->path);
		free(file);
	}
	return NULL;
}

static const struct tls_file *find(const struct tls_files *files, const char *path)
{
	for (unsigned i = 0; i < files->count; i++) {
		if (strcmp(files->at[i]->path, path) == 0)
			return files->at[i];
	}
	return NULL;
}

static int append(struct tls_files *files, struct tls_file *file)
{
	struct tls_file **more = realloc(files->at, (files->count + 1) * sizeof(struct tls_file *));
	if (!more)
		return -ENOMEM;
	files->at = more;
	more[files->count++] = file;
	return 0;
}

const struct tls_file *tls_file_read(struct tls_reader *r, const struct tls_spot *spot, size_t bytes_max)
{
	struct tls_file *file = NULL;
	char *path = resolve(r, spot);
	if (!path)
		return NULL;
	const struct tls_file *known = find(r->files, path);
	if (known) {
		free(path);
		return known;
	}

	file = calloc(1, sizeof(*file));
	int failed = file ? 0 : -ENOMEM;
	if (file) {
		file->path = path;
		path = NULL;
		failed = open_and_read(file, bytes_max);
	}
	if (failed == -ENXIO)
		tls_report_bare(r, spot, "%s: this is no regular file", file->path);
	else if (failed == -EFBIG)
		tls_report_bare(r, spot, "%s: larger than %zu KiB: this is hardly the right file", file->path,
				bytes_max >> 10);
	else if (failed && failed != -ENOMEM)
		report_errno(r, spot, file->path, -failed);
	else if (!failed && file->n == 0)
		tls_report_bare(r, spot, "%s: the file is empty", file->path);
	else if (failed || append(r->files, file) != 0)
		r->no_memory = true;
	else
		return file;
	file_destroy(file);
	free(path);
	return NULL;
}

bool tls_file_is_open_to_all(struct tls_reader *r, const struct tls_spot *spot, const struct tls_file *file)
{
	if (!(file->mode & 007))
		return false;
	tls_report_bare(r, spot, "%s: everybody can %s this private key (mode %04o): chmod 640 it", file->path,
			(file->mode & 004) ? "read" : "change", (unsigned)(file->mode & 07777));
	return true;
}

void tls_files_drop_bytes(struct tls_files *files)
{
	for (unsigned i = 0; i < files->count; i++)
		file_drop_bytes(files->at[i]);
}

bool tls_files_outdated(const struct tls_files *files)
{
	for (unsigned i = 0; i < files->count; i++) {
		struct tls_file now = {.path = files->at[i]->path};
		int failed = open_and_read(&now, TLS_BUNDLE_BYTES_MAX);
		file_drop_bytes(&now);
		/* a key must not be, and it is better said now than at the next start */
		bool opened_to_all = !failed && (now.mode & 007) && !(files->at[i]->mode & 007);
		if (failed || opened_to_all || memcmp(now.digest, files->at[i]->digest, sizeof(now.digest)) != 0)
			return true;
	}
	return false;
}

void tls_files_fini(struct tls_files *files)
{
	for (unsigned i = 0; i < files->count; i++)
		file_destroy(files->at[i]);
	free(files->at);
	*files = (struct tls_files){0};
}
