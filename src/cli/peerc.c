#include "cli/peerc.h"

#include "config.h"

#include <errno.h>
#include <stdio.h>

#include "base/ids.h"
#include "cli/sock.h"

#define RECORD_BYTES_MAX (64u << 20) /* the largest record that is taken from a node */
#define READ_BYTES_MAX   (4u << 20)

void peerc_close(struct peerc *p)
{
	p->fd = close_fd(p->fd);
	buf_deinit(&p->in);
	buf_deinit(&p->out);
	*p = (struct peerc)PEERC_NULL;
}

static int fail(struct peerc *p, int r, const char *text, char why[PEERC_TEXT])
{
	(void)snprintf(why, PEERC_TEXT, "%s", text);
	peerc_close(p);
	return r;
}

/* The next whole frame. */
static int next_frame(struct peerc *p, uint64_t deadline_ns, struct frame *ret_frame, char why[PEERC_TEXT])
{
	buf_consume(&p->in, p->frame_bytes);
	p->frame_bytes = 0;
	for (;;) {
		struct bytes in = { buf_head(&p->in), buf_len(&p->in) };
		int r = frame_next(in, PEER_FRAME_BYTES_MAX(RECORD_BYTES_MAX), ret_frame);

		if (r == 0) {
			p->frame_bytes = ret_frame->bytes;
			return 0;
		}
		if (r != FRAME_MORE)
			return fail(p, -EPROTO, frame_strerror(r), why);
		r = sock_receive(p->fd, &p->in, deadline_ns);
		if (r == -ETIMEDOUT)
			return r;
		if (r < 0)
			return fail(p, r, sock_strerror(r), why);
	}
}

/* The next frame that is an answer; STATUS is noted on the way. */
static int next_answer(struct peerc *p, uint8_t type, uint64_t deadline_ns, struct frame *ret_frame,
	char why[PEERC_TEXT])
{
	for (;;) {
		int r = next_frame(p, deadline_ns, ret_frame, why);

		if (r == -ETIMEDOUT)
			return fail(p, r, sock_strerror(r), why);
		if (r < 0)
			return r;
		if (ret_frame->type == type)
			return 0;
		if (ret_frame->type == PEER_STATUS && peer_status_decode(ret_frame->payload, &p->status) == 0)
			p->has_status = true;
		else if (ret_frame->type == PEER_STATUS)
			return fail(p, -EPROTO, "a malformed STATUS", why);
	}
}

static int send_all(struct peerc *p, uint64_t deadline_ns, char why[PEERC_TEXT])
{
	int r = sock_send(p->fd, &p->out, deadline_ns);

	return r < 0 ? fail(p, r, sock_strerror(r), why) : 0;
}

static int take_preface(struct peerc *p, uint64_t deadline_ns, char why[PEERC_TEXT])
{
	for (;;) {
		struct bytes in = { buf_head(&p->in), buf_len(&p->in) };
		enum frame_preface f = in.len ? frame_preface_check(in) : FRAME_PREFACE_MORE;
		int r;

		if (f == FRAME_PREFACE_YES) {
			buf_consume(&p->in, FRAME_PREFACE_BYTES);
			return 0;
		}
		if (f == FRAME_PREFACE_NO)
			return fail(p, -EPROTO, "no leash node answers there", why);
		r = sock_receive(p->fd, &p->in, deadline_ns);
		if (r < 0)
			return fail(p, r, sock_strerror(r), why);
	}
}

static int take_welcome(struct peerc *p, uint64_t deadline_ns, char why[PEERC_TEXT])
{
	struct peer_reject reject;
	struct frame f;
	int r = next_frame(p, deadline_ns, &f, why);

	if (r == -ETIMEDOUT)
		return fail(p, r, sock_strerror(r), why);
	if (r < 0)
		return r;
	if (f.type == PEER_REJECT && peer_reject_decode(f.payload, &reject) == 0)
		return fail(p, -EACCES, reject.text, why);
	if (f.type != PEER_WELCOME)
		return fail(p, -EPROTO, "it does not answer with WELCOME", why);
	r = peer_hello_decode(f.payload, PEER_WELCOME, &p->welcome);
	return r != 0 ? fail(p, -EPROTO, peer_strerror(r), why) : 0;
}

int peerc_open(struct peerc *p, const struct units_addr *a, const char *engine, uint64_t deadline_ns,
	char why[PEERC_TEXT])
{
	struct peer_hello hello = { .kind = PEER_KIND_TOOL, .run = id_random() };
	int r;

	*p = (struct peerc)PEERC_NULL;
	must(strlen(engine) <= LEASH_NAME_MAX);
	memcpy(hello.engine, engine, strlen(engine) + 1);
	(void)snprintf(hello.release, sizeof hello.release, "%s", PACKAGE_VERSION);
	r = sock_connect(a, deadline_ns, &p->fd);
	if (r < 0)
		return fail(p, r, sock_strerror(r), why);
	r = buf_put(&p->out, FRAME_PREFACE, FRAME_PREFACE_BYTES);
	if (r == 0)
		r = peer_hello_encode(&p->out, PEER_HELLO, &hello);
	if (r < 0)
		return fail(p, r, strerror(-r), why);
	r = send_all(p, deadline_ns, why);
	if (r == 0)
		r = take_preface(p, deadline_ns, why);
	return r == 0 ? take_welcome(p, deadline_ns, why) : r;
}

int peerc_info(struct peerc *p, enum peer_info_what what, uint64_t deadline_ns, struct bytes *ret_json,
	char why[PEERC_TEXT])
{
	struct peer_info m = { .token = ++p->token, .what = what };
	struct peer_info_data data;
	struct frame f;
	int r = peer_info_encode(&p->out, &m);

	if (r < 0)
		return fail(p, r, strerror(-r), why);
	r = send_all(p, deadline_ns, why);
	if (r == 0)
		r = next_answer(p, PEER_INFO_DATA, deadline_ns, &f, why);
	if (r < 0)
		return r;
	r = peer_info_data_decode(f.payload, &data);
	if (r != 0 || data.token != m.token)
		return fail(p, -EPROTO, r != 0 ? peer_strerror(r) : "an answer to something else", why);
	*ret_json = data.json;
	return 0;
}

int peerc_read(struct peerc *p, leash_seq from, leash_seq to, uint64_t deadline_ns, struct peer_view *views,
	uint32_t views_max, struct peer_records *ret_m, char why[PEERC_TEXT])
{
	struct peer_read m = { .token = ++p->token, .from = from, .to = to,
		.count_max = MIN2(views_max, (uint32_t)REP_BATCH_MAX), .bytes_max = READ_BYTES_MAX };
	struct frame f;
	int r = peer_read_encode(&p->out, &m);

	if (r < 0)
		return fail(p, r, strerror(-r), why);
	r = send_all(p, deadline_ns, why);
	if (r == 0)
		r = next_answer(p, PEER_RECORDS_DATA, deadline_ns, &f, why);
	if (r < 0)
		return r;
	r = peer_records_data_decode(f.payload, views, views_max, ret_m);
	if (r != 0 || ret_m->token != m.token)
		return fail(p, -EPROTO, r != 0 ? peer_strerror(r) : "an answer to something else", why);
	return 0;
}

int peerc_wait_status(struct peerc *p, uint64_t deadline_ns, char why[PEERC_TEXT])
{
	struct frame f;
	int r;

	do
		r = next_frame(p, deadline_ns, &f, why);
	while (r == 0 && f.type != PEER_STATUS);
	if (r < 0)
		return r;
	r = peer_status_decode(f.payload, &p->status);
	if (r != 0)
		return fail(p, -EPROTO, peer_strerror(r), why);
	p->has_status = true;
	return 0;
}
