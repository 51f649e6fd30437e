/*
 * Histories and logs as text, for hist.h.
 *
 * A history file is one client's. Each line is one event, fields are separated by one blank, events stand in the order in which
 * the client had them; a last line without its newline (the client was killed) is ignored, so are empty lines and those
 * that begin with "#". T is a time in ns, of one clock for all files (CLOCK_MONOTONIC): of a question taken before it is
 * sent, of an answer after it has come. TAG numbers appends and reads of the file, CONN its connections: 1, 2, 3 ...
 * ID and VALUE are written as `leash log cat` writes them; VALUE is the rest of the line.
 *
 *   client NAME [in-order]           first line. in-order: HIST_IN_ORDER of hist.h
 *   conn CONN [ENDPOINT]             a connection was opened to this process life; without: not known to which
 *   append TAG T CONN [ID] VALUE     the brackets are part of the line; []: no id of its own
 *   ok TAG T POS                     its record is at POS
 *   conflict TAG T POS               the id is there with another value; POS 0: was not told where
 *   refused TAG T                    certainly nothing happened
 *   unknown TAG T                    it may be in the log
 *   read TAG T CONN FROM TO COUNT    0 for TO, COUNT: no bound
 *   shows TAG POS VALUE              one record of its answer, ascending
 *   end TAG T                        the answer is complete; one that never is (an error, a lost connection, a blocking
 *                                    read that ran out of time) just has no such line
 *   length TAG T CONN                how many records are there?
 *   is TAG T N                       N
 *
 * A log file is what `leash log cat` prints: "[ID] POS VALUE".
 */
#ifndef LEASH_TESTS_CHECK_HIST_TEXT_H
#define LEASH_TESTS_CHECK_HIST_TEXT_H

#include <stdio.h>

#include "tests/check/hist.h"

#define HIST_TEXT_WHY 256

/*
 * Reads a file to its end. @name: of the log, for messages.
 *
 * 0. -EINVAL: a line makes no sense, or contradicts an earlier one; @ret_why says which and why. -EIO: it cannot be read.
 * What was read before stays in @h.
 */
int hist_text_load(struct hist *h, FILE *in, char ret_why[HIST_TEXT_WHY]) _must_check_;
int hist_text_load_log(struct hist *h, FILE *in, const char *name, char ret_why[HIST_TEXT_WHY]) _must_check_;

#endif
