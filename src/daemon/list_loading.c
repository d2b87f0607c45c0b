/* SPDX-License-Identifier: MIT */
#include "daemon/list_loading.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "base/clock.h"

/* How often one that may be half written is read again. */
#define AGAIN_MS 100

struct list_loading {
	struct list_reads *files; /* shared with the thread, which owns it too */
	struct aside *aside;	  /* owned */
};

static void read_one(struct aside *a, struct list_read *r)
{
	uint64_t until_ms = clock_now_ms() + LIST_LOADING_REST_MS;
	for (;;) {
		aside_touch(a, r->path);
		r->failed = list_file_read(r->path, clock_wall_ms(), &r->content, &r->problems);
		aside_touch(a, NULL);
		if (r->failed != -EAGAIN || clock_now_ms() >= until_ms || aside_is_left(a))
			return;
		(void)poll(NULL, 0, AGAIN_MS);
	}
}

static void run(struct aside *a, void *arg)
{
	struct list_reads *files = arg;
	for (unsigned i = 0; i < files->count && !aside_is_left(a); i++)
		read_one(a, &files->at[i]);
}

static void release(void *arg)
{
	list_reads_fini(arg);
	free(arg);
}

static const struct aside_work work = {.name = "usherd-lists", .run = run, .release = release};

int list_loading_start(struct list_loading **to, struct list_reads *files, struct poller *poller, struct watch *told)
{
	struct list_loading *l = calloc(1, sizeof(*l));
	struct list_reads *taken = malloc(sizeof(*taken));
	if (!l || !taken) {
		list_reads_fini(files);
		free(taken);
		free(l);
		return -ENOMEM;
	}
	*taken = *files;
	*files = (struct list_reads){0};
	int failed = aside_start(&l->aside, &work, taken, poller, told);
	if (failed) {
		release(taken);
		free(l);
		return failed;
	}
	l->files = taken;
	*to = l;
	return 0;
}

const struct list_reads *list_loading_result(const struct list_loading *l)
{
	return aside_is_over(l->aside) ? l->files : NULL;
}

struct aside *list_loading_aside(struct list_loading *l)
{
	return l->aside;
}

struct list_loading *list_loading_end(struct list_loading *l)
{
	if (!l)
		return NULL;
	aside_end(l->aside);
	free(l);
	return NULL;
}
