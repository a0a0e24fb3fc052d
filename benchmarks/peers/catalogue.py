"""All peers, by name."""

from benchmarks.peers.dbq import DBQ
from benchmarks.peers.django_ox import DJANGO_OX
from benchmarks.peers.django_q2 import DJANGO_Q2
from benchmarks.peers.django_tasks_db import DJANGO_TASKS_DB
from benchmarks.peers.peer import Peer, Variant
from benchmarks.peers.procrastinate import PROCRASTINATE

PEERS = {peer.name: peer for peer in (DBQ, DJANGO_OX, DJANGO_Q2, PROCRASTINATE, DJANGO_TASKS_DB)}


def find_variant(peer: Peer, name: str) -> Variant:
    return next(variant for variant in peer.variants if variant.name == name)
