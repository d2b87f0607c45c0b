/* SPDX-License-Identifier: MIT */
/* Addresses: whatever reads as one has a text that reads as the same one, and no text holds a control character. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/must.h"
#include "base/netaddr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_printable(const struct text *t)
{
	must(!t->cut);
	must(strlen(t->at) == t->length);
	for (size_t i = 0; i < t->length; i++) {
		unsigned char c = (unsigned char)t->at[i];
		must(c >= 0x20 && c != 0x7f);
		/* C1 controls in UTF-8 */
		must(!(c == 0xc2 && (unsigned char)t->at[i + 1] < 0xa0));
	}
}

static void check_ip(const char *input, size_t n)
{
	struct netaddr a;
	struct netaddr again;
	char memory[NETADDR_TEXT_BYTES];
	struct text t;

	if (netaddr_parse_ip(&a, input, n, 443) < 0)
		return;
	text_init(&t, memory, sizeof(memory));
	netaddr_add_text(&t, &a);
	check_printable(&t);
	/* "[ip]:443" or "ip:443" */
	bool six = a.u.any.sa_family == AF_INET6;
	size_t around = strlen(six ? "[]:443" : ":443");
	must(t.length > around);
	must(netaddr_parse_ip(&again, t.at + (six ? 1 : 0), t.length - around, 443) == 0);
	must(netaddr_equal(&a, &again));

	struct netaddr canonical = a;
	netaddr_canonicalise(&canonical);
	must(netaddr_equal(&a, &canonical));
	struct peer_addr peer;
	char peer_memory[NETADDR_TEXT_BYTES];
	peer_addr_from(&peer, &a);
	struct text peer_text;
	text_init(&peer_text, peer_memory, sizeof(peer_memory));
	peer_addr_add_text(&peer_text, &peer);
	must(strcmp(peer_text.at, t.at) == 0);
}

static void check_unix_text(const struct netaddr *a)
{
	struct netaddr again;
	char memory[NETADDR_TEXT_BYTES];
	struct text t;
	const size_t prefix = strlen("unix:");

	text_init(&t, memory, sizeof(memory));
	netaddr_add_text(&t, a);
	check_printable(&t);
	must(t.length >= prefix);
	/* a path's text is for people; an abstract name's is read back */
	if (t.at[prefix] == '@' && t.length > prefix + 1) {
		must(netaddr_parse_unix(&again, t.at + prefix, t.length - prefix) == 0);
		must(again.length == a->length);
		must(netaddr_equal(a, &again));
	}
}

static void check_unix(const char *input, size_t n)
{
	struct netaddr a;
	if (netaddr_parse_unix(&a, input, n) == 0)
		check_unix_text(&a);

	/* the same bytes as the kernel might hand them out */
	struct sockaddr_un local = {.sun_family = AF_UNIX};
	size_t used = n < sizeof(local.sun_path) ? n : sizeof(local.sun_path);
	memcpy(local.sun_path, input, used);
	netaddr_from_kernel(&a, (struct sockaddr *)&local, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + used));
	check_unix_text(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *input = (const char *)data;
	char memory[64];
	struct text t;

	check_ip(input, size);
	check_unix(input, size);
	text_init(&t, memory, sizeof(memory));
	text_add_escaped(&t, input, size);
	t.cut = false;
	check_printable(&t);
	return 0;
}
