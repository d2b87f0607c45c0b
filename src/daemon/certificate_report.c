/* SPDX-License-Identifier: MIT */
#include "daemon/certificate_report.h"

#include <errno.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

#include "report/log.h"

/* Of a certificate's names, in a message; the record's field has them all. */
#define NAMES_BYTES 160

static void add_names(struct text *to, const char *names)
{
	size_t n = strlen(names);
	if (n == 0) {
		text_add(to, "without a name");
		return;
	}
	text_add_bytes(to, names, n < NAMES_BYTES ? n : NAMES_BYTES);
	if (n > NAMES_BYTES)
		text_add(to, "...");
}

/* "until 2031-05-01 12:00:00 UTC (12 days left)". */
static void add_until(struct text *to, const struct tls_certificate_facts *f, time_t now)
{
	text_add(to, "until ");
	expiry_add_time(to, f->not_after);
	text_add(to, " (");
	expiry_add_left(to, f, now);
	text_add(to, ")");
}

static void print_one(const struct tls_set *set, unsigned i, const char *listener, time_t now, FILE *to)
{
	struct tls_certificate_facts f;
	char bytes[LOG_MESSAGE_BYTES];
	struct text t;
	tls_set_certificate(set, i, &f);
	text_init(&t, bytes, sizeof(bytes));
	add_names(&t, f.names);
	text_printf(&t, ", %s, ", f.key);
	add_until(&t, &f, now);
	fprintf(to, "certificate %s (%s%s): %s\n", f.file, listener, f.is_upstream ? ", to upstreams" : "", t.at);
}

void certificate_report_print(const struct tls_set *set, const char *listener, time_t now, FILE *to)
{
	for (unsigned i = 0; i < tls_set_certificate_count(set); i++)
		print_one(set, i, listener, now, to);
}

void certificate_report_print_chosen(const struct tls_set *set, const char *listener, const char *sni, time_t now,
				     FILE *to)
{
	unsigned chosen[TLS_SET_CHOICE_MAX];
	unsigned n = tls_set_choose(set, sni, chosen);
	for (unsigned i = 0; i < n; i++)
		print_one(set, chosen[i], listener, now, to);
}

static void begin(struct log_record *r, enum log_level level, enum log_kind kind, const char *listener)
{
	log_begin(r, level, kind);
	log_field(r, "USHER_LISTENER", "%s", listener);
}

static void add_fields(struct log_record *r, const struct tls_certificate_facts *f)
{
	char bytes[64];
	struct text t;
	text_init(&t, bytes, sizeof(bytes));
	expiry_add_time(&t, f->not_after);
	log_field(r, "USHER_CERTIFICATE", "%s", f->file);
	log_field(r, "USHER_NOT_AFTER", "%s", t.at);
	log_field(r, "USHER_NAMES", "%s", f->names);
}

static bool has(const struct tls_set *set, const struct tls_certificate_facts *wanted)
{
	for (unsigned i = 0; i < tls_set_certificate_count(set); i++) {
		struct tls_certificate_facts f;
		tls_set_certificate(set, i, &f);
		if (strcmp(f.file, wanted->file) == 0 && strcmp(f.serial, wanted->serial) == 0)
			return true;
	}
	return false;
}

void certificate_report_renewed(const char *listener, const struct tls_set *old, const struct tls_set *fresh,
				time_t now)
{
	struct log_record r;
	bool said = false;
	for (unsigned i = 0; i < tls_set_certificate_count(fresh); i++) {
		struct tls_certificate_facts f;
		tls_set_certificate(fresh, i, &f);
		if (has(old, &f))
			continue;
		char bytes[LOG_MESSAGE_BYTES];
		struct text t;
		text_init(&t, bytes, sizeof(bytes));
		add_names(&t, f.names);
		text_add(&t, ", valid ");
		add_until(&t, &f, now);
		begin(&r, LOG_LEVEL_NOTICE, LOG_CERTIFICATE_RENEWED, listener);
		add_fields(&r, &f);
		log_submit(&r, "certificate renewed: %s (%s): %s", f.file, listener, t.at);
		said = true;
	}
	if (said)
		return;
	begin(&r, LOG_LEVEL_NOTICE, LOG_CERTIFICATE_RENEWED, listener);
	log_submit(&r, "TLS files renewed (%s): the certificates are the same, what is beside them has changed",
		   listener);
}

/* The first of our certificates that ends. */
static bool find_first_to_end(const struct tls_set *set, struct tls_certificate_facts *first)
{
	unsigned n = tls_set_certificate_count(set);
	for (unsigned i = 0; i < n; i++) {
		struct tls_certificate_facts f;
		tls_set_certificate(set, i, &f);
		if (i == 0 || f.not_after < first->not_after)
			*first = f;
	}
	return n > 0;
}

void certificate_report_failed(const char *listener, const struct tls_set *old, const struct config_errors *errors,
			       time_t now)
{
	char bytes[128];
	struct text until;
	struct tls_certificate_facts first;
	bool found = find_first_to_end(old, &first);
	text_init(&until, bytes, sizeof(bytes));
	if (found) {
		text_add(&until, ", valid ");
		add_until(&until, &first, now);
	}
	for (unsigned i = 0; i == 0 || (errors && config_errors_line(errors, i)); i++) {
		const char *line = errors ? config_errors_line(errors, i) : NULL;
		struct log_record r;
		begin(&r, LOG_LEVEL_ERROR, LOG_CERTIFICATE_FAILED, listener);
		if (found)
			add_fields(&r, &first);
		log_submit(&r, "changed TLS files are not taken up (%s); what was loaded before stays%s: %s", listener,
			   until.at, line ? line : strerror(ENOMEM));
	}
}

static void say_expiry(const char *listener, const struct tls_certificate_facts *f, time_t now)
{
	enum expiry_stage stage = expiry_stage_of(f, now);
	bool bad = stage == EXPIRY_OVER || stage == EXPIRY_NOT_YET;
	char bytes[LOG_MESSAGE_BYTES];
	struct text t;
	text_init(&t, bytes, sizeof(bytes));
	add_names(&t, f->names);
	text_add(&t, ", ");
	add_until(&t, f, now);
	struct log_record r;
	begin(&r, bad ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, LOG_CERTIFICATE_EXPIRES, listener);
	add_fields(&r, f);
	const char *who = f->is_upstream ? "upstreams refuse" : "clients refuse";
	if (stage == EXPIRY_OVER)
		log_submit(&r, "certificate %s (%s) has expired, and %s it: renew it: %s", f->file, listener, who,
			   t.at);
	else if (stage == EXPIRY_NOT_YET)
		log_submit(&r, "certificate %s (%s) is not valid yet, and %s it: is this machine's clock right? %s",
			   f->file, listener, who, t.at);
	else
		log_submit(&r, "certificate %s (%s) expires soon: renew it: %s", f->file, listener, t.at);
}

void certificate_report_expiry(const char *listener, const struct tls_set *set, struct expiry *said, time_t now)
{
	for (unsigned i = 0; i < tls_set_certificate_count(set); i++) {
		struct tls_certificate_facts f;
		tls_set_certificate(set, i, &f);
		if (expiry_is_news(said, &f, now))
			say_expiry(listener, &f, now);
	}
}

void certificate_report_unreadable(const char *listener, const char *file, int error)
{
	/* main alone asks */
	// cppcheck-suppress getpwuidCalled
	const struct passwd *user = getpwuid(geteuid());
	struct log_record r;
	begin(&r, LOG_LEVEL_WARNING, LOG_CERTIFICATE_FAILED, listener);
	log_field(&r, "USHER_CERTIFICATE", "%s", file);
	log_field_errno(&r, error);
	log_submit(
		&r,
		"%s (%s) was read as root, but user %s (uid %u) cannot open it: %s: when it changes that is not taken "
		"up, and a reload fails; make it readable for this user (setfacl, a group of its own), or let "
		"systemd pass it (LoadCredential=)",
		file, listener, user ? user->pw_name : "without a name", (unsigned)geteuid(), strerror(error));
}

void certificate_report_unverified(const char *listener)
{
	struct log_record r;
	begin(&r, LOG_LEVEL_WARNING, LOG_UPSTREAM_UNVERIFIED, listener);
	log_submit(
		&r,
		"insecure_skip_verify is set (%s): whoever answers in the place of its upstreams can read and change "
		"everything",
		listener);
}
