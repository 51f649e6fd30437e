#include "cli/local.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "cli/respc.h"
#include "cli/sock.h"

static int open_socket(const char *base, const char *node, int *ret_fd)
{
	_cleanup_(closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int n = snprintf(sun.sun_path, sizeof sun.sun_path, "%s/%s/control.sock", base, node);

	if (fd < 0)
		return -errno;
	if (n < 0 || (size_t)n >= sizeof sun.sun_path)
		return -ENAMETOOLONG;
	if (connect(fd, (const struct sockaddr *)&sun, sizeof sun) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int local_call(const char *base, const char *node, const char *const *words, size_t n_words, uint64_t deadline_ns,
	struct buf *text)
{
	_cleanup_(respc_close) struct respc c = RESPC_NULL;
	struct bytes argv[1 + LOCAL_WORDS_MAX] = { respc_str("LEASH") };
	const struct resp_value *v;
	int fd = -1, r;

	must(n_words <= LOCAL_WORDS_MAX);
	for (size_t i = 0; i < n_words; i++)
		argv[1 + i] = respc_str(words[i]);
	r = open_socket(base, node, &fd);
	if (r < 0)
		return r;
	respc_init(&c, fd);
	r = respc_call(&c, argv, 1 + n_words, deadline_ns, &v);
	if (r == 0)
		r = buf_put(text, v->text.p, v->text.len);
	if (r == 0 && v->type == RESP_T_ERROR)
		r = LOCAL_E_REFUSED;
	return r;
}

int local_status(const char *base, const char *node, uint64_t deadline_ns, struct info_node *ret_node)
{
	static const char *const words[] = { "STATUS" };
	_cleanup_(buf_deinit) struct buf text = BUF_NULL;
	struct info_node n = { 0 };
	int r = local_call(base, node, words, ARRAY_SIZE(words), deadline_ns, &text);

	if (r == 0 && !info_read(&n, (struct bytes){ buf_head(&text), buf_len(&text) }))
		r = -EPROTO;
	if (r)
		return r > 0 ? -EPROTO : r;
	n.heard = true;
	*ret_node = n;
	return 0;
}
