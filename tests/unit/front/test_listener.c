/* SPDX-License-Identifier: MIT */
#include "front/listener.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../suite.h"
#include "base/fd.h"
#include "base/socket.h"
#include "report/log.h"
#include "service/service.h"

static char folder[] = "/tmp/usher-listener-XXXXXX";
static struct config_errors *errors;
static struct passed_sockets none;
static char name_web[] = "web";
static char name_other[] = "other";

static void setup(void)
{
	log_set_level(LOG_LEVEL_ERROR);
	ck_assert_ptr_nonnull(mkdtemp(folder));
	errors = config_errors_create();
	ck_assert_ptr_nonnull(errors);
}

static void teardown(void)
{
	config_errors_destroy(errors);
	ck_assert_int_eq(rmdir(folder), 0); /* nothing is left in it */
}

/* "listeners: { NAME: { BODY echo: {}; }; ... }" out of name and body, in turn. */
static struct config *load(const char *listeners)
{
	char text[2048];
	snprintf(text, sizeof(text), "listeners: { %s };\n", listeners);
	struct config *config = NULL;
	int failed = config_load_text("test", text, strlen(text), service_groups(), &config, errors);
	if (failed)
		config_errors_print(errors, stderr);
	ck_assert_int_eq(failed, 0);
	return config;
}

static int open_set(struct listener_set *to, struct listener_set *old, const char *listeners)
{
	struct config *config = load(listeners);
	int failed = listeners_open(to, config, old, &none, NULL, errors);
	config_unref(config);
	return failed;
}

static void open_first(struct listener_set *to, const char *listeners)
{
	ck_assert_int_eq(open_set(to, NULL, listeners), 0);
	listeners_commit(to, to);
}

static void path_of(char *to, size_t size, const char *name)
{
	snprintf(to, size, "%s/%s", folder, name);
}

static bool connects(const char *path)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	memcpy(at.sun_path, path, strlen(path) + 1);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	bool result = connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0;
	close(fd);
	return result;
}

START_TEST(any_address_opens_both_families_at_one_port)
{
	struct listener_set set;
	open_first(&set, "a: { listen = \"*:0\"; echo: {}; };");
	ck_assert_uint_eq(set.count, 2);
	ck_assert_uint_ne(listening_port(set.at[0].socket), 0);
	ck_assert_uint_eq(listening_port(set.at[0].socket), listening_port(set.at[1].socket));
	listeners_close(&set);
}
END_TEST

START_TEST(ipv6_any_is_ipv6_only)
{
	struct listener_set set;
	char more[128];
	int failed = -EINVAL;
	/* so the same port is free for IPv4, unless another program happens to have it there: then another one will do */
	for (int i = 0; failed && i < 20; i++) {
		open_first(&set, "a: { listen = \"[::]:0\"; echo: {}; };");
		snprintf(more, sizeof(more), "b: { listen = \"0.0.0.0:%u\"; echo: {}; };",
			 listening_port(set.at[0].socket));
		struct listener_set other;
		failed = open_set(&other, NULL, more);
		if (!failed)
			listeners_close(&other);
		listeners_close(&set);
	}
	ck_assert_int_eq(failed, 0);
}
END_TEST

START_TEST(a_taken_port_is_an_error_with_a_way_out)
{
	struct listener_set set;
	struct listener_set other;
	char more[128];
	open_first(&set, "a: { listen = \"127.0.0.1:0\"; echo: {}; };");
	unsigned port = listening_port(set.at[0].socket);
	snprintf(more, sizeof(more), "b: { listen = \"127.0.0.1:%u\"; echo: {}; };", port);
	ck_assert_int_eq(open_set(&other, NULL, more), -EINVAL);
	char wanted[256];
	snprintf(wanted, sizeof(wanted),
		 "test:1: listeners.b.listen: listen 127.0.0.1:%u: Address already in use; \"ss -ltnp sport = :%u\" "
		 "shows "
		 "by whom",
		 port, port);
	ck_assert_str_eq(config_errors_line(errors, 0), wanted);
	listeners_close(&set);
}
END_TEST

START_TEST(a_reload_keeps_what_stays_and_closes_what_goes)
{
	struct listener_set first;
	struct listener_set second;
	open_first(&first, "a: { listen = \"127.0.0.1:0\"; echo: {}; }; b: { listen = \"[::1]:0\"; echo: {}; };");
	int kept = first.at[0].socket->fd;
	struct account *account = first.at[0].socket->account;
	ck_assert_int_eq(open_set(&second, &first, "a: { listen = \"127.0.0.1:0\"; discard: {}; };"), 0);
	listeners_commit(&second, &first);
	ck_assert_int_eq(second.at[0].socket->fd, kept);
	ck_assert_ptr_eq(second.at[0].socket->account, account);
	ck_assert_ptr_null(first.at[0].socket);
	ck_assert_ptr_nonnull(first.at[1].socket);
	listeners_close(&first);
	/* still listening */
	int listening = 0;
	socklen_t length = sizeof(listening);
	ck_assert_int_eq(getsockopt(kept, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length), 0);
	ck_assert_int_eq(listening, 1);
	listeners_close(&second);
}
END_TEST

START_TEST(each_free_port_is_a_socket_of_its_own)
{
	struct listener_set first;
	struct listener_set second;
	open_first(&first, "a: { listen = \"127.0.0.1:0\"; echo: {}; };");
	ck_assert_int_eq(open_set(&second, &first,
				  "a: { listen = \"127.0.0.1:0\"; echo: {}; };"
				  "b: { listen = [ \"127.0.0.1:0\", \"127.0.0.1:0\" ]; echo: {}; };"),
			 0);
	ck_assert_uint_eq(second.count, 3);
	ck_assert_ptr_eq(second.at[0].socket, first.at[0].socket);
	for (int i = 0; i < 3; i++)
		for (int k = 0; k < i; k++)
			ck_assert_ptr_ne(second.at[i].socket, second.at[k].socket);
	listeners_commit(&second, &first);
	listeners_close(&first);
	listeners_close(&second);
}
END_TEST

START_TEST(a_failed_reload_changes_nothing)
{
	struct listener_set first;
	struct listener_set second;
	char more[256];
	open_first(&first, "a: { listen = \"127.0.0.1:0\"; echo: {}; };");
	int fd = first.at[0].socket->fd;
	snprintf(more, sizeof(more),
		 "a: { listen = \"127.0.0.1:0\"; echo: {}; }; n: { listen = \"unix:%s/no/such\"; echo: {}; };", folder);
	ck_assert_int_eq(open_set(&second, &first, more), -EINVAL);
	ck_assert_ptr_nonnull(
		strstr(config_errors_line(errors, 0), "No such file or directory; the folder must exist"));
	ck_assert_int_eq(first.at[0].socket->fd, fd);
	listeners_close(&first);
}
END_TEST

START_TEST(a_socket_that_goes_makes_way_for_one_at_its_port)
{
	struct listener_set first;
	struct listener_set second;
	char more[256];
	open_first(&first, "a: { listen = \"127.0.0.1:0\"; echo: {}; };");
	unsigned port = listening_port(first.at[0].socket);
	snprintf(more, sizeof(more), "a: { listen = [ \"127.0.0.1:0\", \"*:%u\" ]; echo: {}; };", port);
	/* "127.0.0.1:0" stays, so it does not make way */
	ck_assert_int_eq(open_set(&second, &first, more), -EINVAL);
	ck_assert_uint_eq(listening_port(first.at[0].socket), port);
	snprintf(more, sizeof(more), "a: { listen = \"*:%u\"; echo: {}; };", port);
	ck_assert_int_eq(open_set(&second, &first, more), 0);
	listeners_commit(&second, &first);
	listeners_close(&first);
	ck_assert_uint_eq(second.count, 2);
	ck_assert_uint_eq(listening_port(second.at[0].socket), port);

	listeners_close(&second);
}
END_TEST

START_TEST(one_that_made_way_in_vain_listens_again)
{
	struct listener_set first;
	struct listener_set stranger;
	struct listener_set second;
	char more[256];
	open_first(&first, "a: { listen = \"127.0.0.1:0\"; echo: {}; };");
	unsigned port = listening_port(first.at[0].socket);
	snprintf(more, sizeof(more), "s: { listen = \"127.0.0.2:%u\"; echo: {}; };", port);
	open_first(&stranger, more);
	snprintf(more, sizeof(more), "a: { listen = \"0.0.0.0:%u\"; echo: {}; };", port);
	ck_assert_int_eq(open_set(&second, &first, more), -EINVAL);
	ck_assert_ptr_nonnull(strstr(config_errors_line(errors, 0), "Address already in use"));
	ck_assert_uint_eq(config_errors_count(errors), 1);
	ck_assert_int_ge(first.at[0].socket->fd, 0);
	ck_assert_uint_eq(listening_port(first.at[0].socket), port);
	listeners_close(&stranger);
	listeners_close(&first);
}
END_TEST

START_TEST(a_unix_socket_has_its_mode_and_goes_with_usher)
{
	char path[128];
	char text[256];
	struct stat st;
	struct listener_set set;
	path_of(path, sizeof(path), "s");
	snprintf(text, sizeof(text), "a: { listen = \"unix:%s\"; unix: { mode = \"0640\"; }; echo: {}; };", path);
	open_first(&set, text);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0640);
	ck_assert(connects(path));
	listeners_close(&set);
	ck_assert_int_eq(stat(path, &st), -1);
}
END_TEST

START_TEST(a_stale_socket_is_replaced)
{
	char path[128];
	char text[256];
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	struct listener_set set;
	path_of(path, sizeof(path), "s");
	memcpy(at.sun_path, path, strlen(path) + 1);
	int stale = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(stale, (struct sockaddr *)&at, sizeof(at)), 0);
	close(stale);
	snprintf(text, sizeof(text), "a: { listen = \"unix:%s\"; echo: {}; };", path);
	open_first(&set, text);
	ck_assert(connects(path));
	listeners_close(&set);
}
END_TEST

START_TEST(a_live_socket_is_an_error_that_says_who)
{
	char path[128];
	char text[256];
	char wanted[64];
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	struct listener_set set;
	path_of(path, sizeof(path), "s");
	memcpy(at.sun_path, path, strlen(path) + 1);
	int live = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(live, (struct sockaddr *)&at, sizeof(at)), 0);
	ck_assert_int_eq(listen(live, 5), 0);
	snprintf(text, sizeof(text), "a: { listen = \"unix:%s\"; echo: {}; };", path);
	ck_assert_int_eq(open_set(&set, NULL, text), -EINVAL);
	snprintf(wanted, sizeof(wanted), "already in use by pid %d (", (int)getpid());
	ck_assert_ptr_nonnull(strstr(config_errors_line(errors, 0), wanted));
	ck_assert(connects(path));
	close(live);
	unlink(path);
}
END_TEST

START_TEST(a_file_that_is_no_socket_is_left_alone)
{
	char path[128];
	char text[256];
	struct listener_set set;
	path_of(path, sizeof(path), "s");
	FILE *f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fclose(f);
	snprintf(text, sizeof(text), "a: { listen = \"unix:%s\"; echo: {}; };", path);
	ck_assert_int_eq(open_set(&set, NULL, text), -EINVAL);
	ck_assert_ptr_nonnull(strstr(config_errors_line(errors, 0), "is not a socket"));
	ck_assert_int_eq(unlink(path), 0);
}
END_TEST

START_TEST(a_replaced_file_is_not_removed)
{
	char path[128];
	char text[256];
	struct listener_set set;
	path_of(path, sizeof(path), "s");
	snprintf(text, sizeof(text), "a: { listen = \"unix:%s\"; echo: {}; };", path);
	open_first(&set, text);
	/* somebody else puts a file of its own there */
	ck_assert_int_eq(unlink(path), 0);
	FILE *f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fclose(f);
	listeners_close(&set);
	ck_assert_int_eq(unlink(path), 0);
}
END_TEST

START_TEST(passed_sockets_are_found_by_name_and_never_closed)
{
	struct passed_socket at[3] = {{-1, name_web}, {-1, name_other}, {-1, name_web}};
	struct passed_sockets passed = {.at = at, .count = 3};
	struct listener_set donor;
	open_first(&donor, "d: { listen = [ \"127.0.0.1:0\", \"[::1]:0\", \"unix:@usher-test-passed\" ]; echo: {}; };");
	for (int i = 0; i < 3; i++)
		at[i].fd = donor.at[i].socket->fd;
	struct config *config = load("a: { listen = \"systemd:web\"; echo: {}; };");
	struct listener_set set;
	ck_assert_int_eq(listeners_open(&set, config, NULL, &passed, NULL, errors), 0);
	listeners_commit(&set, &set);
	ck_assert_uint_eq(set.count, 2);
	ck_assert(set.at[0].socket->passed && set.at[0].socket->is_tcp);
	ck_assert(!set.at[1].socket->is_tcp);
	listeners_close(&set);
	config_unref(config);
	ck_assert_int_ge(socket_take_error(at[0].fd), 0);

	config = load("a: { listen = \"systemd:nothing\"; echo: {}; };");
	ck_assert_int_eq(listeners_open(&set, config, NULL, &passed, NULL, errors), -EINVAL);
	ck_assert_ptr_nonnull(strstr(config_errors_line(errors, 0), "set FileDescriptorName=nothing"));
	ck_assert_ptr_nonnull(strstr(config_errors_line(errors, 0), "it passed: web other web"));
	config_unref(config);
	listeners_close(&donor);
}
END_TEST

START_TEST(a_passed_socket_that_does_not_fit_is_an_error)
{
	int pair[2];
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	struct passed_socket at[1] = {{pair[0], name_web}};
	struct passed_sockets passed = {.at = at, .count = 1};
	struct config *config = load("a: { listen = \"systemd:web\"; echo: {}; };");
	struct listener_set set;
	ck_assert_int_eq(listeners_open(&set, config, NULL, &passed, NULL, errors), -EINVAL);
	ck_assert_ptr_nonnull(strstr(config_errors_line(errors, 0), "use Accept=no"));
	config_unref(config);
	close(pair[0]);
	close(pair[1]);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("front/listener");
	TCase *c = tcase_create("listener");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, any_address_opens_both_families_at_one_port);
	tcase_add_test(c, ipv6_any_is_ipv6_only);
	tcase_add_test(c, a_taken_port_is_an_error_with_a_way_out);
	tcase_add_test(c, a_reload_keeps_what_stays_and_closes_what_goes);
	tcase_add_test(c, each_free_port_is_a_socket_of_its_own);
	tcase_add_test(c, a_failed_reload_changes_nothing);
	tcase_add_test(c, a_socket_that_goes_makes_way_for_one_at_its_port);
	tcase_add_test(c, one_that_made_way_in_vain_listens_again);
	tcase_add_test(c, a_unix_socket_has_its_mode_and_goes_with_usher);
	tcase_add_test(c, a_stale_socket_is_replaced);
	tcase_add_test(c, a_live_socket_is_an_error_that_says_who);
	tcase_add_test(c, a_file_that_is_no_socket_is_left_alone);
	tcase_add_test(c, a_replaced_file_is_not_removed);
	tcase_add_test(c, passed_sockets_are_found_by_name_and_never_closed);
	tcase_add_test(c, a_passed_socket_that_does_not_fit_is_an_error);
	suite_add_tcase(s, c);
	return suite_run(s);
}
