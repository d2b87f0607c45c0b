/* SPDX-License-Identifier: MIT */
#include "config/overlap.h"

#include <stdlib.h>
#include <string.h>

/* One endpoint of all listeners. */
struct claim {
	const struct endpoint *endpoint; /* borrowed from the listener */
	const struct listener_config *listener;
	struct config_place place;
	unsigned order; /* in the file */
	bool reported;
	char interface[IF_NAMESIZE]; /* that it is bound to, the zone of a link-local address included; empty: all */
	char *text;		     /* owned */
};

static bool is_tcp(const struct claim *c)
{
	const struct endpoint *e = c->endpoint;

	return e->kind == ENDPOINT_ANY || (e->kind == ENDPOINT_ADDRESS && e->address.u.any.sa_family != AF_UNIX);
}

/* All addresses of a family, or of both. */
static bool is_wild(const struct claim *c)
{
	const struct netaddr *a = &c->endpoint->address;

	if (c->endpoint->kind == ENDPOINT_ANY)
		return true;
	return a->u.any.sa_family == AF_INET ? a->u.in4.sin_addr.s_addr == htonl(INADDR_ANY)
					     : IN6_IS_ADDR_UNSPECIFIED(&a->u.in6.sin6_addr);
}

/* Orders single addresses, ports and interfaces aside. */
static int compare_addresses(const struct claim *a, const struct claim *b)
{
	const struct netaddr *x = &a->endpoint->address, *y = &b->endpoint->address;

	if (x->u.any.sa_family != y->u.any.sa_family)
		return x->u.any.sa_family < y->u.any.sa_family ? -1 : 1;
	if (x->u.any.sa_family == AF_INET)
		return memcmp(&x->u.in4.sin_addr, &y->u.in4.sin_addr, sizeof(x->u.in4.sin_addr));
	return memcmp(&x->u.in6.sin6_addr, &y->u.in6.sin6_addr, sizeof(x->u.in6.sin6_addr));
}

/* Brings those together that may overlap: of each port first those that claim all addresses, then the same addresses;
 * what is not TCP comes last, by its text. */
static int by_reach(const void *one, const void *other)
{
	const struct claim *a = one, *b = other;
	int order;

	if (is_tcp(a) != is_tcp(b))
		return is_tcp(a) ? -1 : 1;
	if (!is_tcp(a)) {
		order = strcmp(a->text, b->text);
	} else {
		order = netaddr_port(&a->endpoint->address) - netaddr_port(&b->endpoint->address);
		if (order == 0)
			order = is_wild(b) - is_wild(a);
		if (order == 0 && !is_wild(a))
			order = compare_addresses(a, b);
	}
	return order ? order : a->order < b->order ? -1 : 1;
}

/* Whether the kernel would refuse the second of two TCP addresses of the same port. IPv6 sockets take no IPv4. */
static bool overlaps(const struct claim *a, const struct claim *b)
{
	bool any = a->endpoint->kind == ENDPOINT_ANY || b->endpoint->kind == ENDPOINT_ANY;

	if (a->interface[0] && b->interface[0] && strcmp(a->interface, b->interface) != 0)
		return false;
	if (!any && a->endpoint->address.u.any.sa_family != b->endpoint->address.u.any.sa_family)
		return false;
	return is_wild(a) || is_wild(b) || compare_addresses(a, b) == 0;
}

/* The later of the two in the file is blamed. */
static void report(struct option_parse *p, struct claim *a, struct claim *b)
{
	const struct claim *first = a->order < b->order ? a : b;
	struct claim *again = a->order < b->order ? b : a;
	const char *file = first->place.file ? first->place.file : "";

	again->reported = true;
	size_t where = option_parse_enter(p, again->listener->name);
	if (strcmp(a->text, b->text) == 0)
		option_parse_error(p, again->place, "listen",
				   "\"%.120s\" is listened on already by listener %s (%s:%u)", again->text,
				   first->listener->name, file, first->place.line);
	else
		option_parse_error(p, again->place, "listen",
				   "\"%.120s\" overlaps with \"%.120s\" of listeners.%s (%s:%u); an address and port "
				   "can be listened on once",
				   again->text, first->text, first->listener->name, file, first->place.line);
	option_parse_leave(p, where);
}

/* Compares the i-th claim with those before it of its port, which begin at `begin`: with those that claim all
 * addresses, and with those of its own. */
static void check_tcp(struct option_parse *p, struct claim *claims, size_t begin, size_t i)
{
	struct claim *c = &claims[i];

	for (size_t k = begin; k < i && is_wild(&claims[k]) && !c->reported; k++) {
		if (!claims[k].reported && overlaps(&claims[k], c))
			report(p, &claims[k], c);
	}
	for (size_t k = i; k > begin && !is_wild(&claims[k - 1]) && compare_addresses(&claims[k - 1], c) == 0; k--) {
		if (!c->reported && !claims[k - 1].reported && overlaps(&claims[k - 1], c))
			report(p, &claims[k - 1], c);
	}
}

static void check_claims(struct option_parse *p, struct claim *claims, size_t count)
{
	size_t begin = 0;

	qsort(claims, count, sizeof(*claims), by_reach);
	for (size_t i = 1; i < count; i++) {
		if (!is_tcp(&claims[i])) {
			if (strcmp(claims[i - 1].text, claims[i].text) == 0)
				report(p, &claims[i - 1], &claims[i]);
			continue;
		}
		uint16_t port = netaddr_port(&claims[i].endpoint->address);
		if (port != netaddr_port(&claims[begin].endpoint->address))
			begin = i;
		else if (port != 0) /* else the kernel chooses one for each */
			check_tcp(p, claims, begin, i);
	}
}

/* Returns whether there was memory for it. */
static bool claim_init(struct claim *claim, const struct listener_config *listener, unsigned i)
{
	const struct endpoint *e = &listener->endpoints[i];
	char buffer[NETADDR_TEXT_BYTES + IF_NAMESIZE];
	struct text t;

	*claim = (struct claim){.endpoint = e, .listener = listener, .place = listener->listen.places[i]};
	text_init(&t, buffer, sizeof(buffer));
	endpoint_add_text(&t, e);
	claim->text = strdup(t.at);
	if (e->interface[0])
		memcpy(claim->interface, e->interface, sizeof(claim->interface));
	else if (is_tcp(claim) && e->address.u.any.sa_family == AF_INET6 && e->address.u.in6.sin6_scope_id != 0 &&
		 !if_indextoname(e->address.u.in6.sin6_scope_id, claim->interface))
		claim->interface[0] = '\0';
	return claim->text != NULL;
}

void overlap_check(struct option_parse *p, const struct config *c)
{
	struct claim *claims;
	size_t total = 0, count = 0;

	for (unsigned i = 0; i < c->listener_count; i++)
		total += c->listeners[i].listen.count;
	claims = calloc(total ? total : 1, sizeof(*claims));
	if (!claims) {
		p->no_memory = true;
		return;
	}
	for (unsigned i = 0; i < c->listener_count && !p->no_memory; i++) {
		for (unsigned k = 0; k < c->listeners[i].listen.count && !p->no_memory; k++) {
			p->no_memory = !claim_init(&claims[count], &c->listeners[i], k);
			claims[count].order = (unsigned)count;
			count++;
		}
	}
	if (!p->no_memory)
		check_claims(p, claims, count);
	for (size_t i = 0; i < count; i++)
		free(claims[i].text);
	free(claims);
}
