"""The disk buffer: a log of segments, appended by one writer, read by one cursor per sink.

    driver.py     Buffer: what the reader and the sinks call          writer.py     its thread
    engine.py     what the thread does, step by step                  keeper.py     cursors, positions.json, unlinking
    log.py        segments: append, sync, rotate, abandon, unlink     segment.py    the bytes of a frame
    recovery.py   what a start makes of the directory                 damage.py     damaged frames and what they cost
    positions.py  how far each file is read                           cursors.py    how far each sink is confirmed
    framing.py    where frames are in a segment               columns.py    columns joined and split
    damage_reports.py  what a read meets, said once
    index.py walk.py ring.py limits.py files.py smallfiles.py lock.py view.py
"""
