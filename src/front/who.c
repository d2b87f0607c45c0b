/* SPDX-License-Identifier: MIT */
#include "front/who.h"

#include "base/text.h"

struct who who_source(const struct source_key *key)
{
	return (struct who){.source = *key, .kind = WHO_SOURCE};
}

struct who who_user(uint16_t listener, uid_t uid)
{
	return (struct who){.source.scope = listener, .kind = WHO_USER, .uid = uid};
}

struct who who_unknown(uint16_t listener)
{
	return (struct who){.source.scope = listener, .kind = WHO_UNKNOWN};
}

struct who who_others(uint16_t listener)
{
	return (struct who){.source.scope = listener, .kind = WHO_OTHERS};
}

void who_add_text(struct text *t, const struct who *w)
{
	switch ((enum who_kind)w->kind) {
	case WHO_SOURCE:
		source_key_add_text(t, &w->source);
		break;
	case WHO_USER:
		text_printf(t, "unix uid %u", (unsigned)w->uid);
		break;
	case WHO_UNKNOWN:
		text_add(t, "unix");
		break;
	case WHO_OTHERS:
		text_add(t, "other sources");
		break;
	}
}
