#include "etcd/json.h"

struct mem_piece {
	struct mem_piece *next;
	max_align_t data[];
};

void *mem_alloc(struct mem *m, size_t n, size_t size)
{
	struct mem_piece *piece;
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes) || bytes > SIZE_MAX - sizeof *piece)
		return NULL;
	piece = calloc(1, sizeof *piece + bytes);
	if (!piece)
		return NULL;
	piece->next = m->pieces;
	m->pieces = piece;
	return piece->data;
}

void mem_deinit(struct mem *m)
{
	while (m->pieces) {
		struct mem_piece *piece = m->pieces;

		m->pieces = piece->next;
		free(piece);
	}
}
