/* SPDX-License-Identifier: MIT */
/* usherd: the command line. */
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>

#include "daemon/daemon.h"
#include "daemon/explain.h"
#include "daemon/inspect.h"
#include "daemon/reload_request.h"
#include "report/log.h"

static const char usage[] =
	"Usage: usherd [--config FILE] [--check] [--dump-config] [--log-level L] [--version] [--help]\n"
	"       usherd [--config FILE] --explain LISTENER SOURCE [--uid U [--gid G] [--unit N]] [--sni NAME]\n"
	"       usherd --reload PID\n"
	"\n"
	"Owns listening sockets, and serves or forwards what connects to them.\n"
	"\n"
	"  -c, --config FILE    read FILE instead of " USHER_CONFIG_FILE "\n"
	"      --check          print what is wrong with the configuration and exit with 2,\n"
	"                       or what it would listen on and exit with 0\n"
	"      --dump-config    print the configuration in effect, defaults included, and exit\n"
	"      --explain LISTENER SOURCE\n"
	"                       print whether a client would be let in, and by which rules, and\n"
	"                       exit with 0, or with 1 if not; SOURCE is an address or \"unix\"\n"
	"      --uid U --gid G --unit N\n"
	"                       of a UNIX client: its user, group and systemd unit\n"
	"      --sni NAME       print also which certificate is shown for this name\n"
	"      --reload PID     make the usherd of this process number reload, wait, and exit with 0,\n"
	"                       or print why it did not and exit with 2\n"
	"  -l, --log-level L    error, warning, notice, info or debug, instead of the file's\n"
	"      --version        print the version and exit\n"
	"  -h, --help           print this and exit\n"
	"\n"
	"SIGHUP reloads the configuration; SIGTERM and SIGINT end usherd, a second one at once.\n"
	"Manual: usherd(8), usherd.conf(5)\n";

static int wrong_usage(const char *what, const char *argument)
{
	if (what)
		fprintf(stderr, "usherd: %s%s\n", what, argument);
	fprintf(stderr, "Try \"usherd --help\".\n");
	return DAEMON_EXIT_CONFIG;
}

enum {
	OPTION_CHECK = 256,
	OPTION_DUMP,
	OPTION_VERSION,
	OPTION_EXPLAIN,
	OPTION_UID,
	OPTION_GID,
	OPTION_UNIT,
	OPTION_SNI,
	OPTION_RELOAD,
};

static const struct option long_options[] = {
	{"config", required_argument, NULL, 'c'},
	{"check", no_argument, NULL, OPTION_CHECK},
	{"dump-config", no_argument, NULL, OPTION_DUMP},
	{"explain", no_argument, NULL, OPTION_EXPLAIN},
	{"uid", required_argument, NULL, OPTION_UID},
	{"gid", required_argument, NULL, OPTION_GID},
	{"unit", required_argument, NULL, OPTION_UNIT},
	{"sni", required_argument, NULL, OPTION_SNI},
	{"reload", required_argument, NULL, OPTION_RELOAD},
	{"log-level", required_argument, NULL, 'l'},
	{"version", no_argument, NULL, OPTION_VERSION},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

/* What the command line asks for. */
struct command {
	struct daemon_options options;
	int (*action)(const char *config_path); /* NULL: run, or explain */
	const char *reload;			/* --reload's PID; NULL: not asked for */
	bool explains;
	struct explain_request explain;
};

/* Where the value of an option that goes with --explain belongs; NULL: it is another. */
static const char **explain_value(struct explain_request *r, int o)
{
	return o == OPTION_UID	  ? &r->uid
	       : o == OPTION_GID  ? &r->gid
	       : o == OPTION_UNIT ? &r->unit
	       : o == OPTION_SNI  ? &r->sni
				  : NULL;
}

static int explain(struct command *c, int argc, char **argv)
{
	if (argc > 0)
		c->explain.listener = argv[0];
	if (argc > 1)
		c->explain.source = argv[1];
	if (argc > 2) {
		wrong_usage("unexpected argument: ", argv[2]);
		return DAEMON_EXIT_USAGE;
	}
	return explain_run(c->options.config_path, &c->explain);
}

int main(int argc, char **argv)
{
	struct command c = {.options = {.config_path = USHER_CONFIG_FILE, .log_level = -1}};
	const char **to;
	int o;
	while ((o = getopt_long(argc, argv, "c:l:h", long_options, NULL)) != -1) {
		switch (o) {
		case 'c':
			c.options.config_path = optarg;
			break;
		case 'l':
			c.options.log_level = log_level_parse(optarg);
			if (c.options.log_level < 0)
				return wrong_usage("--log-level takes error, warning, notice, info or debug, not ",
						   optarg);
			break;
		case OPTION_CHECK:
			c.action = inspect_check;
			break;
		case OPTION_DUMP:
			c.action = inspect_dump;
			break;
		case OPTION_EXPLAIN:
			c.explains = true;
			break;
		case OPTION_RELOAD:
			c.reload = optarg;
			break;
		case OPTION_VERSION:
			puts("usherd " USHER_VERSION);
			return inspect_finish_output();
		case 'h':
			fputs(usage, stdout);
			return inspect_finish_output();
		default:
			to = explain_value(&c.explain, o);
			if (!to)
				return wrong_usage(NULL, "");
			*to = optarg;
			break;
		}
	}
	if (c.explains)
		return explain(&c, argc - optind, argv + optind);
	if (c.explain.uid || c.explain.gid || c.explain.unit || c.explain.sni)
		return wrong_usage("--uid, --gid, --unit and --sni go with --explain", "");
	if (optind < argc)
		return wrong_usage("unexpected argument: ", argv[optind]);
	if (c.reload)
		return reload_request_run(c.reload);
	return c.action ? c.action(c.options.config_path) : daemon_run(&c.options);
}
