/* SPDX-License-Identifier: MIT */
/* TLS's part of a stream, as tls.c and tls_sleep.c see it. */
#ifndef TRANSPORT_TLS_PRIV_H
#define TRANSPORT_TLS_PRIV_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "transport/client_hello.h"
#include "transport/tls.h"

/* What one read takes from the kernel, and how much plain text one write encrypts before it is sent. */
#define IN_BYTES (64U * 1024U)
#define OUT_PLAIN_BYTES (64U * 1024U)

/* Four full records with their headers and tags, and room for what OpenSSL says between them. */
#define OUT_BYTES (OUT_PLAIN_BYTES + 8U * 1024U)

struct tls_io {
	BIO_METHOD *method; /* owned */
	struct list awake;  /* layers, the one that was used last at the end */
	uint32_t sweeps;    /* begun so far */
	bool sweep_goes_on;
	uint8_t *in; /* points to what was received, or into a stream's `kept` */
	size_t in_from;
	size_t in_to;
	size_t room; /* for what is decrypted: no more is received at once */
	size_t out_to;
	uint8_t received[IN_BYTES];
	uint8_t out[OUT_BYTES];
};

struct tls_layer {
	struct tls_session *session; /* owned */
	SSL *ssl;		     /* borrowed from the session; NULL once the handshake has failed */
	struct tls_io *io;	     /* borrowed */
	struct list node;	     /* in io's awake, unless it sleeps */
	uint32_t used;		     /* io's sweeps, when it was used last */
	struct dormant *asleep;	     /* owned; NULL: it is awake */
	uint8_t *kept;		     /* owned: received and not used yet; NULL: nothing is */
	uint32_t kept_bytes;
	uint8_t *sealed; /* owned: to be sent, stream.sealed bytes at sealed_from; NULL: nothing is */
	uint32_t sealed_from;
	uint32_t barren_bytes; /* since the last byte of data */
	uint32_t barren_most;  /* then it is too much */
	int wire_error;	       /* of the descriptor; 0: none */
	int deaf;   /* of the descriptor, when it took nothing more: nothing is sent from then on; 0: it does */
	int failed; /* what reading and writing return from now on; 0: they work */
	struct client_hello hello;
	bool wire_ended : 1; /* the descriptor's end was read */
	bool shaken : 1;     /* the handshake is done */
	bool spoke : 1;	     /* something was sent */
	bool end_made : 1;   /* our close_notify was made */
	bool refused : 1;    /* the ClientHello was not for OpenSSL to see */
	bool plain : 1;	     /* nor were the first bytes, which are no TLS */
};

/* Before the SSL is used in whatever way. */
void tls_wake(struct tls_layer *t) WORKER_ONLY;

#endif
