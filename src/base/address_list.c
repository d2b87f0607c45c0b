/* SPDX-License-Identifier: MIT */
#include "base/address_list.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/text.h"

#define READ_BYTES 16384
#define ROOM_FIRST 64
#define QUOTED_BYTES 40 /* of a wrong entry; four times as many when all are escaped */

/* The way through a file. */
struct scan {
	unsigned line; /* the one that is being read, from 1 */
	size_t entries;
	bool in_comment;
	char last;				    /* byte of the file */
	size_t n;				    /* bytes at `text` */
	char text[ADDRESS_LIST_LINE_BYTES_MAX + 1]; /* of the line; one more tells that it is too long */

	/* Gets each entry without the blanks around it; all of `text` when the line is too long. Returns 0, or what the
	 * scan ends with. */
	int (*entry)(void *context, unsigned line, const char *text, size_t n);
	void *context;
};

int address_list_add(struct address_list *l, const struct address_range *r)
{
	if (l->count == ADDRESS_LIST_ENTRIES_MAX)
		return -E2BIG;
	if (l->count == l->room) {
		size_t room = l->room > 0 ? 2 * l->room : ROOM_FIRST;
		struct address_range *more = reallocarray(l->ranges, room, sizeof(*more));
		if (!more)
			return -ENOMEM;
		l->ranges = more;
		l->room = room;
	}
	l->ranges[l->count++] = *r;
	return 0;
}

void address_list_fini(struct address_list *l)
{
	free(l->ranges);
	*l = (struct address_list){0};
}

/* An editor's mark of UTF-8 at the start of a file: invisible in a message about it. */
static size_t mark_bytes(const struct scan *s)
{
	static const char mark[] = {'\xef', '\xbb', '\xbf'};
	return s->line == 1 && s->n >= sizeof(mark) && memcmp(s->text, mark, sizeof(mark)) == 0 ? sizeof(mark) : 0;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static int end_line(struct scan *s)
{
	const char *text = s->text + mark_bytes(s);
	const char *end = s->text + s->n;
	int r = 0;

	if (s->n <= ADDRESS_LIST_LINE_BYTES_MAX) {
		while (text < end && is_blank(*text))
			text++;
		while (text < end && is_blank(end[-1]))
			end--;
	}
	if (text < end) {
		s->entries++;
		r = s->entry(s->context, s->line, text, (size_t)(end - text));
	}
	s->line++;
	s->n = 0;
	s->in_comment = false;
	return r;
}

static int scan_bytes(struct scan *s, const char *bytes, size_t n)
{
	int r = 0;
	for (size_t i = 0; i < n && r == 0; i++) {
		if (bytes[i] == '\n')
			r = end_line(s);
		else if (bytes[i] == '#')
			s->in_comment = true;
		else if (!s->in_comment && s->n < sizeof(s->text))
			s->text[s->n++] = bytes[i];
	}
	if (n > 0)
		s->last = bytes[n - 1];
	return r;
}

/* Scans a file of `size` bytes. -EAGAIN: it has more or less. */
static int scan_whole(struct scan *s, int fd, size_t size)
{
	char buffer[READ_BYTES];
	size_t got = 0;
	for (;;) {
		ssize_t n = read(fd, buffer, sizeof(buffer));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		got += (size_t)n;
		if (got > size)
			return -EAGAIN;
		int r = scan_bytes(s, buffer, (size_t)n);
		if (r != 0)
			return r;
	}
	if (got != size)
		return -EAGAIN;
	return s->last == '\n' ? 0 : end_line(s);
}

static bool is_same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool has_changed(const struct stat *before, const struct stat *after)
{
	return before->st_size != after->st_size || !is_same_time(before->st_mtim, after->st_mtim) ||
	       !is_same_time(before->st_ctim, after->st_ctim);
}

/* Whether nobody has written to it for long enough. Its modification time tells: a rename leaves that alone, and who
 * copies a file with its old time sets that at the end. */
static bool has_rested(const struct scan *s, const struct stat *st, uint64_t wall_ms)
{
	bool cut_off = s->last != '\n' || s->entries == 0; /* writers write in blocks, and empty a file first */
	int64_t written_ms = (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000;
	int64_t rest_ms = (int64_t)wall_ms - written_ms;
	return rest_ms < 0 || rest_ms >= (cut_off ? ADDRESS_LIST_CUT_OFF_REST_MS : ADDRESS_LIST_REST_MS);
}

static int scan_fd(struct scan *s, int fd, uint64_t wall_ms)
{
	struct stat before;
	struct stat after;
	if (fstat(fd, &before) < 0)
		return -errno;
	if (S_ISDIR(before.st_mode))
		return -EISDIR;
	if (!S_ISREG(before.st_mode))
		return -ENXIO;
	if (before.st_size > ADDRESS_LIST_FILE_BYTES_MAX)
		return -EFBIG;
	int r = scan_whole(s, fd, (size_t)before.st_size);
	if (r != 0)
		return r;
	if (fstat(fd, &after) < 0)
		return -errno;
	if (has_changed(&before, &after) || (wall_ms > 0 && !has_rested(s, &after, wall_ms)))
		return -EAGAIN;
	return 0;
}

/* Returns 0, what `entry` ended it with, or -errno. */
static int scan_file(struct scan *s, const char *path, uint64_t wall_ms)
{
	/* without blocking: it may be a FIFO */
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	s->line = 1;
	int r = scan_fd(s, fd, wall_ms);
	fd_close(&fd);
	return r;
}

/* Begins a problem's text. Returns false when there is no place for one more. */
static bool problem_init(struct text *t, struct address_list_problems *p, unsigned line)
{
	if (p->count == ADDRESS_LIST_PROBLEMS_MAX) {
		p->more++;
		return false;
	}
	struct address_list_problem *problem = &p->at[p->count++];
	problem->line = line;
	text_init(t, problem->text, sizeof(problem->text));
	return true;
}

static void add_entry_problem(struct address_list_problems *p, unsigned line, const char *text, size_t n,
			      const char *why)
{
	struct text t;
	if (!problem_init(&t, p, line))
		return;
	text_add(&t, "\"");
	text_add_escaped(&t, text, n < QUOTED_BYTES ? n : QUOTED_BYTES);
	text_printf(&t, "%s\": %s", n > QUOTED_BYTES ? "..." : "", why);
}

/* Instead of all others: they may be of the same cause, as with a file that is half written. */
static void set_file_problem(struct address_list_problems *p, int error)
{
	struct text t;
	*p = (struct address_list_problems){0};
	if (!problem_init(&t, p, 0))
		return;
	switch (error) {
	case EAGAIN:
		text_add(&t, "it changed just now or while it was read, and may be half written; write another file "
			     "and rename "
			     "it to this one");
		break;
	case EISDIR:
		text_add(&t, "is a directory, where a file is needed");
		break;
	case ENXIO:
		text_add(&t, "is no regular file");
		break;
	case EFBIG:
		text_printf(&t, "is too large; up to %u MiB are allowed", ADDRESS_LIST_FILE_BYTES_MAX >> 20);
		break;
	case E2BIG:
		text_printf(&t, "has too many entries; a list may have %u in all", ADDRESS_LIST_ENTRIES_MAX);
		break;
	default:
		text_add(&t, strerror(error));
		break;
	}
}

struct reading {
	struct address_list *list;
	struct address_list_problems *problems;
};

static int read_entry(void *context, unsigned line, const char *text, size_t n)
{
	struct reading *r = context;
	struct address_range range;
	const char *why = "the line is too long; an address, a prefix or a range a line is allowed";

	if (n > ADDRESS_LIST_LINE_BYTES_MAX || address_range_parse(&range, text, n, &why) < 0) {
		add_entry_problem(r->problems, line, text, n, why);
		return 0;
	}
	return address_list_add(r->list, &range);
}

int address_list_read(struct address_list *l, const char *path, uint64_t wall_ms, struct address_list_problems *p)
{
	struct reading reading = {.list = l, .problems = p};
	struct scan s = {.entry = read_entry, .context = &reading};
	size_t count_before = l->count;

	*p = (struct address_list_problems){0};
	int r = scan_file(&s, path, wall_ms);
	if (r < 0)
		set_file_problem(p, -r);
	else if (p->count > 0)
		r = -EINVAL;
	if (r < 0)
		l->count = count_before;
	return r;
}

struct search {
	const struct sockaddr *address;
	struct address_list_entry *to;
};

static int find_entry(void *context, unsigned line, const char *text, size_t n)
{
	const struct search *s = context;
	struct address_range range;
	const char *why;
	if (address_range_parse(&range, text, n, &why) < 0 || !address_range_has(&range, s->address))
		return 0;
	memcpy(s->to->text, text, n); /* no longer than ADDRESS_RANGE_TEXT_MAX: it could be parsed */
	s->to->text[n] = '\0';
	s->to->line = line;
	return 1;
}

int address_list_find(const char *path, const struct sockaddr *address, struct address_list_entry *to)
{
	struct search search = {.address = address, .to = to};
	struct scan s = {.entry = find_entry, .context = &search};
	return scan_file(&s, path, 0);
}
