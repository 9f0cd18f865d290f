"""The transaction coordinator: a shard over each partition of `__transaction_state`.

    shard     routes requests, holds the transactions, resumes and times out     settings  what it is configured with
    ending    how a transaction ends, by the old protocol and by the new         records   what stands in the log
    state     one transactional id as a value, and the table of its states       requests  what its host asks and is asked
"""
