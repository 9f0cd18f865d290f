"""The group coordinator: a shard over each partition of `__consumer_offsets`.

    shard     routes requests to the subjects, hosts groups and offsets         settings  what it is configured with
    classic   groups of the classic protocol (JoinGroup, SyncGroup, Heartbeat)  records   what stands in the log
    offsets   committed offsets, of any kind of group
"""
