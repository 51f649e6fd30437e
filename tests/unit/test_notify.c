#include "base/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/clk.h"
#include "unit.h"

static int manager = -1;
static char got[1024];

/* A notify socket in the abstract namespace, under a name that the kernel picks. */
static void be_manager(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	socklen_t n = sizeof a;
	char name[64] = "@";

	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	ck_assert_int_ge(manager, 0);
	ck_assert_int_eq(bind(manager, (struct sockaddr *)&a, sizeof a.sun_family), 0);
	ck_assert_int_eq(getsockname(manager, (struct sockaddr *)&a, &n), 0);
	(void)snprintf(name + 1, sizeof name - 1, "%.*s",
		(int)(n - offsetof(struct sockaddr_un, sun_path) - 1), a.sun_path + 1);
	ck_assert_int_eq(setenv("NOTIFY_SOCKET", name, 1), 0);
}

static const char *received(void)
{
	ssize_t n = recv(manager, got, sizeof got - 1, 0);

	got[n > 0 ? n : 0] = '\0';
	return got;
}

START_TEST(messages)
{
	be_manager();
	notify_ready();
	ck_assert_str_eq(received(), "READY=1");
	notify_stopping();
	ck_assert_str_eq(received(), "STOPPING=1");
	notify_watchdog_ping();
	ck_assert_str_eq(received(), "WATCHDOG=1");
	notify_extend_timeout(5000000);
	ck_assert_str_eq(received(), "EXTEND_TIMEOUT_USEC=5000000");
	ck_assert_int_eq(notify_store("clients", (int[]){ manager }, 1), 0);
	ck_assert_str_eq(received(), "FDSTORE=1\nFDNAME=clients\nFDPOLL=0");
	notify_store_remove("clients");
	ck_assert_str_eq(received(), "FDSTOREREMOVE=1\nFDNAME=clients");
	ck_assert(notify_offered());
	notify_status("primary of \"%s\"\nREADY=1", "engine");
	ck_assert_str_eq(received(), "STATUS=primary of \"engine\" READY=1");
}
END_TEST

START_TEST(reloading_bears_the_monotonic_time)
{
	uint64_t before = clk_mono_ns() / NS_PER_US, us;

	be_manager();
	notify_reloading();
	ck_assert_int_eq(sscanf(received(), "RELOADING=1\nMONOTONIC_USEC=%" SCNu64, &us), 1);
	ck_assert_uint_ge(us, before);
	ck_assert_uint_le(us, clk_mono_ns() / NS_PER_US);
}
END_TEST

START_TEST(nothing_happens_without_a_manager)
{
	uint64_t ns;

	ck_assert_int_eq(unsetenv("NOTIFY_SOCKET"), 0);
	ck_assert_int_eq(unsetenv("WATCHDOG_USEC"), 0);
	notify_ready();
	notify_status("x");
	ck_assert(!notify_offered());
	ck_assert_int_eq(notify_store("x", (int[]){ 0 }, 1), -ENOENT);
	ck_assert(!notify_watchdog(&ns));
}
END_TEST

START_TEST(watchdog_interval_is_half)
{
	char pid[32];
	uint64_t ns;

	(void)snprintf(pid, sizeof pid, "%d", (int)getpid());
	ck_assert_int_eq(setenv("WATCHDOG_PID", pid, 1), 0);
	ck_assert_int_eq(setenv("WATCHDOG_USEC", "3000000", 1), 0);
	ck_assert(notify_watchdog(&ns));
	ck_assert_uint_eq(ns, 1500 * NS_PER_MS);
}
END_TEST

static int listener(int family)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(family, SOCK_STREAM, 0);

	must(fd >= 0);
	if (family == AF_INET)
		must(bind(fd, (struct sockaddr *)&in, sizeof in) == 0);
	else
		must(bind(fd, (struct sockaddr *)&un, sizeof un.sun_family) == 0);
	must(listen(fd, 1) == 0);
	return fd;
}

/* Puts the descriptors where a manager would: from 3 on. */
static void inherit(const int *fds, int n, const char *names)
{
	int high[8];
	char text[32];

	for (int i = 0; i < n; i++) {
		high[i] = fcntl(fds[i], F_DUPFD, 100);
		must(high[i] >= 0);
	}
	for (int i = 0; i < n; i++)
		must(dup2(high[i], 3 + i) == 3 + i);
	(void)snprintf(text, sizeof text, "%d", (int)getpid());
	must(setenv("LISTEN_PID", text, 1) == 0);
	(void)snprintf(text, sizeof text, "%d", n);
	must(setenv("LISTEN_FDS", text, 1) == 0);
	must(setenv("LISTEN_FDNAMES", names, 1) == 0);
}

/* In a process of its own: libcheck has its pipe where the manager's descriptors begin. */
static void take_by_name_and_kind(void)
{
	int fds[] = { listener(AF_INET), listener(AF_UNIX), listener(AF_INET),
		socket(AF_INET, SOCK_STREAM, 0) };
	struct notify_fds set = NOTIFY_FDS_NULL;
	int fd = -1, other = -1;
	const char *name;

	inherit(fds, 4, "gateway:control:gateway:client");
	must(notify_fds_init(&set) == 0);
	must(set.n_fds == 4);
	must(!getenv("LISTEN_FDS"));

	must(notify_fds_others(&set, "control", &name) == 3 && strcmp(name, "gateway") == 0);
	must(notify_fds_others(&set, "gateway", &name) == 2 && strcmp(name, "control") == 0);
	must(notify_fds_take(&set, "nobody", NOTIFY_ANY, &fd) == NOTIFY_E_NONE);
	must(notify_fds_take(&set, "control", NOTIFY_LISTEN_INET, &fd) == NOTIFY_E_KIND);
	must(notify_fds_take(&set, "control", NOTIFY_LISTEN_UNIX, &fd) == 0);
	must(fd == 4);
	must(fcntl(fd, F_GETFD) == FD_CLOEXEC);
	must(fcntl(fd, F_GETFL) & O_NONBLOCK);
	must(notify_fds_take(&set, "control", NOTIFY_LISTEN_UNIX, &other) == NOTIFY_E_NONE);
	must(other == -1);

	must(notify_fds_take(&set, "gateway", NOTIFY_LISTEN_INET, &other) == 0);
	must(other == 3);
	must(notify_fds_take(&set, "gateway", NOTIFY_LISTEN_INET, &other) == 0);
	must(other == 5);
	must(notify_fds_take(&set, "client", NOTIFY_LISTEN_INET, &other) ==
		NOTIFY_E_KIND); /* not listening */
	must(notify_fds_others(&set, "client", &name) == 0 && !name);
	notify_fds_deinit(&set);
	must(fcntl(6, F_GETFD) == -1); /* what nobody took is closed */
	must(fcntl(4, F_GETFD) >= 0);
}

START_TEST(sockets_are_taken_by_name_and_kind)
{
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		take_by_name_and_kind();
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(no_sockets_is_an_empty_set)
{
	struct notify_fds set = NOTIFY_FDS_NULL;
	int fd;

	ck_assert_int_eq(unsetenv("LISTEN_FDS"), 0);
	ck_assert_int_eq(notify_fds_init(&set), 0);
	ck_assert_int_eq(notify_fds_take(&set, "x", NOTIFY_ANY, &fd), NOTIFY_E_NONE);
	notify_fds_deinit(&set);
}
END_TEST

UNIT_MAIN("notify", tcase_add_test(tc, messages); tcase_add_test(tc, reloading_bears_the_monotonic_time);
	  tcase_add_test(tc, nothing_happens_without_a_manager);
	  tcase_add_test(tc, watchdog_interval_is_half);
	  tcase_add_test(tc, sockets_are_taken_by_name_and_kind);
	  tcase_add_test(tc, no_sockets_is_an_empty_set))
