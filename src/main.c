/* SPDX-License-Identifier: MIT */
/* usherd: the command line. */
#include <getopt.h>
#include <stdio.h>

#include "daemon/daemon.h"
#include "daemon/inspect.h"
#include "report/log.h"

static const char usage[] =
	"Usage: usherd [--config FILE] [--check] [--dump-config] [--log-level L] [--version] [--help]\n"
	"\n"
	"Owns listening sockets, and serves or forwards what connects to them.\n"
	"\n"
	"  -c, --config FILE    read FILE instead of " USHER_CONFIG_FILE "\n"
	"      --check          print what is wrong with the configuration and exit with 2,\n"
	"                       or what it would listen on and exit with 0\n"
	"      --dump-config    print the configuration in effect, defaults included, and exit\n"
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

int main(int argc, char **argv)
{
	enum { OPTION_CHECK = 256, OPTION_DUMP, OPTION_VERSION };
	static const struct option long_options[] = {
		{"config", required_argument, NULL, 'c'},
		{"check", no_argument, NULL, OPTION_CHECK},
		{"dump-config", no_argument, NULL, OPTION_DUMP},
		{"log-level", required_argument, NULL, 'l'},
		{"version", no_argument, NULL, OPTION_VERSION},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	struct daemon_options options = {.config_path = USHER_CONFIG_FILE, .log_level = -1};
	int (*action)(const char *config_path) = NULL;
	int o;
	while ((o = getopt_long(argc, argv, "c:l:h", long_options, NULL)) != -1) {
		switch (o) {
		case 'c':
			options.config_path = optarg;
			break;
		case 'l':
			options.log_level = log_level_parse(optarg);
			if (options.log_level < 0)
				return wrong_usage("--log-level takes error, warning, notice, info or debug, not ",
						   optarg);
			break;
		case OPTION_CHECK:
			action = inspect_check;
			break;
		case OPTION_DUMP:
			action = inspect_dump;
			break;
		case OPTION_VERSION:
			puts("usherd " USHER_VERSION);
			return inspect_finish_output();
		case 'h':
			fputs(usage, stdout);
			return inspect_finish_output();
		default:
			return wrong_usage(NULL, "");
		}
	}
	if (optind < argc)
		return wrong_usage("unexpected argument: ", argv[optind]);
	return action ? action(options.config_path) : daemon_run(&options);
}
