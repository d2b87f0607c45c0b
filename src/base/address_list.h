/* SPDX-License-Identifier: MIT */
/* Lists of addresses, and the files that they are read from: an address, a prefix or a range a line
 * (address_range_parse), "#" and what comes after it on a line is a comment, blanks around and empty lines do not matter.
 * Thread: any. Reading a file takes as long as the disk does: never a worker's thread. */
#ifndef BASE_ADDRESS_LIST_H
#define BASE_ADDRESS_LIST_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/attr.h"
#include "base/prefix_set.h"

/* How much there may be at the most. */
#define ADDRESS_LIST_ENTRIES_MAX 2000000
#define ADDRESS_LIST_FILE_BYTES_MAX (64u << 20)
#define ADDRESS_LIST_LINE_BYTES_MAX 256 /* without its comment */
#define ADDRESS_LIST_PROBLEMS_MAX 5

/* For how long a file must not have changed to be taken up while its writer may be at work still; and one that looks as
 * if it had been cut off: its last line has no end, or it has no entry. */
#define ADDRESS_LIST_REST_MS 200
#define ADDRESS_LIST_CUT_OFF_REST_MS 2000

/* All zeros is an empty one. */
struct address_list {
	struct address_range *ranges; /* owned; for prefix_set_create, after which the list is only good for its end */
	size_t count;
	size_t room;
};

/* What is wrong with a file, "WHAT; what is allowed", with strange bytes escaped. */
struct address_list_problem {
	unsigned line; /* 0: it is not about one line */
	char text[320];
};

struct address_list_problems {
	struct address_list_problem at[ADDRESS_LIST_PROBLEMS_MAX];
	unsigned count;
	unsigned more; /* that were not kept */
};

/* Returns 0, -ENOMEM, or -E2BIG: it has ADDRESS_LIST_ENTRIES_MAX. */
int address_list_add(struct address_list *l, const struct address_range *r) MUST_CHECK;

/* Adds what the file at `path` has: all of it, or nothing on failure.
 *
 * A file that is half written looks like one that is whole. What is done about it: one that changes while it is read is
 * never taken; and with `wall_ms` (now, milliseconds of CLOCK_REALTIME) one is not that changed less than
 * ADDRESS_LIST_REST_MS before (ADDRESS_LIST_CUT_OFF_REST_MS if it looks cut off). `wall_ms` 0: whenever it changed, for a
 * start that cannot wait. When that clock stands before the file's time the file is taken. A file that is put into
 * place by rename is never half written.
 *
 * Returns 0; or, with at least one problem in `p`:
 * -EAGAIN: it may be half written; it is worth another try later, also when it does not change again;
 * -EINVAL: lines are wrong; -EISDIR, -ENXIO (neither file nor folder), -EFBIG, -E2BIG (entries), -ENOMEM, and what
 * open(2) and read(2) fail with. */
int address_list_read(struct address_list *l, const char *path, uint64_t wall_ms,
		      struct address_list_problems *p) MUST_CHECK;

/* Gives back its memory; it is empty then. */
void address_list_fini(struct address_list *l);

/* An entry of a file. */
struct address_list_entry {
	unsigned line;
	char text[ADDRESS_RANGE_TEXT_MAX + 1]; /* as it stands there */
};

/* Looks in the file for the first entry that has an address. It is read anew: it may be another one than was taken up,
 * and lines that are wrong are passed over.
 * Returns 1 with *to; 0: there is none; or the errors of address_list_read, -EINVAL and -E2BIG excepted. */
int address_list_find(const char *path, const struct sockaddr *address, struct address_list_entry *to) MUST_CHECK;

#endif
