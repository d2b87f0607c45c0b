/* SPDX-License-Identifier: MIT */
#include "daemon/report.h"

#include <unistd.h>

#include "report/log.h"
#include "service/service.h"

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

void report_next_step(const struct config *config, const char *path)
{
	for (unsigned i = 0; i < config->listener_count; i++)
		if (!services[config->listeners[i].service]->is_trial)
			return;
	log_write(LOG_LEVEL_NOTICE, LOG_GENERAL,
		  "nothing is served yet but what shows that usherd works. Next: put a listener into %s, for which "
		  "usherd.conf(5) has examples, try it with usherd --check, and systemctl reload usherd puts it into "
		  "effect",
		  path);
}

void report_hidden_units(const struct rules *rules)
{
	/* process 1 is another user's, and always there */
	if (!rules_ask_units(rules) || access("/proc/1/cgroup", R_OK) == 0)
		return;
	log_write(LOG_LEVEL_WARNING, LOG_GENERAL,
		  "a rule with \"unit:\" has no client in it: /proc hides the units of other users' processes. "
		  "ProtectProc=default in a drop-in shows them; see usherd(8)");
}
