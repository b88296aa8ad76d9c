"""The agent as a process and as commands: the only package that knows all stages. Starting points: cli.py, app.py, run.py."""

SOCKET_NAME = "admin.sock"
"""In state_dir: where the running agent answers the other commands (0600)."""
