/*
 * Events of a node that operators may meet, one function each, with a MESSAGE_ID and fields (LEASH_EPOCH, LEASH_PEER,
 * LEASH_SEQ, LEASH_REASON; engine and node are common fields). Those of the state machine all come through
 * diag_note(), one MESSAGE_ID for each enum rep_note_kind. Any thread; what may repeat quickly is bounded. Each id has an
 * entry in data/leash.catalog.
 */
#ifndef LEASH_NODE_DIAG_NODE_H
#define LEASH_NODE_DIAG_NODE_H

#include "replica/rep.h"

/* 32 hex digits, for the catalog: enum rep_note_kind, then the others. */
#define DIAG_ID_FOUNDED "b12dc03baa2359ae8d9657ea8bb01351"
#define DIAG_ID_JOINED_CLUSTER "6b2b4a9d6da85b20a16093bb678fa7c4"
#define DIAG_ID_PRIMARY "9d2120f0a798523a8b0747461d893e21"
#define DIAG_ID_DEPOSED "5d909bf091f45801b01b8f390da03a77"
#define DIAG_ID_FOLLOWING "734c8e7c5db75ec99895657adb3cee34"
#define DIAG_ID_SUSPECT "04045ff29f265b60b7574233d7141e7c"
#define DIAG_ID_CAMPAIGN "5a848c7040115362b0859cbc73b51fca"
#define DIAG_ID_LOST "3c2940471e9c51eeb9ff759efb896a6f"
#define DIAG_ID_INSYNC_ADD "efcd100f723550aa8dcf007decf4af2a"
#define DIAG_ID_INSYNC_REMOVE "86ebd31c4ef35f31a0d4d20495a48001"
#define DIAG_ID_BELOW_MIN "860a515bf20e56de97e77fb7eff2e485"
#define DIAG_ID_COMMITTING "5e9de13cc6ff5cb8a4609f8826cf5627"
#define DIAG_ID_CAUGHT_UP "4938a8bd6a4d53218a1d24301047d765"
#define DIAG_ID_CUT "5cfccbf97dde5ba5909fc2efc8e74215"
#define DIAG_ID_RESET "f7e878da87ff5f4a9657482f732c6690"
#define DIAG_ID_HANDOVER "ce3cb096b6c4578a8beb1cda41bab52b"
#define DIAG_ID_HANDOVER_FAILED "350a1174fd375232a4072d3c43e6c0c9"
#define DIAG_ID_LEASE_LOST "6ff330dd538b5b69abc91ac82d6d596a"
#define DIAG_ID_CONFIRMED "ed336d3006c5528aa7ec6485d72f32d7"
#define DIAG_ID_DAMAGED "7dc610a0ddb95d358467fe1fa6a8458b"
#define DIAG_ID_STATE_GONE "42b7abfb88e65eb0a7557fa017612e26"
#define DIAG_ID_STATE_BACK "87383e8cc1cc5bd1ba22b01f011a2f1b"
#define DIAG_ID_HALTED "8f965bd9ec7552c1b477f4eca2d79287"
#define DIAG_ID_FOREIGN "a920c45065bf5f0993552224516fd3a6"
#define DIAG_ID_MISCONFIGURED "eb4b0f36a2c058ebb44cc69edaebf171"
#define DIAG_ID_FOUNDED_ANEW "ed7016b1897849ff97948b306bb74aec"
#define DIAG_ID_OVERRULED "41b892924d924e13a0a12cfcd8bcc99f"
#define DIAG_ID_VIOLATION "0d48b88deda85a9da77ff5f519c332fc"
#define DIAG_ID_ETCD_AWAY "b30a59f8423f53d3b1096d08d145c9f2"
#define DIAG_ID_ETCD_BACK "5168517051fd5bef90a8392a25c6919e"
#define DIAG_ID_ETCD_UNREADABLE "3c7237e3215f5261a489c16b10335fc2"
#define DIAG_ID_LOG_DAMAGED "57c0a941152458c8a963064a639c6ffb"
#define DIAG_ID_LOG_TORN "ac4bb9362f885998b32dd0d1376ba838"
#define DIAG_ID_LOG_PROBLEM "79cdd7d075dd5b309a2c5816d6135c78"
#define DIAG_ID_LOG_FAILED "b5c34a6e4cff5e8e885e4f2e9f3cad43"
#define DIAG_ID_DISK_SICK "94c414c82c2e5a54ac96a91101bc2c15"
#define DIAG_ID_DISK_FULL "e7f63e7e08bc4d99883b16df2483d319"
#define DIAG_ID_DISK_ROOM "552e639e71c24b7da13be6baea0a381f"
#define DIAG_ID_STARTED "90dc970850cf465fa57955e5f45ff109"
#define DIAG_ID_DISK_WELL "d755be0e54ef50229b72ede5973088b1"
#define DIAG_ID_RESIGNED "e1ab515002665ce0bce58304dfa7e597"
#define DIAG_ID_DAMAGE_FOUND "2b88491b8b6acaa0c173b15e2bd98665"
#define DIAG_ID_REPAIRED "5122085619d24043a704ab3704ee53d2"
#define DIAG_ID_REPAIR_FAILED "524249604e7441e0809b68d0518f851e"
#define DIAG_ID_DORMANT "bf83bc8287a64b509bdd05e0ac13f8d6"

/* @self: this node's name. @set: the in-sync set as known now. */
void diag_note(const struct rep_note *note, const char *self, const struct rep_insync *set);

void diag_etcd_away(const char *why);
void diag_etcd_back(void);
void diag_etcd_unreadable(const char *what);
void diag_log_damaged(leash_seq end, const char *reason, leash_id new_incarnation);
/* @path: the file, "" = not known; @last: 0 = to its end. Bounded. */
void diag_damage_found(const char *path, uint64_t offset, leash_seq first, leash_seq last, const char *reason);
/* The segment of record @seq is whole again; @records of @first..@last came from other nodes, the last one from @from. */
void diag_log_repaired(leash_seq seq, leash_seq first, leash_seq last, uint64_t records, const char *from);
/* @gives_up: its incarnation, or its lead; else it goes on trying. */
void diag_repair_failed(leash_seq seq, const char *why, bool dormant, bool gives_up);
void diag_log_dormant(leash_seq first, const char *reason);
void diag_log_torn(leash_seq from);
void diag_log_problem(const char *text);
void diag_log_failed(const char *text);
void diag_disk_sick(uint64_t stuck_ms, bool primary);
void diag_disk_well(void);
void diag_disk_full(void);
void diag_disk_room(void);
/* Listening at @address, with records @start..@end. */
void diag_started(const char *self, const char *engine, const char *address, leash_seq start, leash_seq end);
void diag_resigned(const char *why);

#endif
