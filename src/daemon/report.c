/* SPDX-License-Identifier: MIT */
#include "daemon/report.h"

#include "report/log.h"

void report_config_errors(const struct config_errors *errors)
{
	unsigned i;
	for (i = 0; config_errors_line(errors, i); i++)
		log_write(LOG_LEVEL_ERROR, LOG_CONFIG_ERROR, "%s", config_errors_line(errors, i));
	if (config_errors_count(errors) > i)
		log_write(LOG_LEVEL_ERROR, LOG_CONFIG_ERROR, "... and %u more errors", config_errors_count(errors) - i);
}

static void say(const struct listening *l, const struct listener_config *config, enum log_kind kind, const char *what)
{
	struct log_record r;
	log_begin(&r, LOG_LEVEL_NOTICE, kind);
	log_field(&r, "USHER_LISTENER", "%s", config->name);
	log_field(&r, "USHER_ADDRESS", "%s", l->address);
	log_submit(&r, "%s %s (%s%s)", what, l->address, config->name, l->passed ? ", passed by systemd" : "");
}

void report_listening(const struct listener_set *set, const struct listener_set *old)
{
	for (unsigned i = 0; i < set->count; i++)
		if (!old || !set->at[i].kept)
			say(set->at[i].socket, set->at[i].config, LOG_LISTENING, "listening on");
}

void report_no_longer_listening(const struct listener_set *old)
{
	for (unsigned i = 0; i < old->count; i++)
		if (old->at[i].socket)
			say(old->at[i].socket, old->at[i].config, LOG_UNLISTENING, "no longer listening on");
}
