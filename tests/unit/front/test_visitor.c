/* SPDX-License-Identifier: MIT */
#include "front/visitor.h"

#include <check.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../suite.h"
#include "base/attr.h"

static const struct sockaddr_un local = {.sun_family = AF_UNIX};
static struct visitor v;

static void from_local(void)
{
	memset(&v, 0xee, sizeof(v));
	visitor_from_address(&v, (const struct sockaddr *)&local);
}

START_TEST(an_address_tells_nothing_of_who_it_is)
{
	from_local();
	ck_assert_ptr_eq(v.address, (const struct sockaddr *)&local);
	ck_assert(!v.has_credentials);
	ck_assert_uint_eq(v.group_count, 0);
	ck_assert_str_eq(v.unit, "");
}
END_TEST

static const struct {
	const char *cgroup;
	const char *unit; /* NULL: none */
} units[] = {
	{"/system.slice/backup.service", "backup.service"},
	{"/system.slice/backup.service\n", "backup.service"},
	{"/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service"},
	{"/init.scope", "init.scope"},
	/* as systemd escapes names that cgroups cannot have */
	{"/system.slice/_memory.service", "memory.service"},
	{"/system.slice/__odd.service", "_odd.service"},
	{"/_odd.slice/system_d.service", "system_d.service"},
	{"/system.slice/_.service", NULL},
	{"/user.slice/user-1000.slice/session-3.scope", "session-3.scope"},
	/* below a unit is what it, or whoever it is for, has made: that may have any name */
	{"/system.slice/docker.service/payload", "docker.service"},
	{"/system.slice/docker.service/backup.service", "docker.service"},
	{"/user.slice/user-1000.slice/user@1000.service/app.slice/backup.service", "user@1000.service"},
	{"/machine.slice/box.scope/system.slice/backup.service", "box.scope"},
	/* a unit stands in slices alone */
	{"/backup/backup.service", NULL},
	{"/../other/backup.service", NULL},
	{"/../backup.service", NULL},
	{"/", NULL},
	{"", NULL},
	{"\n", NULL},
	{"/system.slice", NULL},
	{"/system.slice/.service", NULL},
	{"/system.slice/service", NULL},
	{"/system.slice/backup.service (deleted)", NULL},
	{"/system.slice\n/backup.service", NULL},
};

START_TEST(a_unit_is_the_outermost_of_a_cgroup)
{
	char unit[VISITOR_UNIT_BYTES] = "untouched";
	bool found = visitor_unit_of(units[_i].cgroup, unit);
	ck_assert_msg(found == (units[_i].unit != NULL), "%s: %s", units[_i].cgroup, unit);
	ck_assert_str_eq(unit, units[_i].unit ? units[_i].unit : "untouched");
}
END_TEST

START_TEST(a_path_may_tell_nothing_of_the_unit)
{
	ck_assert(visitor_tells_unit("/system.slice/backup.service\n"));
	ck_assert(visitor_tells_unit("/\n"));
	ck_assert(visitor_tells_unit("/..slice/..service"));
	ck_assert(!visitor_tells_unit("/system.slice/backup.service (deleted)\n"));
	ck_assert(!visitor_tells_unit("/../backup.service\n"));
	ck_assert(!visitor_tells_unit("/../../user.slice/user-1000.slice/user@1000.service\n"));
	ck_assert(!visitor_tells_unit("/..\n"));
}
END_TEST

START_TEST(a_unit_has_a_name_that_fits)
{
	char cgroup[512];
	char unit[VISITOR_UNIT_BYTES] = "untouched";
	memset(cgroup, 'x', sizeof(cgroup));
	memcpy(cgroup, "/", 1);
	strcpy(cgroup + 1 + VISITOR_UNIT_BYTES - 1 - strlen(".service"), ".service");
	ck_assert(visitor_unit_of(cgroup, unit));
	ck_assert_uint_eq(strlen(unit), VISITOR_UNIT_BYTES - 1);
	ck_assert_str_eq(unit, cgroup + 1);

	memset(cgroup, 'x', sizeof(cgroup));
	memcpy(cgroup, "/", 1);
	strcpy(cgroup + 1 + VISITOR_UNIT_BYTES - strlen(".service"), ".service");
	strcpy(unit, "untouched");
	ck_assert(!visitor_unit_of(cgroup, unit));
	ck_assert_str_eq(unit, "untouched");
}
END_TEST

START_TEST(a_peer_is_who_made_the_socket)
{
	int fds[2];
	gid_t groups[VISITOR_GROUPS_MAX];
	int count = getgroups(VISITOR_GROUPS_MAX, groups);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	from_local();
	visitor_ask(&v, fds[0], false);
	ck_assert(v.has_credentials);
	ck_assert_uint_eq(v.uid, geteuid());
	ck_assert_uint_eq(v.gid, getegid());
	ck_assert_int_eq((int)v.group_count, count);
	ck_assert(!v.groups_hidden);
	ck_assert_int_eq(memcmp(v.groups, groups, sizeof(*groups) * (size_t)count), 0);
	ck_assert_str_eq(v.unit, "");
	close(fds[0]);
	close(fds[1]);
}
END_TEST

/* The unit that this process runs in, if any, by the same reading. */
static void own_unit(char to[VISITOR_UNIT_BYTES])
{
	char line[4096];
	FILE *file = fopen("/proc/self/cgroup", "r");
	ck_assert_ptr_nonnull(file);
	to[0] = '\0';
	while (fgets(line, sizeof(line), file))
		if (strncmp(line, "0::", 3) == 0)
			(void)visitor_unit_of(line + 3, to);
	fclose(file);
}

START_TEST(a_peer_s_unit_is_asked_for_when_it_is_wanted)
{
	int fds[2];
	char unit[VISITOR_UNIT_BYTES];
	own_unit(unit);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	from_local();
	visitor_ask(&v, fds[0], true);
	ck_assert_str_eq(v.unit, unit);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

/* The connection of a child that is gone, and was waited for. Root's child becomes `uid`, in `group_count` groups. */
static int accept_from_the_gone(uid_t uid, int group_count)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	socklen_t length = sizeof(sa_family_t);
	int listening = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(listening, (struct sockaddr *)&name, length), 0); /* a name that is free */
	length = sizeof(name);
	ck_assert_int_eq(getsockname(listening, (struct sockaddr *)&name, &length), 0);
	ck_assert_int_eq(listen(listening, 1), 0);
	pid_t child = fork();
	if (child == 0) {
		gid_t groups[1000];
		for (int i = 0; i < group_count; i++)
			groups[i] = (gid_t)(5000 + i);
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);
		if (geteuid() == 0 && (setgroups((size_t)group_count, groups) != 0 || setuid(uid) != 0))
			_exit(1);
		_exit(connect(fd, (struct sockaddr *)&name, length) == 0 ? 0 : 1);
	}
	int status;
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	int fd = accept(listening, NULL, NULL);
	ck_assert_int_ge(fd, 0);
	close(listening);
	return fd;
}

START_TEST(of_a_peer_that_is_gone_the_unit_is_not_told)
{
	uid_t uid = geteuid() == 0 ? 4711 : geteuid();
	int fd = accept_from_the_gone(uid, 0);
	from_local();
	visitor_ask(&v, fd, true);
	/* the kernel still knows who it was, but its process id may be another's by now */
	ck_assert(v.has_credentials);
	ck_assert_uint_eq(v.uid, uid);
	ck_assert_str_eq(v.unit, "");
	ck_assert(v.unit_hidden);
	from_local();
	visitor_ask(&v, fd, false);
	ck_assert(!v.unit_hidden); /* nobody asked */
	close(fd);
}
END_TEST

/* Makes a cgroup for this process's next child. False: it may not, or there is no unified hierarchy. */
static bool make_cgroup(char *path, size_t size)
{
	char line[1024];
	char at[512] = "";
	FILE *mounts = fopen("/proc/self/mounts", "r");
	while (mounts && fgets(line, sizeof(line), mounts)) {
		char type[64];
		char where[512];
		if (sscanf(line, "%*s %511s %63s", where, type) == 2 && strcmp(type, "cgroup2") == 0)
			strcpy(at, where);
	}
	if (mounts)
		fclose(mounts);
	snprintf(path, size, "%s/usher-test-%d.service", at, (int)getpid());
	return geteuid() == 0 && at[0] && mkdir(path, 0755) == 0;
}

#define MAY_NOT_ENTER 77

/* Enters the cgroup, connects, and ends. */
static void connect_from(const char *cgroup, const struct sockaddr_un *to, socklen_t length)
{
	char path[700];
	snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	FILE *procs = fopen(path, "w");
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (!procs || fputs("0", procs) < 0 || fclose(procs) != 0)
		_exit(MAY_NOT_ENTER);
	_exit(connect(fd, (const struct sockaddr *)to, length) == 0 ? 0 : 1);
}

START_TEST(of_a_cgroup_that_was_removed_the_unit_is_not_told)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	socklen_t length = sizeof(sa_family_t);
	siginfo_t ended;
	char cgroup[600];
	if (!make_cgroup(cgroup, sizeof(cgroup)))
		return;
	int listening = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(listening, (struct sockaddr *)&name, length), 0);
	length = sizeof(name);
	ck_assert_int_eq(getsockname(listening, (struct sockaddr *)&name, &length), 0);
	ck_assert_int_eq(listen(listening, 1), 0);
	pid_t child = fork();
	if (child == 0)
		connect_from(cgroup, &name, length);
	/* not waited for: it stays where it was */
	int failed = waitid(P_PID, (id_t)child, &ended, WEXITED | WNOWAIT);
	failed |= rmdir(cgroup);
	ck_assert_int_eq(failed, 0);
	if (ended.si_status != MAY_NOT_ENTER) {
		ck_assert_int_eq(ended.si_status, 0);
		int fd = accept(listening, NULL, NULL);
		from_local();
		visitor_ask(&v, fd, true);
		ck_assert(v.has_credentials);
		ck_assert_str_eq(v.unit, "");
		ck_assert(v.unit_hidden);
		close(fd);
	}
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
	close(listening);
}
END_TEST

START_TEST(who_is_in_many_groups_is_in_the_first_of_them)
{
	if (geteuid() != 0)
		return; /* only root joins groups as it likes */
	static const int counts[] = {VISITOR_GROUPS_MAX, VISITOR_GROUPS_MAX + 1, 1000};
	int fd = accept_from_the_gone(4711, counts[_i]);
	from_local();
	visitor_ask(&v, fd, false);
	ck_assert(v.has_credentials);
	ck_assert_uint_eq(v.group_count, VISITOR_GROUPS_MAX);
	for (unsigned i = 0; i < VISITOR_GROUPS_MAX; i++)
		ck_assert_uint_eq(v.groups[i], 5000 + i);
	ck_assert(v.groups_hidden == (counts[_i] > VISITOR_GROUPS_MAX));
	close(fd);
}
END_TEST

START_TEST(what_is_no_unix_socket_has_no_credentials)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	from_local();
	visitor_ask(&v, fd, true);
	ck_assert(!v.has_credentials);
	ck_assert_uint_eq(v.group_count, 0);
	ck_assert_str_eq(v.unit, "");
	close(fd);
	/* nor has one that nobody is at the other end of */
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	from_local();
	visitor_ask(&v, fd, true);
	ck_assert(!v.has_credentials);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("front/visitor");
	TCase *c = tcase_create("visitor");
	tcase_add_test(c, an_address_tells_nothing_of_who_it_is);
	tcase_add_loop_test(c, a_unit_is_the_outermost_of_a_cgroup, 0, (int)ARRAY_LEN(units));
	tcase_add_test(c, a_path_may_tell_nothing_of_the_unit);
	tcase_add_test(c, a_unit_has_a_name_that_fits);
	tcase_add_test(c, a_peer_is_who_made_the_socket);
	tcase_add_test(c, a_peer_s_unit_is_asked_for_when_it_is_wanted);
	tcase_add_test(c, of_a_peer_that_is_gone_the_unit_is_not_told);
	tcase_add_test(c, of_a_cgroup_that_was_removed_the_unit_is_not_told);
	tcase_add_loop_test(c, who_is_in_many_groups_is_in_the_first_of_them, 0, 3);
	tcase_add_test(c, what_is_no_unix_socket_has_no_credentials);
	suite_add_tcase(s, c);
	return suite_run(s);
}
