"""`python -m tests.flow.agent_with_plugins`: the shipper command, with the sinks of plugins/ beside its own."""
import os
import sys

import shipper.sinks
from shipper.agent.cli import main

shipper.sinks.__path__.append(os.path.join(os.path.dirname(__file__), "plugins"))

if __name__ == "__main__":
    sys.exit(main())
