/* SPDX-License-Identifier: MIT */
/* List files of addresses: whatever is taken is found again, in the file and in the set made of it, and the set is what
 * its ranges are one by one. What is refused has problems, all printable. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/address_list.h"
#include "base/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_problems(const struct address_list_problems *p)
{
	must(p->count > 0 && p->count <= ADDRESS_LIST_PROBLEMS_MAX);
	for (unsigned i = 0; i < p->count; i++) {
		const char *text = p->at[i].text;
		size_t n = strnlen(text, sizeof(p->at[i].text));
		must(n > 0 && n < sizeof(p->at[i].text) - 1);
		for (size_t k = 0; k < n; k++)
			must((unsigned char)text[k] >= 0x20 && text[k] != 0x7f);
		must(p->at[i].line > 0 && (i == 0 || p->at[i].line > p->at[i - 1].line));
	}
}

static void check_address(const char *path, const struct prefix_set *set, const struct address_range *ranges,
			  size_t count, int family, const uint8_t *bytes)
{
	union {
		struct sockaddr any;
		struct sockaddr_in in4;
		struct sockaddr_in6 in6;
	} a;
	memset(&a, 0, sizeof(a));
	a.any.sa_family = (sa_family_t)family;
	if (family == AF_INET)
		memcpy(&a.in4.sin_addr, bytes, 4);
	else
		memcpy(&a.in6.sin6_addr, bytes, 16);
	bool mapped = family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a.in6.sin6_addr);
	const uint8_t *seen = mapped ? bytes + 12 : bytes;
	size_t width = mapped || family == AF_INET ? 4 : 16;
	bool expected = false;
	for (size_t i = 0; i < count && !expected; i++)
		expected = ranges[i].family == (width == 4 ? AF_INET : AF_INET6) &&
			   memcmp(ranges[i].first, seen, width) <= 0 && memcmp(seen, ranges[i].last, width) <= 0;
	must(prefix_set_has(set, &a.any) == expected);

	struct address_list_entry entry;
	struct address_range found;
	const char *why;
	must(address_list_find(path, &a.any, &entry) == expected);
	if (expected) {
		must(entry.line > 0);
		must(address_range_parse(&found, entry.text, strlen(entry.text), &why) == 0);
		must(address_range_has(&found, &a.any));
	}
}

/* The address itself and its neighbours. */
static void check_around(const char *path, const struct prefix_set *set, const struct address_range *ranges,
			 size_t count, int family, const uint8_t *bytes)
{
	size_t width = family == AF_INET ? 4 : 16;
	for (int by = -1; by <= 1; by++) {
		uint8_t moved[16];
		memcpy(moved, bytes, 16);
		for (size_t i = width; by != 0 && i-- > 0;) {
			moved[i] = (uint8_t)(moved[i] + by);
			if (moved[i] != (by > 0 ? 0 : 0xff))
				break;
		}
		check_address(path, set, ranges, count, family, moved);
	}
}

static void check_list(const char *path, struct address_list *l)
{
	size_t count = l->count;
	struct address_range *spent = calloc(count + 1, sizeof(*spent));
	must(spent != NULL);
	if (count > 0)
		memcpy(spent, l->ranges, count * sizeof(*spent));
	struct prefix_set *set = prefix_set_create(spent, count);
	must(set != NULL && prefix_set_count(set) <= count);
	for (size_t i = 0; i < count && i < 8; i++) {
		const struct address_range *r = &l->ranges[i];
		must(memcmp(r->first, r->last, 16) <= 0);
		check_around(path, set, l->ranges, count, r->family, r->first);
		check_around(path, set, l->ranges, count, r->family, r->last);
	}
	prefix_set_unref(set);
	free(spent);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct address_list_problems problems;
	struct address_list list = {0};
	char path[64];

	int fd = memfd_create("list", MFD_CLOEXEC);
	must(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int r = address_list_read(&list, path, 0, &problems);
	if (r == 0) {
		must(problems.count == 0);
		check_list(path, &list);
	} else {
		must(r == -EINVAL && list.count == 0);
		check_problems(&problems);
	}
	address_list_fini(&list);
	close(fd);
	return 0;
}
