"""Systems that a user would pick instead, from Debian's packages, with the same work and their durable settings."""

from peer_etcd import EtcdPeer
from peer_nats import NatsPeer
from peer_postgres import Postgres
from peer_redis import Redis, RedisNoWait

PEERS = (Redis, RedisNoWait, Postgres, EtcdPeer, NatsPeer)
