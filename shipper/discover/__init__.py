"""Which log files exist, what their names say, which order their siblings have, and whether one may be opened.

    names     path -> namespace, pod, uid, container, id, restart          pure
    siblings  directory listing -> rotated siblings of a live file         pure
    globs     include and exclude patterns                                 pure
    sources   one configured source: includes, roots, matches              pure
    open      path -> descriptor, decided on the descriptor                driver
    listing   directory listings kept by stamp                             driver
    resolve   symbolic links from the matched name to the file             driver
    scan      Discoverer: lineages that appeared, vanished, changed        driver
    watch     Watcher: one inotify instance, so that nothing is polled     driver
"""
