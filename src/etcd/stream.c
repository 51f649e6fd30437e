#include "etcd/json.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

int stream_init(struct stream *s, size_t object_bytes_max)
{
	*s = (struct stream){ .tok = json_tokener_new(), .object_bytes_max = object_bytes_max };
	if (!s->tok)
		return -ENOMEM;
	json_tokener_set_flags(s->tok, JSON_TOKENER_STRICT | JSON_TOKENER_ALLOW_TRAILING_CHARS);
	return 0;
}

void stream_deinit(struct stream *s)
{
	if (s->tok)
		json_tokener_free(s->tok);
	*s = (struct stream){ 0 };
}

void stream_feed(struct stream *s, const void *p, size_t len)
{
	must(s->bad || !s->len);
	s->p = p;
	s->len = len;
}

static bool is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void dec_event(struct dec *d, struct json_object *o, struct etcd_event *ret_event)
{
	struct json_object *v;
	const char *type = dec_text(d, o, "type");

	ret_event->deleted = strcmp(type, "DELETE") == 0;
	if (!ret_event->deleted && *type && strcmp(type, "PUT") != 0)
		d->bad = "type";
	dec_kv(d, dec_member(d, o, "kv", json_type_object), &ret_event->kv);
	v = dec_member(d, o, "prev_kv", json_type_object);
	if (v) {
		ret_event->has_prev = true;
		dec_kv(d, v, &ret_event->prev_kv);
	}
}

static void dec_events(struct dec *d, struct json_object *o, struct watch_frame *f)
{
	struct json_object *list = dec_member(d, o, "events", json_type_array);
	size_t n = list ? json_object_array_length(list) : 0;

	if (!n)
		return;
	f->events = mem_alloc(d->mem, n, sizeof *f->events);
	if (!f->events) {
		d->oom = true;
		return;
	}
	for (size_t i = 0; i < n; i++)
		dec_event(d, json_object_array_get_idx(list, i), &f->events[i]);
	f->n_events = n;
}

static int dec_frame(struct json_object *o, struct watch_frame *f)
{
	struct dec d = { .mem = &f->mem };
	struct json_object *result;

	if (dec_error(o, &f->code, f->text)) {
		f->result = dec_class(f->code);
		return 0;
	}
	result = dec_member(&d, o, "result", json_type_object);
	if (!result)
		return -EBADMSG;
	dec_header(&d, result, &f->header);
	f->watch_id = dec_i64(&d, result, "watch_id");
	f->created = dec_bool(&d, result, "created");
	f->canceled = dec_bool(&d, result, "canceled");
	f->fragment = dec_bool(&d, result, "fragment");
	f->compact_revision = dec_i64(&d, result, "compact_revision");
	(void)snprintf(f->text, sizeof f->text, "%s", dec_text(&d, result, "cancel_reason"));
	dec_events(&d, result, f);
	return d.oom ? -ENOMEM : d.bad ? -EBADMSG : 0;
}

static int stream_fail(struct stream *s, int err)
{
	s->bad = true;
	s->len = 0;
	return err;
}

/* Parses on; 0 with the next object, which is the caller's, or as stream_next(). */
static int stream_object(struct stream *s, struct json_object **ret_object)
{
	struct json_object *o;
	size_t used;

	if (s->bad)
		return -EBADMSG;
	if (!s->object_bytes) {
		while (s->len && is_space(*s->p)) {
			s->p++;
			s->len--;
		}
	}
	if (!s->len)
		return STREAM_MORE;
	o = json_tokener_parse_ex(s->tok, (const char *)s->p, (int)MIN2(s->len, (size_t)INT_MAX));
	switch (json_tokener_get_error(s->tok)) {
	case json_tokener_continue:
		used = s->len;
		break;
	case json_tokener_success:
		used = json_tokener_get_parse_end(s->tok);
		break;
	default: /* many ways to be wrong, all alike here */
		return stream_fail(s, -EBADMSG);
	}
	must(used <= s->len);
	s->object_bytes += used;
	s->p += used;
	s->len -= used;
	if (s->object_bytes > s->object_bytes_max) {
		json_object_put(o);
		return stream_fail(s, -EMSGSIZE);
	}
	if (json_tokener_get_error(s->tok) == json_tokener_continue)
		return STREAM_MORE;
	s->object_bytes = 0;
	if (!o || !json_object_is_type(o, json_type_object)) {
		json_object_put(o);
		return stream_fail(s, -EBADMSG);
	}
	*ret_object = o;
	return 0;
}

int stream_next(struct stream *s, struct watch_frame *ret_frame)
{
	struct watch_frame f = { 0 };
	struct json_object *o = NULL;
	int r = stream_object(s, &o);

	if (r)
		return r;
	r = dec_frame(o, &f);
	json_object_put(o);
	if (r < 0) {
		watch_frame_deinit(&f);
		return stream_fail(s, r);
	}
	*ret_frame = f;
	return 0;
}

bool stream_torn(const struct stream *s)
{
	return s->bad || s->object_bytes || s->len;
}

void watch_frame_deinit(struct watch_frame *f)
{
	mem_deinit(&f->mem);
}
