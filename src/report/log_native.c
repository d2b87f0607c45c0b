/* SPDX-License-Identifier: MIT */
#include "report/log_native.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"

/* A record that came to the journal this much later than it was written says so: the journal's own time is that of its
 * arrival. */
#define DELAY_TOLD_MS 1000

/* syslog's number of "error"; the others follow. */
#define PRIORITY_ERROR 3

static const char *const message_ids[] = {
#define LOG_KIND(name, message_id, ...) [LOG_##name] = message_id,
#include "report/log_kinds.def"
#undef LOG_KIND
};

static void add_value(struct text *to, const char *key, size_t key_bytes, const char *value, size_t bytes)
{
	text_add_bytes(to, key, key_bytes);
	if (memchr(value, '\n', bytes)) {
		unsigned char length[sizeof(uint64_t)];
		for (unsigned i = 0; i < sizeof(length); i++)
			length[i] = (unsigned char)((uint64_t)bytes >> (8 * i));
		text_add(to, "\n");
		text_add_bytes(to, length, sizeof(length));
	} else {
		text_add(to, "=");
	}
	text_add_bytes(to, value, bytes);
	text_add(to, "\n");
}

void log_native_encode(struct text *to, const struct log_entry *e, uint64_t now_us)
{
	uint64_t delay_ms = now_us > e->time_us ? (now_us - e->time_us) / 1000 : 0;

	add_value(to, "MESSAGE", strlen("MESSAGE"), e->message, e->message_bytes);
	/* the facility is "daemon", as systemd gives it to lines on stderr */
	text_printf(to, "PRIORITY=%d\nMESSAGE_ID=%s\nSYSLOG_IDENTIFIER=usherd\nSYSLOG_FACILITY=3\n",
		    (int)e->level + PRIORITY_ERROR, message_ids[e->kind]);
	if (delay_ms >= DELAY_TOLD_MS)
		text_printf(to, "USHER_DELAY_MS=%llu\n", (unsigned long long)delay_ms);
	const char *end = e->fields + e->fields_bytes;
	for (const char *at = e->fields; at < end; at += strlen(at) + 1) {
		const char *value = strchr(at, '=') + 1;
		add_value(to, at, (size_t)(value - 1 - at), value, strlen(value));
	}
}

void log_native_open(struct log_native *n)
{
	if (n->fd < 0)
		n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	n->connected = false;
}

void log_native_close(struct log_native *n)
{
	fd_close(&n->fd);
	n->connected = false;
}

static int connect_to_journal(struct log_native *n)
{
	static const struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = LOG_NATIVE_PATH};

	if (n->fd < 0)
		log_native_open(n);
	if (n->fd < 0 || connect(n->fd, (const struct sockaddr *)&at, sizeof(at)) < 0)
		return -errno;
	n->connected = true;
	return 0;
}

static int send_message(int fd, const struct msghdr *message)
{
	return sendmsg(fd, message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

static int send_file(int fd, int file)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr message = {.msg_control = &control, .msg_controllen = sizeof(control)};

	memset(&control, 0, sizeof(control));
	control.head.cmsg_level = SOL_SOCKET;
	control.head.cmsg_type = SCM_RIGHTS;
	control.head.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.head), &file, sizeof(file));
	return send_message(fd, &message);
}

/* The journal takes such a file only if nobody can change it any more. */
static int send_in_file(int fd, const char *bytes, size_t length)
{
	int file = memfd_create("usherd-log", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r;

	if (file < 0)
		return -errno;
	ssize_t written = write(file, bytes, length);
	if (written < 0 || fcntl(file, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		r = -errno;
	else if ((size_t)written != length)
		r = -ENOMEM;
	else
		r = send_file(fd, file);
	fd_close(&file);
	return r;
}

static int send_bytes(int fd, const char *bytes, size_t length)
{
	/* sendmsg only reads */
	union {
		const char *from;
		void *to;
	} unconst = {.from = bytes};
	struct iovec part = {.iov_base = unconst.to, .iov_len = length};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	int r = send_message(fd, &message);
	return r == -EMSGSIZE ? send_in_file(fd, bytes, length) : r;
}

int log_native_send(struct log_native *n, const char *bytes, size_t length)
{
	bool was_connected = n->connected;
	int r = was_connected ? 0 : connect_to_journal(n);

	if (r == 0)
		r = send_bytes(n->fd, bytes, length);
	if (r == 0 || r == -EAGAIN || !n->connected)
		return r;
	/* the socket that it was connected to may have gone, with a new one in its place */
	n->connected = false;
	if (was_connected && connect_to_journal(n) == 0)
		r = send_bytes(n->fd, bytes, length);
	return r;
}

bool log_native_may_come_back(int error)
{
	switch (-error) {
	case ENOENT:
	case ENOTDIR:
	case ECONNREFUSED:
	case ECONNRESET:
	case ENOTCONN:
	case EPIPE:
	case ENOBUFS:
	case ENOMEM:
	case EMFILE:
	case ENFILE:
		return true;
	default:
		return false;
	}
}
