/* SPDX-License-Identifier: MIT */
#include "front/overload.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "report/log.h"

bool overload_parse_statm(const char *text, uint64_t *pages)
{
	char *end;
	size_t size = strspn(text, "0123456789");
	if (size == 0 || text[size] != ' ' || text[size + 1] < '0' || text[size + 1] > '9')
		return false;
	errno = 0;
	unsigned long long resident = strtoull(text + size + 1, &end, 10);
	if (errno != 0 || *end != ' ')
		return false;
	*pages = resident;
	return true;
}

uint64_t overload_room(uint64_t value, uint64_t limit, uint64_t span, uint64_t room)
{
	if (limit == 0 || value < limit)
		return UINT64_MAX;
	uint64_t above = value - limit;
	return above >= span ? 0 : ((span - above) * room + span - 1) / span;
}

/* Returns 0 or -errno. */
MAIN_ONLY static int read_held(struct overload *o)
{
	char text[128];
	uint64_t pages;
	/* a file of /proc is made anew when it is read from its beginning */
	ssize_t n = pread(o->statm_fd, text, sizeof(text) - 1, 0);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	if (!overload_parse_statm(text, &pages))
		return -EINVAL;
	o->held_bytes = pages * (uint64_t)sysconf(_SC_PAGESIZE);
	return 0;
}

MAIN_ONLY static int look(struct overload *o, uint64_t now_ms)
{
	int failed = read_held(o);
	if (failed || o->held_bytes < o->limit_bytes || now_ms < o->trim_ms)
		return failed;
	malloc_trim(0);
	o->trim_ms = now_ms + OVERLOAD_TRIM_MS;
	return read_held(o);
}

MAIN_ONLY static void look_again(struct overload *o, uint64_t now_ms)
{
	if (o->statm_fd < 0)
		o->statm_fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	int failed = o->statm_fd < 0 ? -errno : look(o, now_ms);
	if (failed) {
		o->held_bytes = 0;
		if (!o->said)
			log_write_errno(LOG_LEVEL_WARNING, LOG_OVERLOAD, failed,
					"read /proc/self/statm: %s: door.overload.memory does not count",
					strerror(-failed));
	}
	o->said = failed != 0;
	timer_start(o->timers, &o->look, now_ms + OVERLOAD_LOOK_MS);
}

MAIN_ONLY static void look_due(struct timer *t, uint64_t now_ms)
{
	look_again(CONTAINER_OF(t, struct overload, look), now_ms);
}

void overload_init(struct overload *o, struct timer_wheel *timers)
{
	*o = (struct overload){.timers = timers, .statm_fd = -1};
	timer_init(&o->look, look_due);
}

void overload_fini(struct overload *o)
{
	timer_stop(&o->look);
	fd_close(&o->statm_fd);
}

void overload_set_limit(struct overload *o, uint64_t limit_bytes, uint64_t now_ms)
{
	o->limit_bytes = limit_bytes;
	if (limit_bytes > 0) {
		look_again(o, now_ms);
		return;
	}
	overload_fini(o);
}

bool overload_is_over(const struct overload *o)
{
	return o->limit_bytes > 0 && o->held_bytes >= o->limit_bytes;
}
