/* SPDX-License-Identifier: MIT */
/* Who may come in, as the lists of a configuration and the files that they name say: `allow`, `deny` and `trusted` of each
 * listener and of the group `door`. Made of a snapshot; a list file that changes is exchanged in it.
 *
 * Thread: main. */
#ifndef FRONT_RULES_H
#define FRONT_RULES_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/role.h"
#include "base/text.h"
#include "config/config.h"
#include "front/list_file.h"
#include "front/visitor.h"

enum rule_list {
	RULE_ALLOW,
	RULE_DENY,
	RULE_TRUSTED,
};
#define RULE_LISTS 3

/* The rules of all scopes. Scope 0 is `door`, scope i + 1 the snapshot's listener i. */
struct rules;

/* Reads what the lists say; list files that `old` (may be NULL) has are not read again, but shared: what changes in them
 * comes by rules_take. What is wrong is added to `errors` ("listeners.db.allow: \"user:nobdy\": there is no such user; ...",
 * "door.deny: /etc/usher/bad.txt: 17: ..."); without memory there may be none. Returns 0, -EINVAL, -ENOMEM; *to is
 * untouched on failure. A reference to `config` is kept. */
int rules_load(struct config *config, const struct rules *old, struct config_errors *errors,
	       struct rules **to) MUST_CHECK MAIN_ONLY;

/* The same with files that were read already, all that rules_add_missing has found: no file is touched. What is wrong with
 * them is said of the entry that names them first. */
int rules_load_read(struct config *config, const struct rules *old, const struct list_reads *read,
		    struct config_errors *errors, struct rules **to) MUST_CHECK MAIN_ONLY;

/* Adds the list files that `config` names and `old` (may be NULL) does not have. Returns 0 or -ENOMEM. */
int rules_add_missing(const struct config *config, const struct rules *old, struct list_reads *to) MUST_CHECK MAIN_ONLY;

/* Returns NULL; accepts NULL. */
struct rules *rules_destroy(struct rules *r) MAIN_ONLY;

/* Whether a list of a scope has something in it at all. A list that has a file has something, whatever is in the file. */
bool rules_has(const struct rules *r, unsigned scope, enum rule_list list);

/* Whether a visitor is on a list of a scope. */
bool rules_match(const struct rules *r, unsigned scope, enum rule_list list, const struct visitor *v) MAIN_ONLY;

/* Whether a UNIX peer may be on a list of a scope though rules_match says no: an entry asks for what the kernel does not
 * tell of it. Who connects decides on that (it may end before it is asked about), so nobody gets past a deny by it. */
bool rules_may_match(const struct rules *r, unsigned scope, enum rule_list list, const struct visitor *v) MAIN_ONLY;

/* Whether any rule of a scope (or of `door`) asks for a UNIX peer's unit: only then is it worth finding out. */
bool rules_want_unit(const struct rules *r, unsigned scope);

/* Whether any rule at all does. */
bool rules_ask_units(const struct rules *r);

/* For an explanation: which entry it is that has the visitor on the list. `place` is the entry's in the configuration;
 * `line` that of a list file, which is read anew for it: 0 when the file has changed, and the address is not in it any
 * more. Text is valid until the next call. False: none. */
struct rule_found {
	const char *entry; /* "10.0.0.0/8", "file:/etc/usher/deny.txt" */
	struct config_place place;
	const char *file; /* NULL: it is no list file */
	unsigned line;
	const char *file_entry; /* "" when line is 0; NULL without a file */
};
bool rules_find(const struct rules *r, unsigned scope, enum rule_list list, const struct visitor *v,
		struct rule_found *to) MAIN_ONLY;

/* The list files: each once, however often it is named. */
unsigned rules_file_count(const struct rules *r);
const char *rules_file(const struct rules *r, unsigned i);

/* What a file has now. Borrowed until the next rules_take. */
const struct list_content *rules_file_content(const struct rules *r, unsigned i);

/* Adds the lists that name a file: "door.deny, listeners.db.allow". */
void rules_add_file_users(const struct rules *r, unsigned i, struct text *t);

/* Puts another content of a file into effect, here and in all rules that share it. Takes *content. */
void rules_take(struct rules *r, unsigned i, struct list_content *content) MAIN_ONLY;

#endif
