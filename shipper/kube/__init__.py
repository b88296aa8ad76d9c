"""What Kubernetes knows of the pods on this node: asked for, kept small, never waited for here.

    client.py   HTTPS with the service account's token: one bounded answer, or a stream of lines
    api.py      list and watch at the API server; kubelet.py: the same by asking the kubelet now and then
    beside.py   labels of the node and of namespaces, one by one
    objects.py  what is decoded of an object: a few fields, the rest is skipped by the decoder
    store.py    pods by uid (static ones by config hash too), kept a while after their end

A stage: it knows model, errors, config and telemetry. agent/pods.py joins what it finds to the log files.
"""
