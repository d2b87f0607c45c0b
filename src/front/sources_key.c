/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/text.h"
#include "front/sources.h"

#define MAPPED_BYTES 12

static unsigned address_bits(bool is_ipv6)
{
	return is_ipv6 ? 128 : 32;
}

/* Clears what is behind the prefix. Returns whether there was anything. */
static bool clear_rest(uint8_t *address, unsigned bits)
{
	unsigned cleared = 0;
	for (unsigned i = bits / 8; i < 16; i++) {
		uint8_t keeps = i == bits / 8 ? (uint8_t) ~(0xffU >> bits % 8) : 0;
		cleared |= address[i] & (uint8_t)~keeps;
		address[i] &= keeps;
	}
	return cleared != 0;
}

static unsigned within(unsigned bits, unsigned most)
{
	return bits < 1 ? 1 : bits > most ? most : bits;
}

bool source_key_of(struct source_key *to, const struct sockaddr *peer, const struct source_prefixes *p, uint16_t scope)
{
	struct source_key key = {.scope = scope};
	if (peer->sa_family == AF_INET) {
		memcpy(key.address, &((const struct sockaddr_in *)(const void *)peer)->sin_addr, 4);
	} else if (peer->sa_family == AF_INET6) {
		const struct in6_addr *six = &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr;
		key.is_ipv6 = !IN6_IS_ADDR_V4MAPPED(six);
		if (key.is_ipv6)
			memcpy(key.address, six, 16);
		else
			memcpy(key.address, six->s6_addr + MAPPED_BYTES, 4);
	} else {
		return false;
	}
	key.bits = (uint8_t)within(key.is_ipv6 ? p->ipv6 : p->ipv4, address_bits(key.is_ipv6));
	clear_rest(key.address, key.bits);
	*to = key;
	return true;
}

struct source_key source_key_of_user(uid_t uid, uint16_t scope)
{
	struct source_key key = {.scope = scope};
	memcpy(key.address, &uid, sizeof(uid));
	return key;
}

static void add_user(struct text *t, const struct source_key *key)
{
	uid_t uid;
	memcpy(&uid, key->address, sizeof(uid));
	text_add(t, "unix");
	if (uid != SOURCE_NO_USER)
		text_printf(t, " uid %u", (unsigned)uid);
}

void source_key_add_text(struct text *t, const struct source_key *key)
{
	char address[INET6_ADDRSTRLEN];
	if (source_key_is_user(key)) {
		add_user(t, key);
		return;
	}
	if (!inet_ntop(key->is_ipv6 ? AF_INET6 : AF_INET, key->address, address, sizeof(address)))
		return;
	text_add(t, address);
	if (key->bits != address_bits(key->is_ipv6))
		text_printf(t, "/%u", key->bits);
}

/* Reads 1 to `most` without leading zeros. Returns it or -EINVAL. */
static int parse_bits(const char *text, size_t n, unsigned most)
{
	unsigned bits = 0;
	if (n == 0 || n > 3 || text[0] == '0')
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		bits = bits * 10 + (unsigned)(text[i] - '0');
	}
	return bits <= most ? (int)bits : -EINVAL;
}

int source_key_parse(struct source_key *to, const char *text, size_t n, uint16_t scope)
{
	struct source_key key = {.scope = scope};
	char address[INET6_ADDRSTRLEN];
	const char *slash = memchr(text, '/', n);
	size_t address_n = slash ? (size_t)(slash - text) : n;

	if (address_n == 0 || address_n >= sizeof(address) || memchr(text, '\0', address_n))
		return -EINVAL;
	memcpy(address, text, address_n);
	address[address_n] = '\0';
	if (inet_pton(AF_INET, address, key.address) != 1) {
		struct in6_addr six;
		if (inet_pton(AF_INET6, address, &six) != 1 || IN6_IS_ADDR_V4MAPPED(&six))
			return -EINVAL;
		key.is_ipv6 = 1;
		memcpy(key.address, &six, sizeof(six));
	}
	int bits = (int)address_bits(key.is_ipv6);
	if (slash)
		bits = parse_bits(slash + 1, n - address_n - 1, (unsigned)bits);
	if (bits < 0)
		return bits;
	key.bits = (uint8_t)bits;
	if (clear_rest(key.address, key.bits))
		return -EINVAL;
	*to = key;
	return 0;
}
