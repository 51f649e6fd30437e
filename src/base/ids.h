/*
 * Random ids and their text form.
 */
#ifndef LEASH_BASE_IDS_H
#define LEASH_BASE_IDS_H

#include "base/types.h"
#include "base/util.h"

#define LEASH_ID_TEXT (16 + 1) /* 16 hex digits and the NUL */

/* A random id from the kernel, never 0. Ends the process when the kernel has no random numbers. */
leash_id id_random(void);

/* Writes 16 hex digits and a NUL; returns @text. */
char *id_format(leash_id id, char text[LEASH_ID_TEXT]);

/* Reads exactly 16 hex digits. False: anything else. */
bool id_parse(const char *text, leash_id *ret_id) _must_check_;

/* A node's or an engine's name: 1 to LEASH_NAME_MAX of [A-Za-z0-9._-], not starting with '.' or '-'. */
bool name_valid(const char *name);

#endif
