/* SPDX-License-Identifier: MIT */
#include "front/list_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MIX_START UINT64_C(14695981039346656037)

static uint64_t mix_number(uint64_t to, uint64_t number)
{
	to = (to ^ number) * UINT64_C(0x9e3779b97f4a7c15);
	return to ^ to >> 32;
}

uint64_t list_file_state(const char *path)
{
	struct stat at;
	uint64_t state = MIX_START;
	if (stat(path, &at) < 0) {
		state = mix_number(state, (uint64_t)errno);
		return state ? state : 1;
	}
	state = mix_number(state, (uint64_t)at.st_dev);
	state = mix_number(state, (uint64_t)at.st_ino);
	state = mix_number(state, (uint64_t)at.st_size);
	state = mix_number(state, (uint64_t)at.st_mtim.tv_sec);
	state = mix_number(state, (uint64_t)at.st_mtim.tv_nsec);
	state = mix_number(state, (uint64_t)at.st_ctim.tv_sec);
	state = mix_number(state, (uint64_t)at.st_ctim.tv_nsec);
	return state ? state : 1;
}

static uint64_t mix_address(uint64_t to, const uint8_t bytes[16])
{
	uint64_t halves[2];
	memcpy(halves, bytes, sizeof(halves));
	return mix_number(mix_number(to, halves[0]), halves[1]);
}

static uint64_t digest_of(const struct address_list *list)
{
	uint64_t digest = MIX_START;
	for (size_t i = 0; i < list->count; i++) {
		const struct address_range *r = &list->ranges[i];
		digest = mix_number(digest, (uint64_t)r->family);
		digest = mix_address(digest, r->first);
		digest = mix_address(digest, r->last);
	}
	return digest;
}

int list_file_read(const char *path, uint64_t wall_ms, struct list_content *to, struct address_list_problems *problems)
{
	struct address_list list = {0};
	/* before: if it changes from here on, what is read counts as older than it is, and is read once more */
	uint64_t state = list_file_state(path);
	int failed = address_list_read(&list, path, wall_ms, problems);
	if (!failed) {
		struct list_content c = {.entries = list.count, .digest = digest_of(&list), .state = state};
		c.set = prefix_set_create(list.ranges, list.count);
		if (c.set)
			*to = c;
		else
			failed = -ENOMEM;
	}
	address_list_fini(&list);
	return failed;
}

void list_content_fini(struct list_content *c)
{
	prefix_set_unref(c->set);
	*c = (struct list_content){0};
}

int list_reads_add(struct list_reads *r, const char *path)
{
	if (list_reads_find(r, path))
		return 0;
	char *copy = strdup(path);
	struct list_read *more = copy ? reallocarray(r->at, r->count + 1, sizeof(*more)) : NULL;
	if (!more) {
		free(copy);
		return -ENOMEM;
	}
	r->at = more;
	more[r->count++] = (struct list_read){.path = copy, .failed = -EAGAIN};
	return 0;
}

const struct list_read *list_reads_find(const struct list_reads *r, const char *path)
{
	for (unsigned i = 0; i < r->count; i++)
		if (strcmp(r->at[i].path, path) == 0)
			return &r->at[i];
	return NULL;
}

void list_reads_fini(struct list_reads *r)
{
	for (unsigned i = 0; i < r->count; i++) {
		list_content_fini(&r->at[i].content);
		free(r->at[i].path);
	}
	free(r->at);
	*r = (struct list_reads){0};
}

struct list_file *list_file_create(const char *path)
{
	struct list_file *f = calloc(1, sizeof(*f));
	if (!f)
		return NULL;
	f->references = 1;
	f->path = strdup(path);
	return f->path ? f : list_file_unref(f);
}

struct list_file *list_file_ref(struct list_file *f)
{
	f->references++;
	return f;
}

struct list_file *list_file_unref(struct list_file *f)
{
	if (!f || --f->references > 0)
		return NULL;
	list_content_fini(&f->content);
	free(f->path);
	free(f);
	return NULL;
}
