"""A node in a directory: what pods, container runtimes and the kubelet do to log files, driven by a seed.

    messages.py   what the pods say; each line carries its number and a checksum (pure)
    framing.py    how containerd and docker write a line (pure)
    rotation.py   how kubelet, docker and logrotate rotate, step by step
    streams.py    one container's or host program's log: half lines, open pieces, late writes
    node.py       Node: pods, restarts, deletions, the plan
    count.py      the own count over what was delivered, by those numbers (pure)
"""
from .count import Count, Counted
from .node import Node

__all__ = ["Count", "Counted", "Node"]
