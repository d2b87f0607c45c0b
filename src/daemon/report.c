/* SPDX-License-Identifier: MIT */
#include "daemon/report.h"

#include "report/log.h"

void report_config_errors(const struct config_errors *errors)
{
	unsigned i;
	for (i = 0; config_errors_line(errors, i); i++) {
		struct config_place place = config_errors_place(errors, i);
		struct log_record r;
		log_begin(&r, LOG_LEVEL_ERROR, LOG_CONFIG_ERROR);
		if (place.file)
			log_field(&r, "CONFIG_FILE", "%s", place.file);
		if (place.file && place.line)
			log_field(&r, "CONFIG_LINE", "%u", place.line);
		log_submit(&r, "%s", config_errors_line(errors, i));
	}
	if (config_errors_count(errors) > i)
		log_write(LOG_LEVEL_ERROR, LOG_CONFIG_ERROR, "... and %u more errors", config_errors_count(errors) - i);
}

static void say(const struct listening *l, const struct listener_config *config, enum log_kind kind, const char *what)
{
	struct log_record r;
	listening_log_begin(&r, l, config, LOG_LEVEL_NOTICE, kind, 0);
	const char *whose = l->passed ? ", passed by systemd" : l->inherited ? ", kept from before the start" : "";
	log_submit(&r, "%s %s (%s%s)", what, l->address, config->name, whose);
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
