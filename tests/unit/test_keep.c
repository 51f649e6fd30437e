/* Clients over a restart: the note, and the way to the service manager and back. */
#include "gateway/keep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/notify.h"
#include "unit.h"

/* -------------------------------------------------------------------------------------------------------- the note */

static void add(struct keep *k, int fd, const char *state)
{
	uint8_t *copy = state ? (uint8_t *)strdup(state) : NULL;

	ck_assert_int_eq(keep_add(k, fd, copy, state ? strlen(state) : 0), 0);
}

static struct keep example(void)
{
	struct keep k = KEEP_NULL;

	k.engines = calloc(2, sizeof *k.engines);
	ck_assert_ptr_nonnull(k.engines);
	k.n_engines = 2;
	k.engines[0] = (struct kept_engine){ .name = "engine",
		.target = { .cluster = 7, .epoch = 12, .node = "P1", .address = "127.0.0.1:8081", .run = 99, .n_nodes = 2,
			.nodes = { { "P1", "127.0.0.1:8081" }, { "S1", "127.0.0.1:8082" } } } };
	k.engines[1] = (struct kept_engine){ .name = "other" };
	add(&k, -1, "state of one");
	add(&k, -1, NULL);
	add(&k, -1, "and of another");
	for (size_t i = 0; i < k.n_clients; i++)
		k.clients[i].cookie = 1000 + i;
	return k;
}

static void encode(const struct keep *k, struct buf *out)
{
	ck_assert_int_eq(keep_encode(k, out), 0);
}

static struct bytes all_of(const struct buf *b)
{
	return (struct bytes){ buf_head(b), buf_len(b) };
}

static void same(const struct keep *a, const struct keep *b)
{
	ck_assert_uint_eq(a->n_clients, b->n_clients);
	ck_assert_uint_eq(a->n_engines, b->n_engines);
	for (size_t i = 0; i < a->n_clients; i++) {
		ck_assert_uint_eq(a->clients[i].cookie, b->clients[i].cookie);
		ck_assert_uint_eq(a->clients[i].bytes, b->clients[i].bytes);
		if (a->clients[i].bytes)
			ck_assert_mem_eq(a->clients[i].state, b->clients[i].state, a->clients[i].bytes);
		ck_assert_int_eq(b->clients[i].fd, -1);
	}
	for (size_t i = 0; i < a->n_engines; i++)
		ck_assert_mem_eq(&a->engines[i], &b->engines[i], sizeof a->engines[i]);
}

START_TEST(note_says_what_was_written)
{
	struct keep k = example(), back;
	struct buf text = BUF_NULL;

	encode(&k, &text);
	ck_assert_int_eq(keep_decode(all_of(&text), &back), 0);
	same(&k, &back);
	keep_deinit(&back);
	keep_deinit(&k);
	buf_deinit(&text);
}
END_TEST

START_TEST(empty_note)
{
	struct keep k = KEEP_NULL, back;
	struct buf text = BUF_NULL;

	encode(&k, &text);
	ck_assert_int_eq(keep_decode(all_of(&text), &back), 0);
	ck_assert_uint_eq(back.n_clients, 0);
	keep_deinit(&back);
	buf_deinit(&text);
}
END_TEST

/* Each on the heap and as long as it is, for the sanitizer. */
static int decode_copy(const struct buf *text, size_t n, size_t flip_bit)
{
	uint8_t *copy = malloc(n ? n : 1);
	struct keep back;
	int r;

	ck_assert_ptr_nonnull(copy);
	if (n)
		memcpy(copy, buf_head(text), n);
	if (flip_bit / 8 < n)
		copy[flip_bit / 8] ^= (uint8_t)(1 << flip_bit % 8);
	r = keep_decode((struct bytes){ copy, n }, &back);
	if (r == 0)
		keep_deinit(&back);
	free(copy);
	return r;
}

START_TEST(what_is_cut_or_changed_is_refused)
{
	struct keep k = example();
	struct buf text = BUF_NULL;

	encode(&k, &text);
	for (size_t n = 0; n < buf_len(&text); n++)
		ck_assert_int_eq(decode_copy(&text, n, SIZE_MAX), n < 36 ? KEEP_E_FOREIGN : KEEP_E_DAMAGED);
	for (size_t bit = 0; bit < 8 * buf_len(&text); bit++)
		ck_assert_int_eq(decode_copy(&text, buf_len(&text), bit), bit < 96 ? KEEP_E_FOREIGN : KEEP_E_DAMAGED);
	ck_assert_int_eq(buf_put(&text, "x", 1), 0);
	ck_assert_int_eq(decode_copy(&text, buf_len(&text), SIZE_MAX), KEEP_E_DAMAGED);
	keep_deinit(&k);
	buf_deinit(&text);
}
END_TEST

/* ------------------------------------------------------------------------------- to the manager and back, in one process */

static int manager = -1;
static int stored[64], n_stored;
static char heard[64][128];
static int n_heard;

static void be_manager(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	socklen_t n = sizeof a;
	char name[64] = "@";

	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	must(manager >= 0 && bind(manager, (struct sockaddr *)&a, sizeof a.sun_family) == 0 &&
		getsockname(manager, (struct sockaddr *)&a, &n) == 0);
	(void)snprintf(name + 1, sizeof name - 1, "%.*s", (int)(n - offsetof(struct sockaddr_un, sun_path) - 1),
		a.sun_path + 1);
	must(setenv("NOTIFY_SOCKET", name, 1) == 0);
}

/* Reads one message; descriptors of FDSTORE stay, others (a barrier's) are closed. */
static void hear(void)
{
	char control[CMSG_SPACE(64 * sizeof(int))], *text = heard[n_heard++];
	struct iovec iov = { text, sizeof heard[0] - 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	ssize_t n = recvmsg(manager, &m, MSG_CMSG_CLOEXEC);

	must(n > 0);
	text[n] = '\0';
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		int fds[64], count = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));

		if (c->cmsg_type != SCM_RIGHTS)
			continue;
		memcpy(fds, CMSG_DATA(c), (size_t)count * sizeof(int));
		for (int i = 0; i < count; i++) {
			if (strncmp(text, "FDSTORE=1\n", 10) == 0)
				stored[n_stored++] = fds[i];
			else
				(void)close(fds[i]);
		}
	}
}

static void pass_on(void)
{
	char names[1024] = "", text[16];

	for (int i = 0; i < n_stored; i++) {
		int high = fcntl(stored[i], F_DUPFD, 900);

		must(high >= 0);
		must(dup2(high, 3 + i) == 3 + i);
		(void)close(high);
		strcat(names, i ? ":" KEEP_FD_NAME : KEEP_FD_NAME);
	}
	(void)snprintf(text, sizeof text, "%d", (int)getpid());
	must(setenv("LISTEN_PID", text, 1) == 0);
	(void)snprintf(text, sizeof text, "%d", n_stored);
	must(setenv("LISTEN_FDS", text, 1) == 0);
	must(setenv("LISTEN_FDNAMES", names, 1) == 0);
}

#define PAIRS 270 /* more than one message takes */

/* The former life: a process of its own. Its sockets' other ends stay with the parent, whose copies of these are closed. */
static void former(int (*pairs)[2])
{
	struct keep k = KEEP_NULL;
	char state[32];

	for (int i = 0; i < PAIRS; i++) {
		(void)snprintf(state, sizeof state, "client %d", i);
		must(keep_add(&k, pairs[i][1], (uint8_t *)strdup(state), strlen(state)) == 0);
	}
	must(keep_store(&k) == 0);
	keep_deinit(&k);
	_exit(0);
}

/* What comes back is each socket with its own state. */
static void check_taken(int (*pairs)[2])
{
	struct notify_fds fds = NOTIFY_FDS_NULL;
	struct keep_taken taken;
	struct keep k;

	pass_on();
	must(notify_fds_init(&fds) == 0);
	must(keep_take(&fds, &k, &taken) == 0);
	must(taken.n_lost == 0 && taken.error == 0);
	must(k.n_clients == PAIRS);
	for (size_t i = 0; i < PAIRS; i++) {
		char want[32], got[8] = "";

		(void)snprintf(want, sizeof want, "client %zu", i);
		must(k.clients[i].bytes == strlen(want) && memcmp(k.clients[i].state, want, strlen(want)) == 0);
		must(write(pairs[i][0], "hello", 5) == 5);
		must(recv(k.clients[i].fd, got, sizeof got, MSG_DONTWAIT) == 5);
	}
	keep_deinit(&k);
	notify_fds_deinit(&fds);
	hear();
	must(strcmp(heard[n_heard - 1], "FDSTOREREMOVE=1\nFDNAME=" KEEP_FD_NAME) == 0);
}

static void over_a_restart(void)
{
	static int pairs[PAIRS][2];
	int status;
	pid_t pid;

	be_manager();
	for (int i = 0; i < PAIRS; i++)
		must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pairs[i]) == 0);
	pid = fork();
	must(pid >= 0);
	if (pid == 0)
		former(pairs);
	hear();
	must(strcmp(heard[0], "FDSTORE=1\nFDNAME=" KEEP_FD_NAME "\nFDPOLL=0") == 0);
	must(n_stored > 0 && n_stored <= KEEP_BAGS_MAX);
	hear();
	must(strncmp(heard[1], "BARRIER=1", 9) == 0);
	must(waitpid(pid, &status, 0) == pid && status == 0);
	for (int i = 0; i < PAIRS; i++)
		(void)close(pairs[i][1]);
	check_taken(pairs);
}

/* In a process of its own: libcheck has its pipe where the manager's descriptors begin. */
START_TEST(sockets_come_back_with_their_state)
{
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		over_a_restart();
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(nothing_was_kept)
{
	struct notify_fds fds = NOTIFY_FDS_NULL;
	struct keep_taken taken;
	struct keep k;

	ck_assert_int_eq(keep_take(&fds, &k, &taken), 0);
	ck_assert_uint_eq(k.n_clients, 0);
	ck_assert_uint_eq(taken.n_lost, 0);
	ck_assert_int_eq(unsetenv("NOTIFY_SOCKET"), 0);
	ck_assert(!notify_offered());
	ck_assert_int_eq(keep_store(&k), -ENOENT);
}
END_TEST

UNIT_MAIN("keep", {
	tcase_add_test(tc, note_says_what_was_written);
	tcase_add_test(tc, empty_note);
	tcase_add_test(tc, what_is_cut_or_changed_is_refused);
	tcase_add_test(tc, sockets_come_back_with_their_state);
	tcase_add_test(tc, nothing_was_kept);
})
