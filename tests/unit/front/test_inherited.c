/* SPDX-License-Identifier: MIT */
#include "front/inherited.h"

#include <check.h>
#include <errno.h>
#include <netinet/in.h>
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
#include "front/listening.h"
#include "service/service.h"

static char folder[] = "/tmp/usher-inherited-XXXXXX";
static const struct unix_path_id no_file;
static struct inherited_socket at[4];
static struct inherited_sockets set;

static void setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(folder));
	memset(at, 0, sizeof(at));
	set = (struct inherited_sockets){.at = at};
}

static void teardown(void)
{
	for (unsigned i = 0; i < set.count; i++)
		fd_close(&at[i].fd);
	ck_assert_int_eq(rmdir(folder), 0);
}

static struct config *load(const char *where, const char *more)
{
	char text[1024];
	snprintf(text, sizeof(text), "listeners: { a: { listen = \"%s\"; %s echo: {}; }; };\n", where, more);
	struct config *config = NULL;
	struct config_errors *errors = config_errors_create();
	int failed = config_load_text("test", text, strlen(text), service_groups(), &config, errors);
	if (failed)
		config_errors_print(errors, stderr);
	config_errors_destroy(errors);
	ck_assert_int_eq(failed, 0);
	return config;
}

/* Which of the set `where` matches; -1: none. */
static int match(const char *where, const char *more)
{
	for (unsigned i = 0; i < set.count; i++)
		at[i].wanted = false;
	struct config *config = load(where, more);
	inherited_match(&set, config);
	int found = -1;
	unsigned matched = 0;
	for (unsigned i = 0; i < set.count; i++) {
		if (!at[i].wanted)
			continue;
		matched++;
		found = (int)i;
	}
	ck_assert_uint_le(matched, 1);
	config_unref(config);
	return found;
}

static struct inherited_socket *put(int fd)
{
	inherited_init(&at[set.count], fd, &no_file);
	return &at[set.count++];
}

static int open_ip(int family, int type, int protocol, const char *address, uint16_t port, bool listens)
{
	struct netaddr a;
	ck_assert_int_eq(netaddr_parse_ip(&a, address, strlen(address), port), 0);
	int fd = socket(family, type, protocol);
	if (fd < 0)
		return -1;
	if (family == AF_INET6)
		ck_assert_int_eq(socket_set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1), 0);
	ck_assert_int_eq(bind(fd, &a.u.any, a.length), 0);
	if (listens)
		ck_assert_int_eq(listen(fd, 1), 0);
	return fd;
}

static void where_of(const struct inherited_socket *s, char *to, size_t size)
{
	struct text t;
	text_init(&t, to, size);
	netaddr_add_text(&t, &s->address);
}

START_TEST(found_by_its_address)
{
	char where[64];
	where_of(put(open_ip(AF_INET, SOCK_STREAM, 0, "127.0.0.1", 0, true)), where, sizeof(where));
	char six[64];
	where_of(put(open_ip(AF_INET6, SOCK_STREAM, 0, "::1", 0, true)), six, sizeof(six));
	ck_assert_int_eq(match(where, ""), 0);
	ck_assert_int_eq(match(six, ""), 1);
	ck_assert_int_eq(match("127.0.0.2:1", ""), -1);
	ck_assert_int_eq(match("127.0.0.1:0", ""), -1);
	ck_assert_int_eq(match("systemd:web", ""), -1);
	char other[64];
	snprintf(other, sizeof(other), "127.0.0.2:%u", netaddr_port(&at[0].address));
	ck_assert_int_eq(match(other, ""), -1);
	snprintf(other, sizeof(other), "*:%u", netaddr_port(&at[0].address));
	ck_assert_int_eq(match(other, ""), -1);
}
END_TEST

START_TEST(a_socket_of_all_addresses)
{
	put(open_ip(AF_INET, SOCK_STREAM, 0, "0.0.0.0", 0, true));
	char where[64];
	snprintf(where, sizeof(where), "*:%u", netaddr_port(&at[0].address));
	ck_assert_int_eq(match(where, ""), 0);
	snprintf(where, sizeof(where), "0.0.0.0:%u", netaddr_port(&at[0].address));
	ck_assert_int_eq(match(where, ""), 0);
	snprintf(where, sizeof(where), "[::]:%u", netaddr_port(&at[0].address));
	ck_assert_int_eq(match(where, ""), -1);
	/* bound to an interface it is another one */
	snprintf(where, sizeof(where), "0.0.0.0%%lo:%u", netaddr_port(&at[0].address));
	ck_assert_int_eq(match(where, ""), -1);
}
END_TEST

START_TEST(what_usher_would_not_open_is_unusable)
{
	ck_assert(put(open_ip(AF_INET, SOCK_STREAM, 0, "127.0.0.1", 0, true))->usable);
	ck_assert(!put(open_ip(AF_INET, SOCK_STREAM, 0, "127.0.0.1", 0, false))->usable);
	ck_assert(!put(open_ip(AF_INET, SOCK_DGRAM, 0, "127.0.0.1", 0, false))->usable);
	int ends[2];
	ck_assert_int_eq(pipe(ends), 0);
	fd_close(&ends[1]);
	ck_assert(!put(ends[0])->usable);
}
END_TEST

START_TEST(another_protocol_is_unusable)
{
	int fd = open_ip(AF_INET, SOCK_STREAM, IPPROTO_MPTCP, "127.0.0.1", 0, true);
	if (fd >= 0)
		ck_assert(!put(fd)->usable);
	int both = socket(AF_INET6, SOCK_STREAM, 0);
	struct netaddr a;
	netaddr_any(&a, AF_INET6, 0);
	ck_assert_int_eq(socket_set_int(both, IPPROTO_IPV6, IPV6_V6ONLY, 0), 0);
	ck_assert_int_eq(bind(both, &a.u.any, a.length), 0);
	ck_assert_int_eq(listen(both, 1), 0);
	ck_assert(!put(both)->usable);
}
END_TEST

START_TEST(a_socket_that_was_shut_down_is_unusable)
{
	int fd = open_ip(AF_INET, SOCK_STREAM, 0, "127.0.0.1", 0, true);
	socket_stop_listening(fd);
	ck_assert(!put(fd)->usable);
}
END_TEST

START_TEST(a_size_that_was_set_does_not_fit_the_kernels_choice)
{
	int fd = open_ip(AF_INET, SOCK_STREAM, 0, "127.0.0.1", 0, true);
	ck_assert_int_eq(socket_set_int(fd, SOL_SOCKET, SO_RCVBUF, 65536), 0);
	char where[64];
	where_of(put(fd), where, sizeof(where));
	ck_assert_int_eq(match(where, ""), -1);
	ck_assert_int_eq(match(where, "send_buffer = \"64KiB\";"), -1);
	ck_assert_int_eq(match(where, "receive_buffer = \"128KiB\";"), 0);
}
END_TEST

START_TEST(one_endpoint_gets_one_socket)
{
	int fd = open_ip(AF_INET, SOCK_STREAM, 0, "127.0.0.1", 0, true);
	char where[64];
	where_of(put(fd), where, sizeof(where));
	put(dup(fd));
	ck_assert_int_eq(match(where, ""), 0);
	struct config *config = load(where, "");
	ck_assert_ptr_eq(inherited_find(&set, &at[0].address, "", config->listeners), &at[0]);
	/* once it is taken there is none */
	fd_close(&at[0].fd);
	ck_assert_ptr_null(inherited_find(&set, &at[1].address, "", config->listeners));
	ck_assert_ptr_null(inherited_find(NULL, &at[1].address, "", config->listeners));
	config_unref(config);
}
END_TEST

static int open_unix(const char *path, struct unix_path_id *id)
{
	struct netaddr a;
	ck_assert_int_eq(netaddr_parse_unix(&a, path, strlen(path)), 0);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(fd, &a.u.any, a.length), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	struct stat st;
	ck_assert_int_eq(stat(path, &st), 0);
	*id = (struct unix_path_id){.device = st.st_dev, .inode = st.st_ino};
	return fd;
}

START_TEST(a_unix_socket_is_one_with_its_file)
{
	char path[64];
	char where[80];
	snprintf(path, sizeof(path), "%s/a", folder);
	snprintf(where, sizeof(where), "unix:%s", path);
	struct unix_path_id id;
	int fd = open_unix(path, &id);
	inherited_init(&at[set.count++], fd, &id);
	ck_assert_int_eq(match(where, ""), 0);
	/* without knowledge of its file it is not trusted */
	put(dup(fd));
	at[0].usable = false;
	ck_assert_int_eq(match(where, ""), -1);
	at[0].usable = true;
	/* the file stays for a moment, so that its inode is not used again */
	char other[64];
	snprintf(other, sizeof(other), "%s/b", folder);
	ck_assert_int_eq(rename(path, other), 0);
	ck_assert_int_eq(match(where, ""), -1);
	struct unix_path_id another;
	int stranger = open_unix(path, &another);
	ck_assert_int_eq(match(where, ""), -1);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(unlink(other), 0);
	fd_close(&stranger);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("front/inherited");
	TCase *c = tcase_create("inherited");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, found_by_its_address);
	tcase_add_test(c, a_socket_of_all_addresses);
	tcase_add_test(c, what_usher_would_not_open_is_unusable);
	tcase_add_test(c, another_protocol_is_unusable);
	tcase_add_test(c, a_socket_that_was_shut_down_is_unusable);
	tcase_add_test(c, a_size_that_was_set_does_not_fit_the_kernels_choice);
	tcase_add_test(c, one_endpoint_gets_one_socket);
	tcase_add_test(c, a_unix_socket_is_one_with_its_file);
	suite_add_tcase(s, c);
	return suite_run(s);
}
