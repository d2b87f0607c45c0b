/* SPDX-License-Identifier: MIT */
/* What is said of certificates, in the log and by --check. Thread: main. */
#ifndef DAEMON_CERTIFICATE_REPORT_H
#define DAEMON_CERTIFICATE_REPORT_H

#include <stdio.h>
#include <time.h>

#include "config/errors.h"
#include "daemon/expiry.h"
#include "tls/set.h"

/* A line for each of our own certificates, for --check. */
void certificate_report_print(const struct tls_set *set, const char *listener, time_t now, FILE *to);

/* Likewise for those that a client may be shown which asks for the name `sni`. */
void certificate_report_print_chosen(const struct tls_set *set, const char *listener, const char *sni, time_t now,
				     FILE *to);

/* `fresh` has taken the place of `old`: a record for each certificate that is another. */
void certificate_report_renewed(const char *listener, const struct tls_set *old, const struct tls_set *fresh,
				time_t now);

/* Changed files were not taken up; `old` stays. */
void certificate_report_failed(const char *listener, const struct tls_set *old, const struct config_errors *errors,
			       time_t now);

/* What expires, has expired, or is not valid yet, and was not said before. Between expiry_begin and expiry_end. */
void certificate_report_expiry(const char *listener, const struct tls_set *set, struct expiry *said, time_t now);

/* A file of this listener cannot be read now that root was given up. */
void certificate_report_unreadable(const char *listener, const char *file, int error);

/* insecure_skip_verify. */
void certificate_report_unverified(const char *listener);

#endif
