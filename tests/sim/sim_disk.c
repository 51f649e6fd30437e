/* A node's disk: what can be done to it. */
#include "tests/sim/sim_int.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "log/rlog_meta.h"

#define RECENT_BYTES 1500 /* of the end of a file */

void simdisk_node_init(struct simnode *n)
{
	if (!n->acc.chain)
		n->acc.chain = calloc(SIM_LOG_MAX, sizeof *n->acc.chain);
	must(n->acc.chain);
	n->disk = simdisk_new(sim_rand(n->s));
	n->acc = (struct account){ .chain = n->acc.chain, .start = 1, .virgin = true };
}

void simdisk_node_wipe(struct simnode *n)
{
	leash_seq lost = MAX2(n->acc.lost_end, n->acc.durable);

	must(!n->up);
	simdisk_free(n->disk);
	simdisk_node_init(n);
	n->acc.lost_end = lost;
	n->damaged = false;
	sim_say(n->s, n->i, "loses its data directory");
}

/* ------------------------------------------------------------------------------------------------------------ damage */

struct files {
	char names[64][128];
	size_t n;
	const char *dir;
};

static int add_file(const char *name, void *arg)
{
	struct files *f = arg;
	size_t len = strlen(name);

	/* What is damaged in evidence, spare and reserve is nobody's loss. */
	if (f->n < ARRAY_SIZE(f->names) && (strcmp(name, "meta") == 0 || strcmp(name, "mark") == 0 ||
		(len > 4 && (strcmp(name + len - 4, ".seg") == 0 || strcmp(name + len - 4, ".dig") == 0))))
		(void)snprintf(f->names[f->n++], sizeof f->names[0], "%s/%s", f->dir, name);
	return 0;
}

static const char *some_file(struct simnode *n, struct files *f, uint64_t *ret_bytes)
{
	const struct rlog_ops *ops = simdisk_ops(n->disk);
	const char *path;

	*f = (struct files){ .dir = SIM_DIR };
	if (ops->list(ops->ctx, SIM_DIR, add_file, f) != 0 || f->n == 0)
		return NULL;
	path = f->names[sim_below(n->s, f->n)];
	return ops->size(ops->ctx, path, ret_bytes) == 0 && *ret_bytes > 0 ? path : NULL;
}

static void tampered(struct simnode *n)
{
	n->damaged = n->acc.tampered = true;
	n->log_whole = false;
	n->acc.lost_end = MAX2(n->acc.lost_end, n->acc.durable);
}

/* Where a segment's records end, about: behind it are zeroes, which nobody reads. */
static uint64_t used_bytes(struct simnode *n, const char *path, uint64_t bytes)
{
	const struct rlog_ops *ops = simdisk_ops(n->disk);
	uint8_t page[512];
	uint64_t used = 0;
	size_t got;
	int fd;

	if (ops->open(ops->ctx, path, RLOG_OPEN_READ, &fd) != 0)
		return bytes;
	for (uint64_t at = 0; at < bytes; at += sizeof page) {
		if (ops->pread(ops->ctx, fd, page, sizeof page, at, &got) != 0)
			break;
		for (size_t k = 0; k < got; k++)
			if (page[k])
				used = at + k + 1;
	}
	ops->close(ops->ctx, fd);
	return used;
}

/* Anywhere; often among the newest records. */
static uint64_t place_in(struct simnode *n, uint64_t bytes)
{
	uint64_t from = bytes > RECENT_BYTES && sim_chance(n->s, 0.4) ? bytes - RECENT_BYTES : 0;

	return from + sim_below(n->s, MAX2(bytes - from, (uint64_t)1));
}

bool simdisk_flip_somewhere(struct simnode *n, char what[128])
{
	struct files f;
	uint64_t bytes, at;
	const char *path = some_file(n, &f, &bytes);

	if (!path)
		return false;
	bytes = used_bytes(n, path, bytes);
	at = place_in(n, bytes);
	tampered(n);
	must(simdisk_flip(n->disk, path, at, (uint8_t)(1u << sim_below(n->s, 8))));
	(void)snprintf(what, 128, "%s at %" PRIu64 " flips a bit", path + sizeof SIM_DIR, at);
	return true;
}

bool simdisk_cut_somewhere(struct simnode *n, char what[128])
{
	struct files f;
	uint64_t bytes, at;
	const char *path = some_file(n, &f, &bytes);

	if (!path)
		return false;
	at = place_in(n, used_bytes(n, path, bytes) + 1);
	tampered(n);
	must(simdisk_cut(n->disk, path, at));
	(void)snprintf(what, 128, "%s is cut to %" PRIu64 " bytes", path + sizeof SIM_DIR, at);
	return true;
}

static void on_problem(const struct rlog_damage *d, void *arg)
{
	(void)d, (void)arg;
}

bool simdisk_log_whole(struct simnode *n)
{
	struct rlog_verify_result v;

	return rlog_verify(SIM_DIR, simdisk_ops(n->disk), n->acc.durable, on_problem, NULL, &v) == 0 && v.n_problems == 0 &&
	       v.end >= n->acc.durable;
}

/* Both copies in a small file: @bytes each, sealed with a checksum at their end, @stride apart. */
static bool copies_whole(struct simnode *n, const char *path, uint64_t stride, size_t bytes)
{
	const struct rlog_ops *ops = simdisk_ops(n->disk);
	uint8_t page[4096];
	uint64_t sum;
	size_t got;
	bool whole = true;
	int fd;

	if (ops->open(ops->ctx, path, RLOG_OPEN_READ, &fd) != 0)
		return false;
	for (uint64_t k = 0; k < 2 && whole; k++) {
		whole = ops->pread(ops->ctx, fd, page, bytes, k * stride, &got) == 0 && got == bytes;
		memcpy(&sum, page + bytes - sizeof sum, sizeof sum);
		whole = whole && le64toh(sum) == hash_64(page, bytes - sizeof sum, 0);
	}
	ops->close(ops->ctx, fd);
	return whole;
}

bool simdisk_meta_whole(struct simnode *n)
{
	return copies_whole(n, SIM_DIR "/meta", RLOG_META_PAGE, RLOG_META_PAGE) &&
	       copies_whole(n, SIM_DIR "/mark", RLOG_MARK_STRIDE, RLOG_MARK_SLOT);
}

/* ------------------------------------------------------------------------------------------------- what tests call */

void sim_wipe(struct sim *s, const char *node)
{
	simdisk_node_wipe(&s->nodes[sim_index(s, node)]);
}

void sim_freeze_disk(struct sim *s, const char *node, bool frozen)
{
	s->nodes[sim_index(s, node)].disk_frozen = frozen;
}

/* The next write finds no room, once; the node has heard of it on return. */
void sim_disk_full(struct sim *s, const char *node)
{
	struct simnode *n = &s->nodes[sim_index(s, node)];

	simdisk_fault(n->disk, SIMDISK_BIT(SIMDISK_WRITE), 0, -ENOSPC, false);
	for (int k = 0; k < 100 && !simdisk_fault_hit(n->disk); k++)
		sim_run(s, 1);
	sim_say(s, sim_index(s, node), "finds its disk full: log end %" PRIu64, n->acc.durable);
	while (n->log.telling)
		sim_step(s);
}

struct image {
	struct simdisk *disk;
	struct account acc;
};

/* What is durable at this moment. */
void *sim_image(struct sim *s, const char *node)
{
	struct simnode *n = &s->nodes[sim_index(s, node)];
	struct image *im = malloc(sizeof *im);

	must(im);
	im->disk = simdisk_clone(n->disk);
	simdisk_drop_dirty(im->disk);
	im->acc = n->acc;
	im->acc.end = im->acc.durable;
	im->acc.chain = calloc(SIM_LOG_MAX, sizeof *im->acc.chain);
	must(im->acc.chain);
	memcpy(im->acc.chain, n->acc.chain, SIM_LOG_MAX * sizeof *im->acc.chain);
	return im;
}

void sim_image_free(void *image)
{
	struct image *im = image;

	if (!im)
		return;
	simdisk_free(im->disk);
	free(im->acc.chain);
	free(im);
}

void sim_restore_image(struct sim *s, const char *node, const void *image)
{
	struct simnode *n = &s->nodes[sim_index(s, node)];
	const struct image *im = image;
	struct account acc = im->acc;

	must(!n->up);
	simdisk_free(n->disk);
	n->disk = simdisk_clone(im->disk);
	acc.chain = n->acc.chain;
	memcpy(acc.chain, im->acc.chain, SIM_LOG_MAX * sizeof *acc.chain);
	acc.lost_end = MAX2(n->acc.lost_end, n->acc.durable);
	n->acc = acc;
	tampered(n);
	sim_say(s, sim_index(s, node), "is restored from an image: log end %" PRIu64, n->acc.end);
}

/* Flips a bit in the body of record @seq. */
static void spoil(struct simnode *n, leash_seq seq)
{
	struct rlog_reader *reader = NULL;
	struct rlog_view v;
	struct files f = { .dir = SIM_DIR };
	const struct rlog_ops *ops = simdisk_ops(n->disk);
	uint8_t header[REC_HEADER_BYTES], got[REC_HEADER_BYTES];
	size_t k;
	int fd;

	if (!simlog_view(n, seq, &reader, &v)) { /* rotten already */
		rlog_reader_close(reader);
		return;
	}
	memcpy(header, v.header.p, sizeof header);
	rlog_reader_close(reader);
	must(ops->list(ops->ctx, SIM_DIR, add_file, &f) == 0);
	for (size_t i = 0; i < f.n; i++) {
		uint64_t bytes = 0;

		must(ops->size(ops->ctx, f.names[i], &bytes) == 0);
		must(ops->open(ops->ctx, f.names[i], RLOG_OPEN_READ, &fd) == 0);
		for (uint64_t at = 0; at + sizeof header <= bytes; at += 1)
			if (ops->pread(ops->ctx, fd, got, sizeof got, at, &k) == 0 && memcmp(got, header, sizeof got) == 0)
				must(simdisk_flip(n->disk, f.names[i], at + sizeof header + 3, 0x10));
		ops->close(ops->ctx, fd);
	}
}

void sim_rot(struct sim *s, const char *node, leash_seq seq)
{
	struct simnode *n = simnode_enter(s, sim_index(s, node));
	struct rlog_damage d = { .first = seq, .last = seq, .reason = "a test spoilt it" };

	must(n);
	tampered(n);
	spoil(n, seq);
	lt_damaged(n->lt, &d);
}

void sim_damage(struct sim *s, const char *node, leash_seq first)
{
	struct simnode *n = simnode_enter(s, sim_index(s, node));
	struct rep_event ev = { .kind = REP_EV_DAMAGE, .damage = { first, first } };

	must(n);
	tampered(n);
	spoil(n, first);
	n->lt->damage[n->lt->n_damage++] = (struct rlog_damage){ .first = first, .last = first, .reason = "a test spoilt it" };
	ev.now_ns = simclock_ns(n);
	drv_event(n->node->drv, &ev);
	node_kick(n->node);
}
