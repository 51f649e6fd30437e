/*
 * The values that leash keeps in etcd. Invariants: what is decoded can be encoded, and is the same after another round; a
 * value that is refused has a reason; the picture of a whole engine counts what it cannot read.
 *
 * Byte 0: which value, or a whole view: then lines "<key> <value>".
 */
#include "fuzz.h"

#include <stdio.h>

#include "base/ids.h"
#include "etcd/keys.h"

static char reason[KEYS_REASON_MAX];

static void refused(int r)
{
	must(r == KEYS_E_MALFORMED && reason[0] != '\0' && memchr(reason, 0, sizeof reason));
}

static struct bytes text_of(const struct buf *b)
{
	return (struct bytes){ buf_head(b), buf_len(b) };
}

struct node_and_release {
	struct rep_node node;
	char release[KEYS_RELEASE_MAX + 1];
};

/* Decode, encode, decode, encode: the same text twice. */
#define ROUND_TRIP(what, type)                                                                               \
	static void try_##what(struct bytes json)                                                            \
	{                                                                                                    \
		type one, two;                                                                               \
		struct buf a = BUF_NULL, b = BUF_NULL;                                                       \
		int r = decode_##what(json, &one);                                                           \
                                                                                                             \
		if (r != 0) {                                                                                \
			refused(r);                                                                          \
			return;                                                                              \
		}                                                                                            \
		r = encode_##what(&one, &a);                                                                 \
		must(r == 0);                                                                                \
		r = decode_##what(text_of(&a), &two);                                                        \
		must(r == 0);                                                                                \
		r = encode_##what(&two, &b);                                                                 \
		must(r == 0 && fuzz_same(text_of(&a), text_of(&b)));                                         \
		buf_deinit(&a);                                                                              \
		buf_deinit(&b);                                                                              \
	}

#define decode_leader(json, to)   keys_leader_decode(json, to, reason)
#define encode_leader             keys_leader_encode
#define decode_insync(json, to)   keys_insync_decode(json, to, reason)
#define encode_insync             keys_insync_encode
#define decode_node(json, to)     keys_node_decode(json, &(to)->node, (to)->release, reason)
#define encode_node(from, to)     keys_node_encode(&(from)->node, (from)->release, to)
#define decode_settings(json, to) keys_settings_decode(json, to, reason)
#define encode_settings           keys_settings_encode
#define decode_request(json, to)  keys_request_decode(json, to, reason)
#define encode_request            keys_request_encode

ROUND_TRIP(leader, struct rep_leader)
ROUND_TRIP(insync, struct rep_insync)
ROUND_TRIP(node, struct node_and_release)
ROUND_TRIP(settings, struct keys_settings)
ROUND_TRIP(request, struct keys_request)

static void try_view(struct bytes in)
{
	static struct keys_view v;
	uint32_t n = 0;
	int r;

	keys_view_init(&v, "engine", 7, true);
	while (in.len > 0) {
		const uint8_t *nl = memchr(in.p, '\n', in.len), *blank;
		struct bytes line = { in.p, nl ? (size_t)(nl - in.p) : in.len };
		struct etcd_kv kv = { .create_revision = 1, .mod_revision = (int64_t)n + 1, .version = 1, .lease = 3 };

		in = (struct bytes){ in.p + line.len + (nl != NULL), in.len - line.len - (nl != NULL) };
		blank = memchr(line.p, ' ', line.len);
		if (!blank)
			continue;
		kv.key = (struct bytes){ line.p, (size_t)(blank - line.p) };
		kv.value = (struct bytes){ blank + 1, line.len - kv.key.len - 1 };
		r = keys_view_add(&v, &kv);
		must(r == 0);
		n++;
	}
	must(v.n_bad <= n && (v.n_bad > 0) == (v.bad[0] != '\0') && (!v.broken || v.n_bad > 0));
	must(memchr(v.bad, 0, sizeof v.bad) && v.view.n_nodes <= REP_NODES_MAX && v.view.n_drained <= REP_NODES_MAX);
	for (uint32_t i = 0; i < v.view.n_nodes; i++)
		must(name_valid(v.view.nodes[i].node) && v.view.nodes[i].mod_revision > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static void (*const tries[])(struct bytes) = {
		try_leader, try_insync, try_node, try_settings, try_request, try_view,
	};
	uint8_t *copy;

	if (len < 1)
		return 0;
	reason[0] = '\0';
	copy = fuzz_copy(data + 1, len - 1);
	tries[data[0] % ARRAY_SIZE(tries)]((struct bytes){ copy, len - 1 });
	free(copy);
	return 0;
}
