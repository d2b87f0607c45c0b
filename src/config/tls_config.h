/* SPDX-License-Identifier: MIT */
/* The values of the groups `tls` of a listener and `tls` of a service that connects to upstreams. What the names in
 * them mean (certificates, keys, patterns) is read by tls/. */
#ifndef CONFIG_TLS_CONFIG_H
#define CONFIG_TLS_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "config/endpoint.h"
#include "config/errors.h"
#include "config/option.h"

/* In the order of the option minimum_version's choices. */
enum tls_version {
	TLS_VERSION_1_2,
	TLS_VERSION_1_3,
};

/* In the order of tls.client.verify's choices. */
enum tls_verify {
	TLS_VERIFY_REQUIRED,
	TLS_VERIFY_OPTIONAL,
};

/* tls.client: who may come in by certificate. */
struct tls_client_config {
	bool enabled; /* the group is there */
	struct option_list ca;
	int verify; /* enum tls_verify */
	struct option_list crl;
	struct option_list allow; /* empty: every certificate that the CAs have signed */
};

/* A listener's tls. */
struct tls_config {
	bool enabled;		   /* the group is there */
	struct config_place place; /* where it stands */
	struct option_list certificate;
	struct option_list key;	  /* empty: each key is in its certificate's file; else one a certificate */
	int minimum_version;	  /* enum tls_version */
	const char *ciphers;	  /* of TLS 1.2, as OpenSSL writes them */
	const char *ciphersuites; /* of TLS 1.3 */
	const char *groups;
	struct option_list alpn;
	uint64_t ticket_rotation_ms; /* 0: no tickets */
	struct tls_client_config client;
};

/* A service's tls: towards its upstreams. */
struct tls_upstream_config {
	bool enabled;		   /* the group is there */
	struct config_place place; /* where it stands */
	struct option_list ca;	   /* empty: the system's */
	struct option_list crl;
	const char *name;	 /* that the certificate must have; NULL: the upstream's */
	const char *sni;	 /* NULL: `name`, or the upstream's; "": none is sent */
	const char *certificate; /* of our own; NULL: none */
	const char *key;	 /* NULL: in the certificate's file */
	int minimum_version;	 /* enum tls_version */
	struct option_list alpn; /* offered when the client's connection has none */
	bool insecure_skip_verify;
};

/* The table of struct tls_upstream_config, for the groups of services that connect: an option of type OPTION_GROUP that
 * is optional. */
extern const struct option_group schema_tls_upstream;

/* For the `check` of such a service's group, whose path is `path`: adds an error when one of the upstreams has no name
 * that its certificate could be verified by and `tls` gives none either. Thread: main. */
void tls_upstream_check_names(const struct tls_upstream_config *tls, const struct endpoint *upstreams, unsigned count,
			      const char *path, struct config_errors *errors);

#endif
