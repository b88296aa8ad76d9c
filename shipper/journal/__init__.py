"""The journal stage: what systemd's journal and the kernel's ring hold becomes sections, as log files do.

    export.py    the export format, byte by byte          places.py   cursors: what was read already, what is missing
    records.py   entries to columns                       driver.py   one source: position, stream, sections
    journalctl.py, kmsg.py   where the entries come from

It knows the nouns and no other stage; agent/journals.py wires it.
"""
