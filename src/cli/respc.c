#include "cli/respc.h"

#include <errno.h>

#include "cli/sock.h"

#define REPLY_VALUES_MAX (4u << 20)

void respc_close(struct respc *c)
{
	c->fd = close_fd(c->fd);
	buf_deinit(&c->in);
	buf_deinit(&c->out);
	resp_reader_deinit(&c->reader);
	*c = (struct respc)RESPC_NULL;
}

void respc_init(struct respc *c, int fd)
{
	*c = (struct respc)RESPC_NULL;
	c->fd = fd;
	resp_reader_init(&c->reader, REPLY_VALUES_MAX);
}

int respc_open(struct respc *c, const struct units_addr *a, uint64_t deadline_ns)
{
	respc_init(c, -1);
	return sock_connect(a, deadline_ns, &c->fd);
}

int respc_put(struct respc *c, const struct bytes *argv, size_t argc)
{
	struct resp_out o = resp_begin(&c->out, 2);

	resp_array(&o, argc);
	for (size_t i = 0; i < argc; i++)
		resp_bulk(&o, argv[i]);
	return resp_end(&o);
}

int respc_next(struct respc *c, const struct resp_value **ret_values)
{
	int r;

	buf_consume(&c->in, c->reply_bytes);
	c->reply_bytes = 0;
	r = resp_read(&c->reader, (struct bytes){ buf_head(&c->in), buf_len(&c->in) }, ret_values, &c->reply_bytes);
	return r == RESP_E_TOO_BIG || r == RESP_E_PROTO ? -EPROTO : r;
}

int respc_call(struct respc *c, const struct bytes *argv, size_t argc, uint64_t deadline_ns,
	const struct resp_value **ret_values)
{
	int r = respc_put(c, argv, argc);

	if (r == 0)
		r = sock_send(c->fd, &c->out, deadline_ns);
	while (r == 0) {
		r = respc_next(c, ret_values);
		if (r != RESP_MORE)
			return r;
		r = sock_receive(c->fd, &c->in, deadline_ns);
	}
	return r;
}

bool respc_entry_id(struct bytes id, leash_seq *ret_seq)
{
	char text[32];

	if (id.len < 3 || id.len >= sizeof text || memcmp(id.p + id.len - 2, "-0", 2) != 0)
		return false;
	memcpy(text, id.p, id.len - 2);
	text[id.len - 2] = '\0';
	return units_number(text, ret_seq) && *ret_seq > 0;
}

bool respc_error_is(const struct resp_value *v, const char *code)
{
	size_t n = strlen(code);

	return v->type == RESP_T_ERROR && v->text.len >= n && memcmp(v->text.p, code, n) == 0 &&
		(v->text.len == n || v->text.p[n] == ' ');
}
