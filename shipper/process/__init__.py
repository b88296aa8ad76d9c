"""Processing: what happens to records between decoding and the buffer, once per record, where the config asks for it.

    decode ──► join (multiline) ──► parse ──► redact ──► filter ──► limit ──► section

See chain.py for the seam. Nothing here is imported, and no call is added to the hot path, for a source that asks for nothing.
"""
