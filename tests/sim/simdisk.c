#include "simdisk.h"

#include <errno.h>

#include "base/hash.h"
#include "base/util.h"

#define SECTOR   512
#define FDS_MAX  64
#define PATH_LEN 256

struct inode {
	unsigned refs;
	bool dir;
	uint8_t *cache, *disk; /* cap bytes; zero behind the sizes */
	bool *dirty;           /* one per sector */
	size_t cap, size, disk_size;
};

struct name {
	char path[PATH_LEN];
	uint64_t hash;
	size_t dir_len; /* of the directory in it; 0: none is named */
	struct inode *inode;
};

struct names {
	struct name *v;
	size_t n, cap;
};

enum change_kind { CREATE, RENAME, UNLINK };

/* A change of names that is not durable yet. */
struct change {
	enum change_kind kind;
	char path[PATH_LEN], to[PATH_LEN];
	struct inode *inode;
	bool synced, to_synced; /* their directories */
};

struct fd {
	struct inode *inode; /* NULL: free */
	bool write, direct, lock;
};

struct simdisk {
	struct rlog_ops ops;
	struct names now, durable;
	struct change *changes;
	size_t n_changes, cap_changes;
	struct fd fds[FDS_MAX];
	struct simrng rng;
	uint64_t capacity;
	unsigned fault_mask;
	uint64_t fault_skip;
	int fault_error;
	bool fault_sticky, fault_hit;
	void (*hook)(struct simdisk *d, enum simdisk_op op, void *arg);
	void *hook_arg;
};

uint64_t simrng_next(struct simrng *rng)
{
	uint64_t z = rng->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint64_t simrng_below(struct simrng *rng, uint64_t n)
{
	return simrng_next(rng) % n;
}

/* ------------------------------------------------------------------------------------------------------- inodes */

static void *grow(void *p, size_t bytes)
{
	p = realloc(p, bytes);
	must(p); /* a test without memory has nothing to tell */
	return p;
}

static struct inode *inode_new(bool dir)
{
	struct inode *i = grow(NULL, sizeof *i);

	*i = (struct inode){ .refs = 1, .dir = dir };
	return i;
}

static struct inode *inode_ref(struct inode *i)
{
	i->refs++;
	return i;
}

static void inode_unref(struct inode *i)
{
	if (!i || --i->refs > 0)
		return;
	free(i->cache);
	free(i->disk);
	free(i->dirty);
	free(i);
}

static void inode_room(struct inode *i, size_t bytes)
{
	size_t cap = (bytes + SECTOR - 1) / SECTOR * SECTOR;

	if (cap <= i->cap)
		return;
	cap = MAX2(cap, 2 * i->cap);
	i->cache = grow(i->cache, cap);
	i->disk = grow(i->disk, cap);
	i->dirty = grow(i->dirty, cap / SECTOR * sizeof *i->dirty);
	memset(i->cache + i->cap, 0, cap - i->cap);
	memset(i->disk + i->cap, 0, cap - i->cap);
	memset(i->dirty + i->cap / SECTOR, 0, (cap - i->cap) / SECTOR * sizeof *i->dirty);
	i->cap = cap;
}

static void sector_flush(struct inode *i, size_t sector)
{
	memcpy(i->disk + sector * SECTOR, i->cache + sector * SECTOR, SECTOR);
	i->dirty[sector] = false;
}

static void inode_sync(struct inode *i)
{
	for (size_t s = 0; s < i->cap / SECTOR; s++)
		if (i->dirty[s])
			sector_flush(i, s);
	i->disk_size = i->size;
}

/* What was dirty counts as clean now; some of it reached the device. */
static void inode_sync_fails(struct inode *i, struct simrng *rng)
{
	for (size_t s = 0; s < i->cap / SECTOR; s++) {
		if (i->dirty[s] && simrng_below(rng, 2))
			sector_flush(i, s);
		i->dirty[s] = false;
	}
}

static void inode_drop_clean(struct inode *i)
{
	for (size_t s = 0; s < i->cap / SECTOR; s++)
		if (!i->dirty[s])
			memcpy(i->cache + s * SECTOR, i->disk + s * SECTOR, SECTOR);
}

static void inode_crash(struct inode *i, struct simrng *rng)
{
	uint64_t odds = simrng_below(rng, 5); /* of 4: none .. all of the dirty sectors survive */
	size_t reach = i->disk_size;

	for (size_t s = 0; s < i->cap / SECTOR; s++) {
		if (i->dirty[s] && simrng_below(rng, 4) < odds) {
			sector_flush(i, s);
			reach = MAX2(reach, MIN2((s + 1) * SECTOR, i->size));
		}
		i->dirty[s] = false;
	}
	i->disk_size = i->size < i->disk_size ? (simrng_below(rng, 2) ? i->size : i->disk_size) :
		simrng_below(rng, 2) ? reach : i->size;
	i->size = i->disk_size;
	if (i->size < i->cap)
		memset(i->disk + i->size, 0, i->cap - i->size);
	if (i->cap)
		memcpy(i->cache, i->disk, i->cap);
}

static void inode_write(struct inode *i, const uint8_t *p, size_t len, uint64_t offset)
{
	if (len == 0)
		return;
	inode_room(i, (size_t)offset + len);
	memcpy(i->cache + offset, p, len);
	for (size_t s = (size_t)offset / SECTOR; s <= ((size_t)offset + len - 1) / SECTOR; s++)
		i->dirty[s] = true;
	i->size = MAX2(i->size, (size_t)offset + len);
}

/* -------------------------------------------------------------------------------------------------------- names */

static struct name *names_find(const struct names *t, const char *path)
{
	uint64_t hash = hash_64(path, strlen(path), 0);

	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].hash == hash && strcmp(t->v[i].path, path) == 0)
			return &t->v[i];
	return NULL;
}

static void names_remove(struct names *t, const char *path, const struct inode *inode)
{
	struct name *e = names_find(t, path);

	if (!e || (inode && e->inode != inode))
		return;
	inode_unref(e->inode);
	*e = t->v[--t->n];
}

static void names_set(struct names *t, const char *path, struct inode *inode)
{
	struct name *e = names_find(t, path);

	(void)inode_ref(inode);
	if (e) {
		inode_unref(e->inode);
		e->inode = inode;
		return;
	}
	if (t->n == t->cap) {
		t->cap = t->cap ? 2 * t->cap : 16;
		t->v = grow(t->v, t->cap * sizeof *t->v);
	}
	e = &t->v[t->n++];
	must(strlen(path) < PATH_LEN);
	strcpy(e->path, path);
	e->hash = hash_64(path, strlen(path), 0);
	e->dir_len = strrchr(path, '/') ? (size_t)(strrchr(path, '/') - path) : 0;
	e->inode = inode;
}

static void names_clear(struct names *t)
{
	for (size_t i = 0; i < t->n; i++)
		inode_unref(t->v[i].inode);
	free(t->v);
	*t = (struct names){ 0 };
}

static void change_apply(struct names *t, const struct change *c)
{
	switch (c->kind) {
	case CREATE:
		names_set(t, c->path, c->inode);
		break;
	case RENAME:
		names_remove(t, c->path, c->inode);
		names_set(t, c->to, c->inode);
		break;
	case UNLINK:
		names_remove(t, c->path, c->inode);
		break;
	}
}

static void change_add(struct simdisk *d, enum change_kind kind, const char *path, const char *to, struct inode *inode)
{
	struct change *c;

	if (d->n_changes == d->cap_changes) {
		d->cap_changes = d->cap_changes ? 2 * d->cap_changes : 16;
		d->changes = grow(d->changes, d->cap_changes * sizeof *d->changes);
	}
	c = &d->changes[d->n_changes++];
	*c = (struct change){ .kind = kind, .inode = inode_ref(inode) };
	must(strlen(path) < PATH_LEN && strlen(to) < PATH_LEN);
	strcpy(c->path, path);
	strcpy(c->to, to);
	change_apply(&d->now, c);
}

static void changes_clear(struct simdisk *d)
{
	for (size_t i = 0; i < d->n_changes; i++)
		inode_unref(d->changes[i].inode);
	d->n_changes = 0;
}

/* True when @path is a name directly in directory @dir. */
static bool lies_in(const char *path, const char *dir)
{
	const char *slash = strrchr(path, '/');
	size_t len = strlen(dir);

	while (len > 1 && dir[len - 1] == '/')
		len--;
	if (!slash)
		return len == 1 && dir[0] == '.';
	if (slash == path)
		return len == 1 && dir[0] == '/';
	return (size_t)(slash - path) == len && memcmp(path, dir, len) == 0;
}

static bool dir_there(const struct simdisk *d, const char *path)
{
	const struct name *e = names_find(&d->now, path);

	return (e && e->inode->dir) || strcmp(path, ".") == 0 || strcmp(path, "/") == 0;
}

static bool parent_there(const struct simdisk *d, const char *path)
{
	char dir[PATH_LEN];
	char *slash;

	must(strlen(path) < PATH_LEN);
	strcpy(dir, path);
	slash = strrchr(dir, '/');
	if (!slash || slash == dir)
		return true;
	*slash = '\0';
	return dir_there(d, dir);
}

/* ----------------------------------------------------------------------------------------------------- operations */

/* Counts an operation: calls the hook, and says whether it must fail. */
static int enter(struct simdisk *d, enum simdisk_op op)
{
	if (d->hook)
		d->hook(d, op, d->hook_arg);
	if (!(d->fault_mask & SIMDISK_BIT(op)))
		return 0;
	if (d->fault_skip > 0) {
		d->fault_skip--;
		return 0;
	}
	d->fault_hit = true;
	if (!d->fault_sticky)
		d->fault_mask = 0;
	return d->fault_error;
}

static int fd_new(struct simdisk *d, struct inode *i, struct fd what, int *ret_fd)
{
	for (int k = 0; k < FDS_MAX; k++) {
		if (d->fds[k].inode)
			continue;
		d->fds[k] = what;
		d->fds[k].inode = inode_ref(i);
		*ret_fd = k;
		return 0;
	}
	return -EMFILE;
}

static struct fd *fd_of(struct simdisk *d, int fd)
{
	must(fd >= 0 && fd < FDS_MAX && d->fds[fd].inode); /* the code under test uses a closed one */
	return &d->fds[fd];
}

static int sim_open(void *ctx, const char *path, unsigned flags, int *ret_fd)
{
	struct simdisk *d = ctx;
	struct name *e = names_find(&d->now, path);
	int r = enter(d, SIMDISK_OPEN);

	if (r < 0)
		return r;
	if (e && e->inode->dir)
		return -EISDIR;
	if (!e && !((flags & RLOG_OPEN_CREATE) && parent_there(d, path)))
		return -ENOENT;
	if (!e) {
		struct inode *i = inode_new(false);

		change_add(d, CREATE, path, "", i);
		inode_unref(i);
		e = names_find(&d->now, path);
	} else if (flags & RLOG_OPEN_CREATE) {
		inode_room(e->inode, 0);
		if (e->inode->cap)
			memset(e->inode->cache, 0, e->inode->cap);
		for (size_t s = 0; s < (e->inode->size + SECTOR - 1) / SECTOR; s++)
			e->inode->dirty[s] = true;
		e->inode->size = 0;
	}
	return fd_new(d, e->inode, (struct fd){ .write = flags & RLOG_OPEN_WRITE, .direct = flags & RLOG_OPEN_DIRECT },
		ret_fd);
}

static void sim_close(void *ctx, int fd)
{
	struct fd *f = fd_of(ctx, fd);

	inode_unref(f->inode);
	*f = (struct fd){ 0 };
}

static int sim_pread(void *ctx, int fd, void *buf, size_t len, uint64_t offset, size_t *ret_n)
{
	struct simdisk *d = ctx;
	struct fd *f = fd_of(d, fd);
	struct inode *i = f->inode;
	size_t n = offset < i->size ? MIN2(len, i->size - (size_t)offset) : 0;
	int r = enter(d, SIMDISK_READ);

	if (r < 0)
		return r;
	if (f->direct) {
		if (offset % RLOG_DIRECT_ALIGN || len % RLOG_DIRECT_ALIGN || (uintptr_t)buf % RLOG_DIRECT_ALIGN)
			return -EINVAL;
	}
	if (n > 0)
		memcpy(buf, i->cache + offset, n);
	for (size_t at = 0; f->direct && at < n; at += SECTOR) /* dirty ones are on their way: visible, not durable */
		if (!i->dirty[(offset + at) / SECTOR])
			memcpy((uint8_t *)buf + at, i->disk + offset + at, MIN2(n - at, (size_t)SECTOR));
	*ret_n = n;
	return 0;
}

static int sim_pwritev(void *ctx, int fd, const struct iovec *iov, size_t n_iov, uint64_t offset)
{
	struct simdisk *d = ctx;
	struct fd *f = fd_of(d, fd);
	int r = enter(d, SIMDISK_WRITE);
	size_t total = 0, limit;

	must(f->write);
	for (size_t k = 0; k < n_iov; k++) {
		if (f->direct && (offset % RLOG_DIRECT_ALIGN || iov[k].iov_len % RLOG_DIRECT_ALIGN ||
			(uintptr_t)iov[k].iov_base % RLOG_DIRECT_ALIGN))
			return -EINVAL;
		total += iov[k].iov_len;
	}
	if (r == 0 && d->capacity && offset + total > f->inode->size &&
		simdisk_used(d) + (offset + total - f->inode->size) > d->capacity)
		r = -ENOSPC;
	limit = r < 0 ? (size_t)simrng_below(&d->rng, total + 1) : total; /* a part may have been written */
	if (r == -ENOSPC)
		limit = offset < f->inode->size ? MIN2(limit, f->inode->size - (size_t)offset) : 0;
	for (size_t k = 0; k < n_iov && limit > 0; k++) {
		size_t n = MIN2(iov[k].iov_len, limit);

		inode_write(f->inode, iov[k].iov_base, n, offset);
		offset += n;
		limit -= n;
	}
	return r;
}

static int sim_fdatasync(void *ctx, int fd)
{
	struct simdisk *d = ctx;
	struct fd *f = fd_of(d, fd);
	int r = enter(d, SIMDISK_SYNC);

	if (r < 0)
		inode_sync_fails(f->inode, &d->rng);
	else
		inode_sync(f->inode);
	return r;
}

static int sim_sync_dir(void *ctx, const char *path)
{
	struct simdisk *d = ctx;
	size_t kept = 0;
	int r = enter(d, SIMDISK_SYNC_DIR);

	if (r < 0)
		return r;
	if (!dir_there(d, path))
		return -ENOENT;
	for (size_t i = 0; i < d->n_changes; i++) {
		struct change *c = &d->changes[i];

		c->synced |= lies_in(c->path, path);
		c->to_synced |= c->kind != RENAME || lies_in(c->to, path);
		if (c->synced && c->to_synced) {
			change_apply(&d->durable, c);
			inode_unref(c->inode);
		} else {
			d->changes[kept++] = *c;
		}
	}
	d->n_changes = kept;
	return 0;
}

static int sim_allocate(void *ctx, int fd, uint64_t bytes)
{
	struct simdisk *d = ctx;
	struct inode *i = fd_of(d, fd)->inode;
	int r = enter(d, SIMDISK_ALLOCATE);

	if (r < 0)
		return r;
	if (bytes <= i->size)
		return 0;
	if (d->capacity && simdisk_used(d) + (bytes - i->size) > d->capacity)
		return -ENOSPC;
	inode_room(i, (size_t)bytes);
	i->size = (size_t)bytes;
	return 0;
}

static int sim_truncate(void *ctx, int fd, uint64_t bytes)
{
	struct simdisk *d = ctx;
	struct inode *i = fd_of(d, fd)->inode;
	int r = enter(d, SIMDISK_TRUNCATE);

	if (r < 0)
		return r;
	inode_room(i, (size_t)bytes);
	if (bytes < i->size) {
		memset(i->cache + bytes, 0, i->size - (size_t)bytes);
		for (size_t s = (size_t)bytes / SECTOR; s < (i->size + SECTOR - 1) / SECTOR; s++)
			i->dirty[s] = true;
	}
	i->size = (size_t)bytes;
	return 0;
}

static int sim_rename(void *ctx, const char *from, const char *to)
{
	struct simdisk *d = ctx;
	struct name *e = names_find(&d->now, from);
	int r = enter(d, SIMDISK_RENAME);

	if (r < 0)
		return r;
	if (!e || !parent_there(d, to))
		return -ENOENT;
	change_add(d, RENAME, from, to, e->inode);
	return 0;
}

static int sim_unlink(void *ctx, const char *path)
{
	struct simdisk *d = ctx;
	struct name *e = names_find(&d->now, path);
	int r = enter(d, SIMDISK_UNLINK);

	if (r < 0)
		return r;
	if (!e)
		return -ENOENT;
	if (e->inode->dir)
		return -EISDIR;
	change_add(d, UNLINK, path, "", e->inode);
	return 0;
}

static int sim_mkdir(void *ctx, const char *path)
{
	struct simdisk *d = ctx;
	struct inode *i;
	int r = enter(d, SIMDISK_MKDIR);

	if (r < 0)
		return r;
	if (names_find(&d->now, path))
		return -EEXIST;
	if (!parent_there(d, path))
		return -ENOENT;
	i = inode_new(true);
	change_add(d, CREATE, path, "", i);
	inode_unref(i);
	return 0;
}

static int sim_list(void *ctx, const char *path, int (*fn)(const char *name, void *arg), void *arg)
{
	struct simdisk *d = ctx;
	size_t len = strlen(path);
	int r = enter(d, SIMDISK_LIST);

	if (r == 0 && !dir_there(d, path))
		r = -ENOENT;
	for (size_t i = 0; r == 0 && i < d->now.n; i++) {
		const struct name *e = &d->now.v[i];

		if (e->dir_len > 0 && (e->dir_len > len || memcmp(e->path, path, e->dir_len) != 0))
			continue; /* most of those that are elsewhere */
		if (lies_in(e->path, path))
			r = fn(e->path + (strchr(e->path, '/') ? e->dir_len + 1 : 0), arg);
	}
	return r;
}

static int sim_size(void *ctx, const char *path, uint64_t *ret_bytes)
{
	struct simdisk *d = ctx;
	const struct name *e = names_find(&d->now, path);
	int r = enter(d, SIMDISK_SIZE);

	if (r < 0)
		return r;
	if (!e)
		return -ENOENT;
	*ret_bytes = e->inode->size;
	return 0;
}

static int sim_lock(void *ctx, const char *path, int *ret_fd)
{
	struct simdisk *d = ctx;
	const struct name *e = names_find(&d->now, path);
	int r = enter(d, SIMDISK_LOCK);

	if (r < 0)
		return r;
	if (!e || !e->inode->dir)
		return -ENOENT;
	for (int k = 0; k < FDS_MAX; k++)
		if (d->fds[k].lock && d->fds[k].inode == e->inode)
			return -EWOULDBLOCK;
	return fd_new(d, e->inode, (struct fd){ .lock = true }, ret_fd);
}

static int sim_drop_cache(void *ctx, int fd)
{
	inode_drop_clean(fd_of(ctx, fd)->inode);
	return 0;
}

/* ---------------------------------------------------------------------------------------------------------- disk */

struct simdisk *simdisk_new(uint64_t seed)
{
	struct simdisk *d = grow(NULL, sizeof *d);

	*d = (struct simdisk){ .rng = { seed } };
	d->ops = (struct rlog_ops){ .ctx = d, .open = sim_open, .close = sim_close, .pread = sim_pread,
		.pwritev = sim_pwritev, .fdatasync = sim_fdatasync, .sync_dir = sim_sync_dir,
		.allocate = sim_allocate, .truncate = sim_truncate, .rename = sim_rename, .unlink = sim_unlink,
		.mkdir = sim_mkdir, .list = sim_list, .size = sim_size, .lock = sim_lock,
		.drop_cache = sim_drop_cache };
	return d;
}

const struct rlog_ops *simdisk_ops(struct simdisk *d)
{
	return &d->ops;
}

void simdisk_kill(struct simdisk *d)
{
	for (int k = 0; k < FDS_MAX; k++)
		if (d->fds[k].inode)
			sim_close(d, k);
}

void simdisk_free(struct simdisk *d)
{
	if (!d)
		return;
	simdisk_kill(d);
	changes_clear(d);
	free(d->changes);
	names_clear(&d->now);
	names_clear(&d->durable);
	free(d);
}

static struct inode *inode_copy(const struct inode *i)
{
	struct inode *c = inode_new(i->dir);

	if (i->cap) {
		inode_room(c, i->cap);
		memcpy(c->cache, i->cache, i->cap);
		memcpy(c->disk, i->disk, i->cap);
		memcpy(c->dirty, i->dirty, i->cap / SECTOR * sizeof *i->dirty);
	}
	c->size = i->size;
	c->disk_size = i->disk_size;
	return c;
}

/* Inodes are shared between the three tables; so are their copies. */
struct copies {
	const struct inode **from;
	struct inode **to;
	size_t n;
};

static struct inode *copy_of(struct copies *c, const struct inode *i)
{
	for (size_t k = 0; k < c->n; k++)
		if (c->from[k] == i)
			return c->to[k];
	c->from[c->n] = i;
	c->to[c->n] = inode_copy(i);
	return c->to[c->n++];
}

struct simdisk *simdisk_clone(const struct simdisk *d)
{
	struct simdisk *n = simdisk_new(d->rng.state);
	size_t most = d->now.n + d->durable.n + d->n_changes + 1;
	struct copies c = { .from = grow(NULL, most * sizeof *c.from), .to = grow(NULL, most * sizeof *c.to) };

	for (size_t i = 0; i < d->now.n; i++)
		names_set(&n->now, d->now.v[i].path, copy_of(&c, d->now.v[i].inode));
	for (size_t i = 0; i < d->durable.n; i++)
		names_set(&n->durable, d->durable.v[i].path, copy_of(&c, d->durable.v[i].inode));
	n->changes = grow(NULL, MAX2(d->n_changes, (size_t)1) * sizeof *n->changes);
	n->cap_changes = MAX2(d->n_changes, (size_t)1);
	for (size_t i = 0; i < d->n_changes; i++) {
		n->changes[i] = d->changes[i];
		n->changes[i].inode = inode_ref(copy_of(&c, d->changes[i].inode));
	}
	n->n_changes = d->n_changes;
	for (size_t k = 0; k < c.n; k++)
		inode_unref(c.to[k]);
	free(c.from);
	free(c.to);
	return n;
}

void simdisk_crash(struct simdisk *d, struct simrng *rng)
{
	bool prefix = simrng_below(rng, 2);
	size_t reach = (size_t)simrng_below(rng, d->n_changes + 1);

	simdisk_kill(d);
	for (size_t i = 0; i < d->n_changes; i++)
		if (prefix ? i < reach : simrng_below(rng, 2))
			change_apply(&d->durable, &d->changes[i]);
	changes_clear(d);
	names_clear(&d->now);
	for (size_t i = 0; i < d->durable.n; i++) {
		inode_crash(d->durable.v[i].inode, rng);
		names_set(&d->now, d->durable.v[i].path, d->durable.v[i].inode);
	}
}

/* All inodes, each once: those with a name, then those that would have one again. */
static struct inode *inode_at(const struct simdisk *d, size_t k)
{
	struct inode *i;

	if (k < d->now.n)
		return d->now.v[k].inode;
	i = d->durable.v[k - d->now.n].inode;
	for (size_t n = 0; n < d->now.n; n++)
		if (d->now.v[n].inode == i)
			return NULL;
	return i;
}

static bool sector_differs(const struct inode *i, size_t s)
{
	return i->dirty[s] && memcmp(i->cache + s * SECTOR, i->disk + s * SECTOR, SECTOR) != 0;
}

size_t simdisk_dirty(const struct simdisk *d)
{
	size_t n = 0;

	for (size_t k = 0; k < d->now.n + d->durable.n; k++) {
		const struct inode *i = inode_at(d, k);

		for (size_t s = 0; i && s < i->cap / SECTOR; s++)
			n += sector_differs(i, s);
	}
	return n;
}

size_t simdisk_names_unsynced(const struct simdisk *d)
{
	return d->n_changes;
}

bool simdisk_sizes_unsynced(const struct simdisk *d)
{
	for (size_t k = 0; k < d->now.n + d->durable.n; k++) {
		const struct inode *i = inode_at(d, k);

		if (i && i->size != i->disk_size)
			return true;
	}
	return false;
}

static void inode_lose(struct inode *i, const struct simdisk_choice *c, size_t *sector)
{
	size_t reach = i->disk_size;

	for (size_t s = 0; s < i->cap / SECTOR; s++) {
		if (sector_differs(i, s) && c->sector((*sector)++, c->arg)) {
			sector_flush(i, s);
			reach = MAX2(reach, MIN2((s + 1) * SECTOR, i->size));
		}
		i->dirty[s] = false;
	}
	i->disk_size = c->sizes ? i->size : reach;
	i->size = i->disk_size;
	if (i->size < i->cap)
		memset(i->disk + i->size, 0, i->cap - i->size);
	if (i->cap)
		memcpy(i->cache, i->disk, i->cap);
}

static bool never(size_t i, void *arg)
{
	(void)i;
	(void)arg;
	return false;
}

void simdisk_lose(struct simdisk *d, const struct simdisk_choice *c)
{
	size_t sector = 0;

	simdisk_kill(d);
	for (size_t k = 0; k < d->now.n + d->durable.n; k++)
		if (inode_at(d, k))
			inode_lose(inode_at(d, k), c, &sector);
	for (size_t i = 0; i < d->n_changes; i++)
		if (i < 64 && c->names >> i & 1)
			change_apply(&d->durable, &d->changes[i]);
	changes_clear(d);
	names_clear(&d->now);
	for (size_t i = 0; i < d->durable.n; i++) {
		/* What was made and removed again, and now is there all the same, was not counted: nothing of it survives. */
		inode_lose(d->durable.v[i].inode, &(struct simdisk_choice){ .sector = never }, &sector);
		names_set(&d->now, d->durable.v[i].path, d->durable.v[i].inode);
	}
}

void simdisk_fault(struct simdisk *d, unsigned mask, uint64_t skip, int error, bool sticky)
{
	d->fault_mask = mask;
	d->fault_skip = skip;
	d->fault_error = error;
	d->fault_sticky = sticky;
	d->fault_hit = false;
}

bool simdisk_fault_hit(const struct simdisk *d)
{
	return d->fault_hit;
}

void simdisk_fault_clear(struct simdisk *d)
{
	d->fault_mask = 0;
	d->fault_hit = false;
}

void simdisk_capacity(struct simdisk *d, uint64_t bytes)
{
	d->capacity = bytes;
}

uint64_t simdisk_used(const struct simdisk *d)
{
	uint64_t used = 0;

	for (size_t i = 0; i < d->now.n; i++)
		used += d->now.v[i].inode->size;
	return used;
}

void simdisk_hook(struct simdisk *d, void (*fn)(struct simdisk *d, enum simdisk_op op, void *arg), void *arg)
{
	d->hook = fn;
	d->hook_arg = arg;
}

bool simdisk_flip(struct simdisk *d, const char *path, uint64_t offset, uint8_t mask)
{
	const struct name *e = names_find(&d->now, path);

	if (!e || offset >= e->inode->size)
		return false;
	e->inode->cache[offset] ^= mask;
	e->inode->disk[offset] ^= mask;
	return true;
}

bool simdisk_cut(struct simdisk *d, const char *path, uint64_t bytes)
{
	const struct name *e = names_find(&d->now, path);
	struct inode *i = e ? e->inode : NULL;

	if (!i || bytes > i->size)
		return false;
	memset(i->cache + bytes, 0, i->cap - (size_t)bytes);
	memset(i->disk + bytes, 0, i->cap - (size_t)bytes);
	i->size = (size_t)bytes;
	i->disk_size = MIN2(i->disk_size, (size_t)bytes);
	return true;
}

void simdisk_drop_dirty(struct simdisk *d)
{
	simdisk_kill(d);
	changes_clear(d);
	names_clear(&d->now);
	for (size_t k = 0; k < d->durable.n; k++) {
		struct inode *i = d->durable.v[k].inode;

		if (i->cap) {
			memset(i->dirty, 0, i->cap / SECTOR * sizeof *i->dirty);
			memset(i->disk + i->disk_size, 0, i->cap - i->disk_size);
			memcpy(i->cache, i->disk, i->cap);
		}
		i->size = i->disk_size;
		names_set(&d->now, d->durable.v[k].path, i);
	}
}

bool simdisk_exists(const struct simdisk *d, const char *path)
{
	return names_find(&d->now, path) != NULL;
}

uint64_t simdisk_digest(const struct simdisk *d)
{
	uint64_t sum = 0; /* of a set: names have no order */

	for (size_t i = 0; i < d->now.n; i++) {
		const struct inode *f = d->now.v[i].inode;
		uint64_t h = hash_64(d->now.v[i].path, strlen(d->now.v[i].path), 0);

		sum += hash_64(f->cache ? f->cache : (const uint8_t *)"", f->size, h);
	}
	return sum;
}
