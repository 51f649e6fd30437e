/*
 * Log directories on a disk in memory, written by src/log itself, for the fuzz targets to damage; and what they need to
 * look at files and to make their checksums right again.
 */
#ifndef LEASH_TESTS_FUZZ_LOG_DISK_H
#define LEASH_TESTS_FUZZ_LOG_DISK_H

#include "log/rlog.h"
#include "simdisk.h"

#define LOG_DISK_DIR         "log"
#define LOG_DISK_RECORDS_MAX 128
#define LOG_DISK_RECORD_MAX  1024 /* bytes of a body */
#define LOG_DISK_SEGMENT     8192
#define LOG_DISK_FILES_MAX   24   /* of a directory, that are looked at */
#define LOG_DISK_NAME_MAX    32

enum log_disk_kind {
	LOG_DISK_ONE,       /* one segment, a few records */
	LOG_DISK_MANY,      /* several segments and epochs, all acknowledged */
	LOG_DISK_CRASHED,   /* the same, with a batch that was not synced when the power failed */
	LOG_DISK_CUTTING,   /* the same, stopped in the middle of a cut */
	LOG_DISK_RESETTING, /* the same, stopped in the middle of a reset */
	LOG_DISK_NEW,       /* nothing but meta and mark */
	LOG_DISK_KINDS,
};

/* What the directory held when it was made. */
struct log_disk {
	struct simdisk *disk;
	leash_seq end;       /* last record ever written */
	leash_seq kept;      /* records up to here must be there: both slots of the mark say so */
	struct buf recs[LOG_DISK_RECORDS_MAX]; /* [seq]: header and body */
};

/* Made once for each kind and kept; to be damaged: simdisk_clone(). */
const struct log_disk *log_disk_get(enum log_disk_kind kind);

/* Opens the log of such a directory. */
int log_disk_open(struct simdisk *d, struct rlog **ret_log, struct rlog_state *ret_state) _must_check_;

/* A record that follows @l's end, for rlog_append(); @header and @body are the caller's and stay with it. */
struct rlog_rec log_disk_next(const struct rlog *l, leash_epoch epoch, uint8_t header[REC_HEADER_BYTES], struct buf *body);

/* ---- files; names inside LOG_DISK_DIR */

size_t log_disk_names(struct simdisk *d, char names[LOG_DISK_FILES_MAX][LOG_DISK_NAME_MAX]); /* sorted */
bool log_disk_read(struct simdisk *d, const char *name, struct buf *out);
void log_disk_write(struct simdisk *d, const char *name, const void *p, size_t len); /* durable */

/* ---- checksums of whole files */

void log_disk_seal_seg(uint8_t *p, size_t len);
void log_disk_seal_meta(uint8_t *p, size_t len);
void log_disk_seal_mark(uint8_t *p, size_t len);
void log_disk_seal_dig(uint8_t *p, size_t len);
void log_disk_seal(const char *name, uint8_t *p, size_t len); /* by the name */

#endif
