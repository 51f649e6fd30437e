/* What the files of xcmd share. Only for src/wire. */
#ifndef LEASH_WIRE_XCMD_INT_H
#define LEASH_WIRE_XCMD_INT_H

#include "wire/xcmd.h"

#define XCMD_ERR_INTEGER "ERR value is not an integer or out of range"
#define XCMD_ERR_SYNTAX  "ERR syntax error"

/* Sets the text; returns XCMD_E. */
_printf_(2, 3) int xcmd_fail(struct xcmd_err *err, const char *fmt, ...);
int xcmd_fail_arity(struct xcmd_err *err, const char *name);

/* As strcmp() of @arg, in lower case, with @word, which is in lower case. */
int xcmd_compare(struct bytes arg, const char *word);

/* "timeout is ..." errors as Redis has them for BLOCK and WAIT. */
int xcmd_timeout(struct bytes arg, uint64_t *ret_ms, struct xcmd_err *err);

#endif
