"""`python -m tests.flow.agent_small_uploads`: the shipper command, whose uploads go in pieces from 300 KB on, not from 8 MiB."""
import sys

from shipper.agent.cli import main
from shipper.sinks import _gcs_upload

_gcs_upload.MULTIPART_BYTES = 300_000
_gcs_upload.CHUNK_BYTES = 256 * 1024

if __name__ == "__main__":
    sys.exit(main())
