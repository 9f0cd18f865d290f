"""The Trio shell: what turns decisions into I/O. Read `broker.py` to see the whole program."""
