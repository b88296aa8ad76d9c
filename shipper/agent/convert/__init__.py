"""Configs of other agents as ours.

    syntax.py            fluentd's config format (v1) as a tree that knows what was taken out of it
    fluentd.py           a file or a ConfigMap; which source's records meet which filter and which output (tags, labels)
    fluentd_sources.py fluentd_filters.py fluentd_outputs.py fluentd_more_outputs.py fluentd_buffer.py
                         what each plug-in, and <buffer>, becomes
    fluentd_tags.py fluentd_values.py      tag patterns; expressions, sizes and times as Ruby writes them
    rsyslog_statements.py rsyslog.py rsyslog_write.py      imfile and omfwd: statements; what they say; what they become
    draft.py             what comes out, as YAML with comments

One rule: a directive is carried over, or stands in the YAML as a comment that says why it is not needed, or is reported with its
place and the mend. What nobody took is reported by itself.
"""
