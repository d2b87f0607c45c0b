/* SPDX-License-Identifier: MIT */
/* The options of TLS: a listener's, and those that services share for their upstreams. */
#include <stddef.h>
#include <string.h>

#include "base/netaddr.h"
#include "config/schema_priv.h"

#define CERTIFICATES_MAX 1000
#define FILES_MAX 64
#define ALPN_MAX 32
#define ALPN_NAME_MAX 255
#define ALLOW_MAX 1000

/* Mozilla's "intermediate" recommendation. */
#define CIPHERS                                                                                                        \
	"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"                     \
	"ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"                       \
	"DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:DHE-RSA-CHACHA20-POLY1305"
#define CIPHERSUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

static void check_alpn(const struct option_list *alpn, const char *path, struct config_errors *errors)
{
	for (unsigned i = 0; i < alpn->count; i++) {
		if (strlen(alpn->at[i]) > ALPN_NAME_MAX)
			schema_wrong(errors, alpn->places[i], path, "alpn",
				     "\"%.60s...\" is too long; a protocol's name has 1 to %d bytes", alpn->at[i],
				     ALPN_NAME_MAX);
	}
}

static const struct option_row client_options[] = {
	{
		.name = "ca",
		.type = OPTION_LIST,
		.offset = offsetof(struct tls_client_config, ca),
		.minimum = 1,
		.maximum = FILES_MAX,
		.fallback = "!",
		.change = CHANGE_RELOAD,
		.help = "PEM files with the certificates of the authorities whose clients may come in; a file may hold "
			"several. Name only those that sign for your own clients: whoever has a certificate of one of "
			"them is let in, unless allow says less.",
	},
	{
		.name = "verify",
		.type = OPTION_CHOICE,
		.offset = offsetof(struct tls_client_config, verify),
		.choices = "required|optional",
		.fallback = "required",
		.change = CHANGE_RELOAD,
		.help = "Whether a client must show a certificate. With \"optional\" one that shows none comes in too, "
			"whatever allow says, and only one that shows a bad one is refused; choose it while clients "
			"are being given their certificates.",
	},
	{
		.name = "crl",
		.type = OPTION_LIST,
		.offset = offsetof(struct tls_client_config, crl),
		.maximum = FILES_MAX,
		.change = CHANGE_RELOAD,
		.help = "Files with the authorities' lists of revoked certificates, PEM or DER. When it is given, the "
			"list of the authority that signed a client's certificate must be among them and not be out of "
			"date, else the client is refused. When it is empty nothing counts as revoked; set it when "
			"your "
			"authority publishes such lists.",
	},
	{
		.name = "allow",
		.type = OPTION_LIST,
		.offset = offsetof(struct tls_client_config, allow),
		.maximum = ALLOW_MAX,
		.change = CHANGE_RELOAD,
		.help = "Who may come in of those that the authorities have signed; one match lets in. When it is "
			"empty, all may. \"cn:backup-*\" is a pattern for the common name, \"ou:Operations\" for the "
			"organizational unit, \"dns:*.db.example\" and \"uri:spiffe://example/ns/prod/*\" for the "
			"alternative names of these kinds. \"pin:sha256:HEX\", 64 hexadecimal digits, is one public "
			"key by its SHA-256, \"pin:sha256/BASE64\" the same in base64. A \"*\" stands for any "
			"characters, but not for the dot in dns and not for the slash in uri; \"**\" stands for these "
			"too. Names of hosts are compared without regard to case. Set it when the authority also signs "
			"for others than those this listener is for.",
	},
};

static const struct option_group client_group = {
	.name = "client",
	.help = "Who may come in by certificate. Without this group clients are not asked for one. The files are "
		"watched: what changes in them counts for new connections within 2 seconds, without a reload. A "
		"session is resumed only under the authorities and lists that it was made under.",
	OPTIONS(client_options),
};

static void check_tls(void *values, const char *path, struct config_place place, struct config_errors *errors)
{
	struct tls_config *tls = values;

	tls->place = place;
	if (tls->key.count > 0 && tls->key.count != tls->certificate.count)
		schema_wrong(
			errors, tls->key.places[0], path, "key",
			"%u for %u of certificate; name one key a certificate, in the same order, or none when each "
			"certificate's file holds its key",
			tls->key.count, tls->certificate.count);
	if (tls->ticket_rotation_ms > 0 && tls->ticket_rotation_ms < SECOND)
		schema_wrong(errors, place, path, "ticket_rotation", "is less than 1s; \"0s\" switches resumption off");
	check_alpn(&tls->alpn, path, errors);
}

static const struct option_row tls_options[] = {
	{
		.name = "certificate",
		.type = OPTION_LIST,
		.offset = offsetof(struct tls_config, certificate),
		.minimum = 1,
		.maximum = CERTIFICATES_MAX,
		.fallback = "!",
		.change = CHANGE_RELOAD,
		.help = "PEM files, each with one certificate, the chain behind it, and its key unless key is given. "
			"\"credential:NAME\" is the file of this name that systemd passes with LoadCredential=. "
			"Which one a client gets is chosen by the name that it asks for: one that holds this very "
			"name, else one with a wildcard for it, else the first of the list. For one name an RSA and an "
			"ECDSA certificate may stand side by side; the client gets the one that it understands. The "
			"files are watched: a renewed one counts for new connections within 2 seconds, without a "
			"reload, and one that is broken is logged while the old one stays.",
	},
	{
		.name = "key",
		.type = OPTION_LIST,
		.offset = offsetof(struct tls_config, key),
		.maximum = CERTIFICATES_MAX,
		.change = CHANGE_RELOAD,
		.help = "PEM files with the private keys, one for each certificate and in the same order, without a "
			"passphrase; \"credential:NAME\" too. A key that everybody can read is refused. When it is "
			"empty each certificate's file holds its key. Set it when certificates and keys are files of "
			"their own, as certbot's fullchain.pem and privkey.pem are.",
	},
	{
		.name = "minimum_version",
		.type = OPTION_CHOICE,
		.offset = offsetof(struct tls_config, minimum_version),
		.choices = "1.2|1.3",
		.fallback = "1.2",
		.change = CHANGE_RELOAD,
		.help = "The oldest version of TLS that is spoken; the newest is 1.3. Choose \"1.3\" when all clients "
			"are newer than about 2018. There is nothing older than 1.2.",
	},
	{
		.name = "ciphers",
		.type = OPTION_STRING,
		.offset = offsetof(struct tls_config, ciphers),
		.fallback = CIPHERS,
		.change = CHANGE_RELOAD,
		.help = "The ciphers of TLS 1.2, as openssl-ciphers(1) writes them. The default is what Mozilla "
			"recommends for all but the oldest clients; change it when a "
			"policy names others.",
	},
	{
		.name = "ciphersuites",
		.type = OPTION_STRING,
		.offset = offsetof(struct tls_config, ciphersuites),
		.fallback = CIPHERSUITES,
		.change = CHANGE_RELOAD,
		.help = "The ciphers of TLS 1.3, by their names with colons between them. All of them are good; change "
			"it when a policy names fewer.",
	},
	{
		.name = "groups",
		.type = OPTION_STRING,
		.offset = offsetof(struct tls_config, groups),
		.fallback = "X25519:P-256:P-384",
		.change = CHANGE_RELOAD,
		.help = "The groups that keys are exchanged in, best first, with colons between them. What DHE ciphers "
			"of TLS 1.2 need comes by itself. Change it when a policy names others.",
	},
	{
		.name = "alpn",
		.type = OPTION_LIST,
		.offset = offsetof(struct tls_config, alpn),
		.maximum = ALPN_MAX,
		.change = CHANGE_RELOAD,
		.help = "The protocols that the service behind speaks, best first, for clients that name theirs "
			"(ALPN): \"h2\", \"http/1.1\". A client that names protocols and none of these is refused with "
			"the alert no_application_protocol; one that names none is served. When it is empty, what "
			"clients name is not answered. Set it for what needs an answer, such as HTTP/2.",
	},
	{
		.name = "ticket_rotation",
		.type = OPTION_DURATION,
		.offset = offsetof(struct tls_config, ticket_rotation_ms),
		.minimum = 0,
		.maximum = 7 * DAY,
		.fallback = "6h",
		.change = CHANGE_RELOAD,
		.help = "How often usherd makes a new key for session tickets, with which clients resume a session "
			"without a full handshake; at least \"1s\". Tickets of the two keys before it are taken too, "
			"so "
			"a session can be resumed for about twice this long. The keys are kept over reloads and "
			"never leave memory. Whoever gets at one can read recorded sessions of TLS 1.2 whose tickets "
			"it "
			"made: lower it where that counts more than the CPU time of handshakes. \"0s\" "
			"switches resumption off.",
	},
	{
		.name = "client",
		.type = OPTION_GROUP,
		.offset = offsetof(struct tls_config, client),
		.group = &client_group,
		.optional = true,
	},
};

const struct option_group schema_tls = {
	.name = "tls",
	.help = "TLS towards the clients. Without this group the listener takes connections as they come. With it "
		"every connection begins with a handshake, which limits.handshakes and timeouts.handshake bound; the "
		"service gets what is inside and need not know. There is no renegotiation, no compression and no early "
		"data.",
	OPTIONS(tls_options),
	.check = check_tls,
};

static bool is_address(const char *text)
{
	struct netaddr address;

	return netaddr_parse_ip(&address, text, strlen(text), 0) == 0;
}

static void check_names(const struct tls_upstream_config *tls, const char *path, struct config_place place,
			struct config_errors *errors)
{
	const char *why = "";

	if (tls->name && !is_address(tls->name) && endpoint_check_host(tls->name, &why) < 0)
		schema_wrong(errors, place, path, "name", "\"%.120s\": %s; an address may stand here too", tls->name,
			     why);
	if (!tls->sni || !tls->sni[0])
		return;
	if (is_address(tls->sni))
		schema_wrong(errors, place, path, "sni",
			     "\"%.120s\": addresses are never sent; write a host name, or \"\" to send none", tls->sni);
	else if (endpoint_check_host(tls->sni, &why) < 0)
		schema_wrong(errors, place, path, "sni", "\"%.120s\": %s", tls->sni, why);
}

/* Who says what to verify by wants it verified. */
static void check_unverified(const struct tls_upstream_config *tls, const char *path, struct config_place place,
			     struct config_errors *errors)
{
	const char *in_vain = tls->ca.count > 0 ? "ca" : tls->crl.count > 0 ? "crl" : tls->name ? "name" : NULL;

	if (tls->insecure_skip_verify && in_vain)
		schema_wrong(errors, place, path, in_vain,
			     "has no effect with insecure_skip_verify = true, which verifies nothing; leave one of "
			     "them out%s",
			     strcmp(in_vain, "name") == 0 ? ", sni is the name that is sent" : "");
}

static void check_upstream(void *values, const char *path, struct config_place place, struct config_errors *errors)
{
	struct tls_upstream_config *tls = values;

	tls->place = place;
	if (tls->key && !tls->certificate)
		schema_wrong(errors, place, path, "key",
			     "stands without certificate; name the certificate that it belongs to");
	check_names(tls, path, place, errors);
	check_unverified(tls, path, place, errors);
	check_alpn(&tls->alpn, path, errors);
}

void tls_upstream_check_names(const struct tls_upstream_config *tls, const struct endpoint *upstreams, unsigned count,
			      const char *path, struct config_errors *errors)
{
	if (!tls->enabled || tls->name || tls->insecure_skip_verify)
		return;
	for (unsigned i = 0; i < count; i++) {
		char buffer[NETADDR_TEXT_BYTES];
		struct text upstream;
		if (upstreams[i].kind != ENDPOINT_ADDRESS || upstreams[i].address.u.any.sa_family != AF_UNIX)
			continue;
		text_init(&upstream, buffer, sizeof(buffer));
		endpoint_add_text(&upstream, &upstreams[i]);
		schema_wrong(errors, tls->place, path, "tls.name",
			     "missing; %.200s has no host name, so the name that its certificate must have is needed",
			     upstream.at);
		return;
	}
}

static const struct option_row upstream_options[] = {
	{
		.name = "ca",
		.type = OPTION_LIST,
		.offset = offsetof(struct tls_upstream_config, ca),
		.maximum = FILES_MAX,
		.change = CHANGE_RELOAD,
		.help = "PEM files with the certificates of the authorities that the upstream's certificate must come "
			"from. When it is empty, all that the system trusts count; name your own authority for servers "
			"of your own.",
	},
	{
		.name = "crl",
		.type = OPTION_LIST,
		.offset = offsetof(struct tls_upstream_config, crl),
		.maximum = FILES_MAX,
		.change = CHANGE_RELOAD,
		.help = "Files with the authorities' lists of revoked certificates, PEM or DER. When it is given, the "
			"list of the authority that signed the upstream's certificate must be among them and not be "
			"out of date, else the upstream is not used. When it is empty nothing counts as revoked; set "
			"it when "
			"your authority publishes such lists.",
	},
	{
		.name = "name",
		.type = OPTION_STRING,
		.offset = offsetof(struct tls_upstream_config, name),
		.change = CHANGE_RELOAD,
		.help = "The name that the upstream's certificate must have; an address must be among its addresses. "
			"When it is not set, it is the host of the upstream. It counts for all "
			"upstreams. Set it when they are reached by another name than the one in the certificate; a "
			"UNIX socket, which has no name, needs it.",
	},
	{
		.name = "sni",
		.type = OPTION_STRING,
		.offset = offsetof(struct tls_upstream_config, sni),
		.may_be_empty = true,
		.change = CHANGE_RELOAD,
		.help = "The name that the upstream is told, for it to choose its certificate by. When it is not set, "
			"it is name, else the host of the upstream; an address is never told. Set it when the upstream "
			"chooses by another name than the one that is verified. \"\" tells none.",
	},
	{
		.name = "certificate",
		.type = OPTION_STRING,
		.offset = offsetof(struct tls_upstream_config, certificate),
		.change = CHANGE_RELOAD,
		.help = "A PEM file with the certificate that usherd shows to the upstream, the chain behind it, and "
			"its key unless key is given; \"credential:NAME\" is a file that systemd passes with "
			"LoadCredential=. When it is not set none is shown. Set it for upstreams that let in by "
			"certificate.",
	},
	{
		.name = "key",
		.type = OPTION_STRING,
		.offset = offsetof(struct tls_upstream_config, key),
		.change = CHANGE_RELOAD,
		.help = "A PEM file with the private key of certificate, without a passphrase; \"credential:NAME\" "
			"too. A key that everybody can read is refused. When it is not set, the certificate's file "
			"holds it.",
	},
	{
		.name = "minimum_version",
		.type = OPTION_CHOICE,
		.offset = offsetof(struct tls_upstream_config, minimum_version),
		.choices = "1.2|1.3",
		.fallback = "1.2",
		.change = CHANGE_RELOAD,
		.help = "The oldest version of TLS that is spoken; the newest is 1.3. Choose \"1.3\" when all "
			"upstreams "
			"speak it.",
	},
	{
		.name = "alpn",
		.type = OPTION_LIST,
		.offset = offsetof(struct tls_upstream_config, alpn),
		.maximum = ALPN_MAX,
		.change = CHANGE_RELOAD,
		.help = "The protocols that are offered to the upstream (ALPN), best first, when the client's own "
			"connection has agreed on none. When it has, that protocol alone is offered. When it is empty "
			"none is offered. Set it for upstreams that insist on one while clients come without TLS.",
	},
	{
		.name = "insecure_skip_verify",
		.type = OPTION_BOOL,
		.offset = offsetof(struct tls_upstream_config, insecure_skip_verify),
		.fallback = "false",
		.change = CHANGE_RELOAD,
		.help = "true takes any certificate from the upstream, whoever made it and whatever its name: "
			"everybody "
			"on the way can then read and change what goes through. It is logged at every start. It is "
			"for trying things out; for a certificate that is signed by nobody else, name it in ca "
			"instead.",
	},
};

const struct option_group schema_tls_upstream = {
	.name = "tls",
	.help = "TLS towards the upstreams. Without this group they are spoken to as they are. With it the certificate "
		"of each must come from a known authority, be in force, and have the upstream's name. The time for the "
		"handshake is part of timeouts.connect. The files are watched: what changes in them counts for new "
		"connections within 2 seconds, without a reload.",
	OPTIONS(upstream_options),
	.check = check_upstream,
};
