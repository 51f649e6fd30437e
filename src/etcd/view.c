#include "etcd/view.h"

#include <errno.h>

void view_deinit(struct view *v)
{
	for (size_t i = 0; i < v->n_keys; i++)
		free((void *)v->keys[i].key.p);
	free(v->keys);
	*v = (struct view)VIEW_NULL;
}

static int key_cmp(struct bytes a, struct bytes b)
{
	size_t n = MIN2(a.len, b.len);
	int c = n ? memcmp(a.p, b.p, n) : 0;

	return c ? c : a.len < b.len ? -1 : a.len > b.len;
}

/* Index of the first key that is not below @key. */
static size_t view_find(const struct view *v, struct bytes key, bool *ret_equal)
{
	size_t low = 0, high = v->n_keys;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (key_cmp(v->keys[mid].key, key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	*ret_equal = low < v->n_keys && key_cmp(v->keys[low].key, key) == 0;
	return low;
}

int64_t view_mod(const struct view *v, struct bytes key)
{
	bool equal;
	size_t i = view_find(v, key, &equal);

	return equal ? v->keys[i].mod_revision : 0;
}

static int view_insert(struct view *v, size_t at, struct bytes key)
{
	uint8_t *copy;

	if (v->n_keys >= VIEW_KEYS_MAX)
		return -ENOBUFS;
	if (v->n_keys == v->cap) {
		size_t cap = v->cap ? 2 * v->cap : 16;
		struct view_key *keys = reallocarray(v->keys, cap, sizeof *keys);

		if (!keys)
			return -ENOMEM;
		v->keys = keys;
		v->cap = cap;
	}
	copy = malloc(key.len + 1);
	if (!copy)
		return -ENOMEM;
	if (key.len)
		memcpy(copy, key.p, key.len);
	memmove(v->keys + at + 1, v->keys + at, (v->n_keys - at) * sizeof *v->keys);
	v->keys[at] = (struct view_key){ .key = { .p = copy, .len = key.len } };
	v->n_keys++;
	return 0;
}

int view_note(struct view *v, struct bytes key, int64_t mod_revision, bool deleted)
{
	bool equal;
	size_t i = view_find(v, key, &equal);

	if (!equal) {
		int r = view_insert(v, i, key);

		if (r < 0)
			return r;
	}
	if (mod_revision > v->keys[i].mod_revision) {
		v->keys[i].mod_revision = mod_revision;
		v->keys[i].deleted = deleted;
	}
	return 0;
}

static bool key_agrees(const struct view_key *ours, const struct view_key *read, int64_t revision)
{
	if (ours && ours->mod_revision > revision)
		return true;
	if (!read)
		return !ours || ours->deleted;
	return ours && !ours->deleted && ours->mod_revision == read->mod_revision;
}

bool view_agrees(const struct view *v, const struct view *read, int64_t revision)
{
	size_t i = 0, k = 0;

	while (i < v->n_keys || k < read->n_keys) {
		int c = i == v->n_keys ? 1 : k == read->n_keys ? -1 : key_cmp(v->keys[i].key, read->keys[k].key);
		const struct view_key *ours = c <= 0 ? &v->keys[i++] : NULL;
		const struct view_key *theirs = c >= 0 ? &read->keys[k++] : NULL;

		if (!key_agrees(ours, theirs, revision))
			return false;
	}
	return true;
}

void view_settle(struct view *v, int64_t revision)
{
	size_t n = 0;

	for (size_t i = 0; i < v->n_keys; i++) {
		if (v->keys[i].deleted && v->keys[i].mod_revision <= revision)
			free((void *)v->keys[i].key.p);
		else
			v->keys[n++] = v->keys[i];
	}
	v->n_keys = n;
}
