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

struct block {
	struct block *next;
	size_t filled;
	char bytes[BLOCK_BYTES];
};

struct ban_draft {
	struct block *first; /* owned; each owns the next */
	struct block *last;
	size_t bytes;
	unsigned lines;
	int failed;
};

static void add(struct ban_draft *d, const struct text *t)
{
	struct block *b = d->last;
	if (!b || b->filled + t->length > sizeof(b->bytes)) {
		b = malloc(sizeof(*b));
		if (!b) {
			d->failed = -ENOMEM;
			return;
		}
		b->next = NULL;
		b->filled = 0;
		if (d->last)
			d->last->next = b;
		else
			d->first = b;
		d->last = b;
	}
	memcpy(b->bytes + b->filled, t->at, t->length);
	b->filled += t->length;
	d->bytes += t->length;
}

struct ban_draft *ban_draft_create(uint64_t wall_ms)
{
	char line[BAN_FILE_LINE_MOST + 2];
	struct text t;
	struct ban_draft *d = calloc(1, sizeof(*d));
	if (!d)
		return NULL;
	text_init(&t, line, sizeof(line));
	text_printf(&t, HEAD "%d %llu\n", VERSION, (unsigned long long)(wall_ms / MS_PER_S));
	add(d, &t);
	return d->failed ? ban_draft_destroy(d) : d;
}

struct ban_draft *ban_draft_destroy(struct ban_draft *d)
{
	if (!d)
		return NULL;
	while (d->first) {
		struct block *next = d->first->next;
		free(d->first);
		d->first = next;
	}
	free(d);
	return NULL;
}

bool ban_draft_add(struct ban_draft *d, const char *listener, const struct source_key *key, uint64_t until_ms,
		   unsigned count)
{
	char line[BAN_FILE_LINE_MOST + 2];
	struct text t;
	unsigned long long until_s = until_ms / MS_PER_S + (until_ms % MS_PER_S > 0);
	if (d->failed || (listener && !is_name(listener, strlen(listener))))
		return false;
	text_init(&t, line, sizeof(line));
	text_printf(&t, "%s ", listener ? listener : EVERYBODY);
	source_key_add_text(&t, key);
	text_printf(&t, " %llu %u\n", until_s, count);
	if (t.cut || d->lines >= BAN_FILE_LINES_MOST || d->bytes + t.length > BAN_FILE_BYTES_MOST)
		return false;
	d->lines++;
	add(d, &t);
	return !d->failed;
}

static int write_block(int fd, const struct block *b)
{
	for (size_t at = 0; at < b->filled;) {
		ssize_t n = write(fd, b->bytes + at, b->filled - at);
		if (n > 0)
			at += (size_t)n;
		else if (n == 0)
			return -EIO;
		else if (errno != EINTR)
			return -errno;
	}
	return 0;
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

/* Writes a file that was not there. */
static int write_new(const struct ban_draft *d, const char *path)
{
	/* what a crash left; anew, so that nobody has it open and no link leads elsewhere */
	if (unlink(path) < 0 && errno != ENOENT)
		return -errno;
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	int failed = 0;
	for (const struct block *b = d->first; b && !failed; b = b->next)
		failed = write_block(fd, b);
	if (!failed && fsync(fd) < 0)
		failed = -errno;
	if (close(fd) < 0 && !failed)
		failed = -errno; /* a network's file system tells of a full disk here */
	return failed;
}

int ban_file_write(const struct ban_draft *d, const char *path)
{
	char *new_path;
	if (d->failed)
		return d->failed;
	if (asprintf(&new_path, "%s.new", path) < 0)
		return -ENOMEM;
	int failed = write_new(d, new_path);
	if (!failed && rename(new_path, path) < 0)
		failed = -errno;
	if (failed)
		unlink(new_path);
	free(new_path);
	return failed ? failed : sync_folder(path);
}
