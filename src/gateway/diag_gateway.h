/* What leash-gatewayd tells operators: one function per kind of event, each with its MESSAGE_ID. Any thread. */
#ifndef LEASH_GATEWAY_DIAG_GATEWAY_H
#define LEASH_GATEWAY_DIAG_GATEWAY_H

#include "base/types.h"

#define DIAG_GW_NEW_PRIMARY "32035fdba8ba448aa91fdd3897e04403"
#define DIAG_GW_NO_PRIMARY  "9d3d123f17994b74984fc198e081265a"
#define DIAG_GW_ETCD_LOST   "a602527171a74efaa6d68b18ee88ef07"
#define DIAG_GW_ETCD_BACK   "a9b6bc643315438989f011b77b5ce397"
#define DIAG_GW_REJECTED    "6cad4182b14742b1a8afc2e3d18948b8"
#define DIAG_GW_UNREADABLE  "a10c53aa4e9944ed9e5f0193116f7eda"
#define DIAG_GW_WENT_BACK   "afff2cbc12e54c0a9607da06e2cb96cb"
#define DIAG_GW_FOUNDED    "7ceef8723c204770801bb45008b695ca"
#define DIAG_GW_DRAINED     "8bf895c49b7d488987ea9f54b40f9b1b"

/* notice: @engine's primary is @node in @epoch; for @pause_ms (0: no pause) there had been none. */
void diag_new_primary(const char *engine, const char *node, leash_epoch epoch, uint64_t pause_ms);
/* warning: there is none any more; messages are held. */
void diag_no_primary(const char *engine, const char *last_node, leash_epoch last_epoch);
/* warning, notice: on change only. */
void diag_etcd_lost(const char *endpoint, const char *reason);
void diag_etcd_back(const char *endpoint, uint64_t away_ms);
/* warning, a few per minute: a node does not take our connection. */
void diag_rejected(const char *engine, const char *node, const char *address, const char *text);
/* warning: a key in etcd makes no sense and is ignored. */
void diag_unreadable(const char *engine, const char *why);
/* warning: etcd shows an older state than before; the primary known stays. */
void diag_went_back(const char *reason);
/* warning: etcd says that @engine is another cluster now; what waits for an answer of the former one gets -INDOUBT. */
void diag_founded(const char *engine, leash_id cluster);
/* notice: the end, with what could not be finished. */
void diag_drained(uint64_t ms, uint32_t clients_left);

#endif
