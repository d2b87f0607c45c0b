/* SPDX-License-Identifier: MIT */
#include "front/rules_snapshot.h"

#include <stdlib.h>

#include "base/must.h"
#include "front/rules_priv.h"

struct rules_snapshot {
	struct rule_scopes *scopes; /* ref */
	struct list_file *contents; /* owned; the sets in them are refs */
	struct list_file **files;   /* owned: to `contents`, as rule_list_has takes them */
	unsigned file_count;
};

struct rules_snapshot *rules_snapshot_create(const struct rules *r)
{
	struct rules_snapshot *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->scopes = rule_scopes_ref(r->scopes);
	s->contents = calloc(r->file_count + 1, sizeof(*s->contents));
	s->files = calloc(r->file_count + 1, sizeof(struct list_file *));
	if (!s->contents || !s->files)
		return rules_snapshot_destroy(s);
	for (; s->file_count < r->file_count; s->file_count++) {
		struct list_file *f = &s->contents[s->file_count];
		f->content.set = prefix_set_ref(r->files[s->file_count]->content.set);
		s->files[s->file_count] = f;
	}
	return s;
}

struct rules_snapshot *rules_snapshot_destroy(struct rules_snapshot *s)
{
	if (!s)
		return NULL;
	for (unsigned i = 0; i < s->file_count; i++)
		prefix_set_unref(s->contents[i].content.set);
	free(s->contents);
	free(s->files);
	rule_scopes_unref(s->scopes);
	free(s);
	return NULL;
}

const struct config *rules_snapshot_config(const struct rules_snapshot *s)
{
	return s->scopes->config;
}

static bool is_on(const struct rules_snapshot *s, unsigned scope, enum rule_list which, const struct visitor *v)
{
	return rule_list_has(&s->scopes->at[scope].lists[which], s->files, v);
}

bool rules_snapshot_refuses(const struct rules_snapshot *s, unsigned scope, const struct visitor *v)
{
	must(scope < s->scopes->count);
	bool has_allow = s->scopes->at[scope].lists[RULE_ALLOW].from->count > 0;
	return is_on(s, scope, RULE_DENY, v) || (has_allow && !is_on(s, scope, RULE_ALLOW, v));
}

bool rules_snapshot_wants_unit(const struct rules_snapshot *s, unsigned scope)
{
	must(scope < s->scopes->count);
	return s->scopes->at[0].wants_unit || s->scopes->at[scope].wants_unit;
}
