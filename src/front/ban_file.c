/* SPDX-License-Identifier: MIT */
#include "front/ban_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/text.h"

#define VERSION 1
#define HEAD "usher-bans "
#define EVERYBODY "*"
#define MS_PER_S 1000
#define BLOCK_BYTES 65536
#define NUMBER_DIGITS_MOST 15 /* times a thousand it still fits */

/* ---- reading ---- */

struct word {
	const char *at;
	size_t n;
};

/* Takes the next word, which spaces and tabs end. Returns false when there is none. */
static bool next_word(struct word *rest, struct word *to)
{
	while (rest->n > 0 && (*rest->at == ' ' || *rest->at == '\t')) {
		rest->at++;
		rest->n--;
	}
	*to = (struct word){rest->at, 0};
	while (rest->n > 0 && *rest->at != ' ' && *rest->at != '\t') {
		rest->at++;
		rest->n--;
		to->n++;
	}
	return to->n > 0;
}

static bool next_number(struct word *rest, uint64_t *to)
{
	struct word w;
	uint64_t number = 0;
	if (!next_word(rest, &w) || w.n > NUMBER_DIGITS_MOST)
		return false;
	for (size_t i = 0; i < w.n; i++) {
		if (w.at[i] < '0' || w.at[i] > '9')
			return false;
		number = number * 10 + (uint64_t)(w.at[i] - '0');
	}
	*to = number;
	return true;
}

static bool at_end(struct word *rest)
{
	struct word w;
	return !next_word(rest, &w);
}

static bool is_name(const char *name, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char c = name[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
		if (!letter && !(c >= '0' && c <= '9') && c != '-' && c != '_')
			return false;
	}
	return n > 0;
}

static int read_head(struct ban_file_reader *r)
{
	struct word rest = {r->line, r->line_length};
	uint64_t version;
	const size_t n = strlen(HEAD);
	if (r->line_length > sizeof(r->line) || rest.n < n || memcmp(rest.at, HEAD, n) != 0)
		return -EINVAL;
	rest.at += n;
	rest.n -= n;
	if (!next_number(&rest, &version))
		return -EINVAL;
	if (version != VERSION)
		return -ENOTSUP;
	return next_number(&rest, &r->saved_s) && at_end(&rest) ? 0 : -EINVAL;
}

/* Returns false for a damaged line. */
static bool read_ban(struct ban_file_reader *r)
{
	struct word rest = {r->line, r->line_length};
	struct word scope;
	struct word prefix;
	struct source_key key;
	char listener[BAN_FILE_LINE_MOST + 1];
	uint64_t until_s;
	uint64_t count;

	if (r->line_length > sizeof(r->line) || !next_word(&rest, &scope) || !next_word(&rest, &prefix))
		return false;
	bool everybody = scope.n == strlen(EVERYBODY) && *scope.at == *EVERYBODY;
	if ((!everybody && !is_name(scope.at, scope.n)) || source_key_parse(&key, prefix.at, prefix.n, 0) < 0 ||
	    !next_number(&rest, &until_s) || !next_number(&rest, &count) || !at_end(&rest))
		return false;
	memcpy(listener, scope.at, scope.n);
	listener[scope.n] = '\0';

	/* set back since: what was left then is all that there can be */
	uint64_t now_s = r->now_s > r->saved_s ? r->now_s : r->saved_s;
	if (until_s <= now_s) {
		r->tally.over++;
		return true;
	}
	uint64_t left_ms = (until_s - now_s) * MS_PER_S;
	uint64_t longest_ms = r->use->longest_ms(r->use->arg, everybody ? NULL : listener);
	if (longest_ms == 0) {
		r->tally.unknown++;
		return true;
	}
	r->tally.taken++;
	r->use->ban(r->use->arg, everybody ? NULL : listener, &key, left_ms < longest_ms ? left_ms : longest_ms,
		    count < UINT16_MAX ? (unsigned)count : UINT16_MAX);
	return true;
}

static void read_line(struct ban_file_reader *r)
{
	r->lines++;
	if (r->lines == 1)
		r->failed = read_head(r);
	else if (!read_ban(r))
		r->tally.damaged++;
	r->line_length = 0;
}

void ban_file_read_begin(struct ban_file_reader *r, const struct ban_file_use *use, uint64_t wall_ms)
{
	memset(r, 0, sizeof(*r));
	r->use = use;
	r->now_s = wall_ms / MS_PER_S;
}

void ban_file_read(struct ban_file_reader *r, const char *bytes, size_t n)
{
	for (size_t i = 0; i < n && r->failed == 0 && !r->tally.cut; i++) {
		if (r->bytes++ >= BAN_FILE_BYTES_MOST || r->lines > BAN_FILE_LINES_MOST) {
			r->tally.cut = true;
			return;
		}
		if (bytes[i] == '\n') {
			read_line(r);
			continue;
		}
		if (r->line_length < sizeof(r->line))
			r->line[r->line_length] = bytes[i];
		r->line_length++;
	}
}

int ban_file_read_end(struct ban_file_reader *r)
{
	if (r->failed == 0 && r->lines == 0)
		return -EINVAL;
	if (r->failed == 0 && r->line_length > 0 && !r->tally.cut)
		r->tally.damaged++;
	return r->failed;
}

static int read_blocks(int fd, struct ban_file_reader *r)
{
	char *block = malloc(BLOCK_BYTES);
	int failed = block ? 0 : -ENOMEM;
	while (failed == 0 && r->failed == 0 && !r->tally.cut) {
		ssize_t n = read(fd, block, BLOCK_BYTES);
		if (n == 0)
			break;
		if (n > 0)
			ban_file_read(r, block, (size_t)n);
		else if (errno != EINTR)
			failed = -errno;
	}
	free(block);
	return failed;
}

int ban_file_load(const char *path, const struct ban_file_use *use, uint64_t wall_ms, struct ban_file_tally *tally)
{
	struct ban_file_reader r;
	struct stat st;
	int failed = 0;

	*tally = (struct ban_file_tally){0};
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		failed = -errno;
	else if (!S_ISREG(st.st_mode))
		failed = -EINVAL;
	if (failed == 0) {
		ban_file_read_begin(&r, use, wall_ms);
		failed = read_blocks(fd, &r);
		if (failed == 0)
			failed = ban_file_read_end(&r);
		*tally = r.tally;
	}
	fd_close(&fd);
	return failed;
}

/* ---- writing ---- */

struct ban_file_writer {
	int fd;		/* owned */
	char *path;	/* owned */
	char *new_path; /* owned */
	size_t bytes;	/* written and in the block */
	unsigned lines;
	int failed;
	size_t filled;
	char block[BLOCK_BYTES];
};

static struct ban_file_writer *writer_free(struct ban_file_writer *w)
{
	fd_close(&w->fd);
	free(w->path);
	free(w->new_path);
	free(w);
	return NULL;
}

static void flush_block(struct ban_file_writer *w)
{
	for (size_t at = 0; at < w->filled && w->failed == 0;) {
		ssize_t n = write(w->fd, w->block + at, w->filled - at);
		if (n > 0)
			at += (size_t)n;
		else if (n == 0)
			w->failed = -EIO;
		else if (errno != EINTR)
			w->failed = -errno;
	}
	w->filled = 0;
}

static void add(struct ban_file_writer *w, const struct text *t)
{
	if (w->filled + t->length > sizeof(w->block))
		flush_block(w);
	memcpy(w->block + w->filled, t->at, t->length);
	w->filled += t->length;
	w->bytes += t->length;
}

int ban_file_save_begin(struct ban_file_writer **to, const char *path, uint64_t wall_ms)
{
	char line[BAN_FILE_LINE_MOST + 2];
	struct text t;
	int failed = -ENOMEM;
	struct ban_file_writer *w = calloc(1, sizeof(*w));
	if (!w)
		return failed;
	w->fd = -1;
	w->path = strdup(path);
	if (!w->path || asprintf(&w->new_path, "%s.new", path) < 0) {
		w->new_path = NULL;
		goto fail;
	}
	/* what a crash left; anew, so that nobody has it open and no link leads elsewhere */
	if (unlink(w->new_path) < 0 && errno != ENOENT) {
		failed = -errno;
		goto fail;
	}
	w->fd = open(w->new_path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (w->fd < 0) {
		failed = -errno;
		goto fail;
	}
	text_init(&t, line, sizeof(line));
	text_printf(&t, HEAD "%d %llu\n", VERSION, (unsigned long long)(wall_ms / MS_PER_S));
	add(w, &t);
	*to = w;
	return 0;
fail:
	writer_free(w);
	return failed;
}

bool ban_file_save(struct ban_file_writer *w, const char *listener, const struct source_key *key, uint64_t until_ms,
		   unsigned count)
{
	char line[BAN_FILE_LINE_MOST + 2];
	struct text t;
	unsigned long long until_s = until_ms / MS_PER_S + (until_ms % MS_PER_S > 0);
	if (listener && !is_name(listener, strlen(listener)))
		return false;
	text_init(&t, line, sizeof(line));
	text_printf(&t, "%s ", listener ? listener : EVERYBODY);
	source_key_add_text(&t, key);
	text_printf(&t, " %llu %u\n", until_s, count);
	if (t.cut || w->lines >= BAN_FILE_LINES_MOST || w->bytes + t.length > BAN_FILE_BYTES_MOST)
		return false;
	w->lines++;
	add(w, &t);
	return true;
}

/* The name in the folder is on the disk as well. */
static int sync_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	if (!folder)
		return -ENOMEM;
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(folder);
	if (fd < 0)
		return -errno;
	int failed = fsync(fd) < 0 ? -errno : 0;
	fd_close(&fd);
	return failed;
}

int ban_file_save_end(struct ban_file_writer *w, bool sync)
{
	flush_block(w);
	if (w->failed == 0 && sync && fsync(w->fd) < 0)
		w->failed = -errno;
	int fd = fd_take(&w->fd);
	if (close(fd) < 0 && w->failed == 0)
		w->failed = -errno; /* a network's file system tells of a full disk here */
	if (w->failed == 0 && rename(w->new_path, w->path) < 0)
		w->failed = -errno;
	int failed = w->failed;
	if (failed) {
		ban_file_save_abort(w);
		return failed;
	}
	failed = sync ? sync_folder(w->path) : 0;
	writer_free(w);
	return failed;
}

struct ban_file_writer *ban_file_save_abort(struct ban_file_writer *w)
{
	if (!w)
		return NULL;
	unlink(w->new_path);
	return writer_free(w);
}
