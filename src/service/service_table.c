/* SPDX-License-Identifier: MIT */
/* All services. A new one is a file and a line here. */
#include "base/attr.h"
#include "service/service.h"

extern const struct service service_chargen;
extern const struct service service_daytime;
extern const struct service service_discard;
extern const struct service service_echo;
extern const struct service service_proxy;

const struct service *const services[] = {
	&service_echo, &service_discard, &service_daytime, &service_chargen, &service_proxy, NULL,
};

const struct config_services *service_groups(void)
{
	static const struct option_group *groups[ARRAY_LEN(services) - 1];
	static struct config_services all = {.groups = groups};
	/* filled by the first caller, main, before there are threads; only read after that */
	while (all.count < ARRAY_LEN(groups)) {
		groups[all.count] = services[all.count]->group;
		all.count++;
	}
	return &all;
}
