/* SPDX-License-Identifier: MIT */
#include "daemon/explain.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <netdb.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/identity.h"
#include "base/netaddr.h"
#include "daemon/bans.h"
#include "daemon/certificate_report.h"
#include "daemon/certificates.h"
#include "daemon/daemon.h"
#include "daemon/inspect.h"
#include "front/admission.h"

struct explain {
	const struct explain_request *request; /* borrowed */
	struct config *config;		       /* borrowed */
	const struct listener_config *listener;
	struct netaddr address; /* of the visitor */
	struct visitor visitor;
	char who[NI_MAXHOST]; /* the visitor, for people */

	struct listener_set set; /* owned: entries without sockets */
	struct rules *rules;	 /* owned */
	struct tls_set *tls;	 /* ref; NULL: none, or nobody asked */
	struct sources *sources; /* owned */
	struct rate_bucket arrivals;
};

static int wrong_request(const char *format, ...) PRINTF_LIKE(1, 2);
static int wrong_request(const char *format, ...)
{
	va_list args;
	fputs("usherd: --explain: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return DAEMON_EXIT_USAGE;
}

static int no_memory(void)
{
	fprintf(stderr, "usherd: %s\n", strerror(ENOMEM));
	return DAEMON_EXIT_CONFIG;
}

/* The visitor. */

/* The groups that the system gives to a user; the kernel tells of them when one connects. */
MAIN_ONLY static void add_groups(struct visitor *v)
{
	int n = VISITOR_GROUPS_MAX;
	// cppcheck-suppress getpwuidCalled
	const struct passwd *user = getpwuid(v->uid);
	/* of one who is in more it gives as many as there is room for */
	if (user && getgrouplist(user->pw_name, v->gid, v->groups, &n) < 0) {
		n = VISITOR_GROUPS_MAX;
		v->groups_hidden = true;
	}
	v->group_count = user && n > 0 ? (unsigned)n : 0;
}

MAIN_ONLY static int make_peer(struct explain *x)
{
	const struct explain_request *r = x->request;
	struct visitor *v = &x->visitor;
	x->address.u.any.sa_family = AF_UNIX;
	visitor_from_address(v, &x->address.u.any);
	if (!r->uid) {
		if (r->gid || r->unit)
			return wrong_request("%s goes with --uid: the kernel tells of all or of none",
					     r->gid ? "--gid" : "--unit");
		snprintf(x->who, sizeof(x->who), "unix without credentials");
		return DAEMON_EXIT_OK;
	}
	if (identity_find_user(r->uid, &v->uid, &v->gid) < 0)
		return wrong_request("--uid: there is no user \"%s\"", r->uid);
	if (r->gid && identity_find_group(r->gid, &v->gid) < 0)
		return wrong_request("--gid: there is no group \"%s\"", r->gid);
	if (v->gid == (gid_t)-1)
		return wrong_request("--uid: user %s is not in the system's database, so --gid is needed too", r->uid);
	if (r->unit && strlen(r->unit) >= sizeof(v->unit))
		return wrong_request("--unit: the name is too long");
	v->has_credentials = true;
	add_groups(v);
	snprintf(v->unit, sizeof(v->unit), "%s", r->unit ? r->unit : "");
	snprintf(x->who, sizeof(x->who), "unix uid %u", (unsigned)v->uid);
	return DAEMON_EXIT_OK;
}

MAIN_ONLY static int make_visitor(struct explain *x)
{
	const struct explain_request *r = x->request;
	if (strcmp(r->source, "unix") == 0)
		return make_peer(x);
	if (r->uid || r->gid || r->unit)
		return wrong_request("--uid, --gid and --unit are for the source \"unix\"");
	int failed = netaddr_parse_ip(&x->address, r->source, strlen(r->source), 0);
	if (failed == -ENODEV)
		return wrong_request("\"%s\": there is no such interface here", r->source);
	if (failed)
		return wrong_request("\"%s\" is no address: write one as 10.1.2.3 or 2001:db8::1, or \"unix\"",
				     r->source);
	visitor_from_address(&x->visitor, &x->address.u.any);
	return getnameinfo(&x->address.u.any, x->address.length, x->who, sizeof(x->who), NULL, 0, NI_NUMERICHOST)
		       ? no_memory()
		       : DAEMON_EXIT_OK;
}

/* Whether clients of this kind can come at all; a socket that systemd passes may be of either. */
static bool has_such_clients(const struct listener_config *l, bool is_unix)
{
	for (unsigned i = 0; i < l->listen.count; i++) {
		const struct endpoint *e = &l->endpoints[i];
		bool is_local = e->kind == ENDPOINT_ADDRESS && e->address.u.any.sa_family == AF_UNIX;
		if (e->kind == ENDPOINT_SYSTEMD || is_local == is_unix)
			return true;
	}
	return false;
}

MAIN_ONLY static int check_visitor(const struct explain *x)
{
	bool is_unix = x->address.u.any.sa_family == AF_UNIX;
	if (has_such_clients(x->listener, is_unix))
		return DAEMON_EXIT_OK;
	return wrong_request(is_unix ? "listener %s has no UNIX socket: give the client's address"
				     : "listener %s has UNIX sockets alone, whose clients have no address: the source "
				       "is \"unix\"",
			     x->listener->name);
}

/* What is asked. */

/* What the files come to; goes on after an error, so that the user sees all that is wrong. */
MAIN_ONLY static int load_files(struct explain *x)
{
	struct config_errors *errors = config_errors_create();
	if (!errors)
		return no_memory();
	int failed = rules_load(x->config, NULL, errors, &x->rules);
	if (x->request->sni) {
		int tls_failed = certificates_load(x->listener, NULL, errors, &x->tls);
		failed = failed ? failed : tls_failed;
	}
	config_errors_print(errors, stderr);
	bool told = config_errors_count(errors) > 0;
	config_errors_destroy(errors);
	if (failed && !told)
		return no_memory();
	return failed ? DAEMON_EXIT_CONFIG : DAEMON_EXIT_OK;
}

/* All listeners with the numbers that their bans go by, and nothing open. */
MAIN_ONLY static int make_tables(struct explain *x)
{
	unsigned n = x->config->listener_count;
	x->set.config = x->config;
	x->set.at = calloc(n, sizeof(*x->set.at));
	x->sources = sources_create((unsigned)x->config->door.sources.entries);
	if (!x->set.at || !x->sources)
		return no_memory();
	for (; x->set.count < n; x->set.count++) {
		struct listener_entry *e = &x->set.at[x->set.count];
		e->config = &x->config->listeners[x->set.count];
		e->account = account_create();
		if (!e->account)
			return no_memory();
		e->account->scope = (uint16_t)(x->set.count + 1);
	}
	return DAEMON_EXIT_OK;
}

/* The bans of the running usherd, as it saved them last. Without them the rest is told. */
MAIN_ONLY static void load_bans(struct explain *x)
{
	char bytes[PATH_MAX];
	struct text path;
	struct bans_loaded loaded;
	text_init(&path, bytes, sizeof(bytes));
	if (!bans_are_possible(x->config) || !x->visitor.address || x->visitor.address->sa_family == AF_UNIX)
		return;
	if (!bans_add_path(&path, x->config)) {
		fputs("usherd: bans are not looked at: it is not known where they are; set state_directory, or "
		      "STATE_DIRECTORY=/var/lib/usher for this command\n",
		      stderr);
		return;
	}
	int failed = bans_load(path.at, &x->set, x->sources, &loaded);
	if (failed && failed != -ENOENT)
		fprintf(stderr, "usherd: bans are not all looked at: %s: %s\n", path.at, strerror(-failed));
}

MAIN_ONLY static void release(struct explain *x)
{
	for (unsigned i = 0; i < x->set.count; i++)
		account_unref(x->set.at[i].account);
	free(x->set.at);
	sources_destroy(x->sources);
	rules_destroy(x->rules);
	tls_set_unref(x->tls);
}

/* The answer. */

static void print_escaped(const char *string)
{
	char bytes[1024];
	struct text t;
	text_init(&t, bytes, sizeof(bytes));
	text_add_escaped(&t, string, strlen(string));
	fputs(t.at, stdout);
}

static void print_place(const struct config_place *place)
{
	if (place->file)
		printf("%s:", place->file);
	printf("%u: ", place->line);
}

/* The option that a rule of an admission is called by. */
static void print_option(const struct explain *x, const char *path, const struct rule_found *found)
{
	char bytes[256];
	struct text value;
	struct config_place place;
	if (found)
		print_place(&found->place);
	else if (config_option_place(x->config, path, &place))
		print_place(&place);
	else
		fputs("default: ", stdout);
	fputs(path, stdout);
	text_init(&value, bytes, sizeof(bytes));
	if (strstr(path, ".limits.") && config_option_add_text(&value, x->config, path))
		printf(" = %s", value.at);
}

static void print_step(void *arg, enum admission_scope scope, const char *rule, bool refuses UNUSED, const char *words,
		       const struct rule_found *found)
{
	const struct explain *x = arg;
	char bytes[256];
	struct text path;
	text_init(&path, bytes, sizeof(bytes));
	if (scope == ADMISSION_LISTENER)
		text_printf(&path, "listeners.%s.%s", x->listener->name, rule);
	else
		text_printf(&path, "door.%s", rule);
	print_option(x, path.at, found);
	printf(": %s", words);
	if (found) {
		fputs(": ", stdout);
		print_escaped(found->entry);
	}
	putchar('\n');
	if (!found || !found->file)
		return;
	print_escaped(found->file);
	if (found->line == 0) {
		puts(": it has changed at this moment");
		return;
	}
	printf(":%u: ", found->line);
	print_escaped(found->file_entry);
	putchar('\n');
}

static void print_verdict(const struct explain *x, const struct verdict *v)
{
	printf("%s %s: ", x->listener->name, x->who);
	if (v->reason != CLOSE_NONE)
		printf("refused: %s (%s)\n", close_reason_facts[v->reason].text, close_reason_facts[v->reason].name);
	else
		puts(v->trusted ? "let in: it is trusted, so that no limit, ban or overload counts for it" : "let in");
}

MAIN_ONLY static int decide(struct explain *x)
{
	unsigned number = (unsigned)(x->listener - x->config->listeners);
	struct verdict verdict;
	const struct admission a = {
		.config = x->config,
		.rules = x->rules,
		.sources = x->sources,
		.arrivals = &x->arrivals,
	};
	const struct admission_request r = {
		.listener = x->listener,
		.number = number,
		.account = x->set.at[number].account,
		.visitor = &x->visitor,
		.now_ms = clock_now_ms(),
		.now_ns = clock_now_ns(),
	};
	admission_decide(&a, &r, &verdict, print_step, x);
	bool comes_in = verdict.reason == CLOSE_NONE;
	if (comes_in && x->tls)
		certificate_report_print_chosen(x->tls, x->listener->name, x->request->sni, time(NULL), stdout);
	print_verdict(x, &verdict);
	if (inspect_finish_output() != DAEMON_EXIT_OK)
		return DAEMON_EXIT_CONFIG;
	return comes_in ? DAEMON_EXIT_OK : DAEMON_EXIT_FAILED;
}

MAIN_ONLY static int explain(struct explain *x)
{
	x->listener = config_find_listener(x->config, x->request->listener);
	if (!x->listener)
		return wrong_request("there is no listener \"%s\"", x->request->listener);
	if (x->request->sni && !x->listener->tls.enabled)
		return wrong_request("--sni: listener %s has no tls", x->listener->name);
	int code = make_visitor(x);
	if (code == DAEMON_EXIT_OK)
		code = check_visitor(x);
	if (code == DAEMON_EXIT_OK)
		code = load_files(x);
	if (code == DAEMON_EXIT_OK)
		code = make_tables(x);
	if (code != DAEMON_EXIT_OK)
		return code;
	load_bans(x);
	return decide(x);
}

int explain_run(const char *config_path, const struct explain_request *request)
{
	if (!request->listener || !request->source)
		return wrong_request("name a listener and a source: --explain LISTENER SOURCE");
	int code = DAEMON_EXIT_CONFIG;
	struct config *config = inspect_load(config_path, &code);
	if (!config)
		return DAEMON_EXIT_CONFIG;
	struct explain *x = calloc(1, sizeof(*x));
	role_enter_main();
	if (x) {
		x->request = request;
		x->config = config;
		code = explain(x);
		release(x);
	} else {
		code = no_memory();
	}
	role_leave_main();
	free(x);
	config_unref(config);
	return code;
}
