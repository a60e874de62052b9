"""The run host: a small process per host that forks playbook runs and outlives the worker that asked for them.

    worker ── client.py ──socket──> host.py ──fork──> child.py ──pty──> ansible-playbook
                 ^                                       │
                 └───────── events.jsonl, exit.json ─────┘   (the run directory)

Once a run is forked it needs neither the worker nor the run host: it writes to its private directory, from which any
later process reads on. Everything here but the client runs in those small processes and so stands on the standard
library, ansible-runner, orjson and psutil alone."""
